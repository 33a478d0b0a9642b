package engine

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// maxPoints is how many steps a range query may have: Prometheus refuses more.
const maxPoints = 11_000

// Point is one value of a history.
type Point struct {
	// Time is the end of the interval that Value is of.
	Time  time.Time
	Value float64
}

// Series is one series of an answer.
type Series struct {
	Labels map[string]string
	// Points are in the order of time. A step without a value has none.
	Points []Point
}

// Range evaluates an expression at from, from+step, … up to and with to, in as many requests as it takes. NaN and infinite
// values are left out: they say that there is none.
func (c *Client) Range(ctx context.Context, query string, from, to time.Time, step time.Duration) ([]Series, error) {
	if step < time.Second || to.Before(from) {
		return nil, fmt.Errorf("range from %s to %s in steps of %v: it must end after it begins, in steps of 1s or more",
			from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339), step)
	}
	var out []Series
	index := map[model.Fingerprint]int{}
	for ; !from.After(to); from = from.Add(maxPoints * step) {
		r := v1.Range{Start: from, End: earlier(to, from.Add((maxPoints-1)*step)), Step: step}
		matrix, err := c.do(ctx, tries, func(ctx context.Context) (model.Value, v1.Warnings, error) {
			value, warnings, _, err := c.api.QueryRange(ctx, query, r)
			return value, warnings, err
		})
		if err != nil {
			return nil, err
		}
		for _, stream := range matrix {
			key := stream.Metric.Fingerprint()
			i, known := index[key]
			if !known {
				i = len(out)
				index[key] = i
				out = append(out, Series{Labels: labelsOf(stream.Metric)})
			}
			for _, p := range stream.Values {
				if v := float64(p.Value); !math.IsNaN(v) && !math.IsInf(v, 0) {
					out[i].Points = append(out[i].Points, Point{p.Timestamp.Time(), v})
				}
			}
		}
	}
	return slices.DeleteFunc(out, func(s Series) bool { return len(s.Points) == 0 }), nil
}

// samples returns what was written within (from, to] to the series a selector matches.
func (c *Client) samples(ctx context.Context, times int, selector string, from, to time.Time) (model.Matrix, error) {
	query := fmt.Sprintf("%s[%dms]", selector, to.Sub(from).Milliseconds())
	return c.do(ctx, times, func(ctx context.Context) (model.Value, v1.Warnings, error) {
		value, warnings, _, err := c.api.Query(ctx, query, to)
		return value, warnings, err
	})
}

// moments are samples by time: of several for one moment, as replicas write them, the largest.
type moments map[int64]float64

// take adds the samples within (after, last] milliseconds. Whether after itself belongs to a range differs between engines.
func (m moments) take(values []model.SamplePair, after, last int64) {
	for _, p := range values {
		t, v := int64(p.Timestamp), float64(p.Value)
		if t <= after || t > last || math.IsNaN(v) {
			continue
		}
		if there, ok := m[t]; !ok || v > there {
			m[t] = v
		}
	}
}

// times are the moments in order.
func (m moments) times() []int64 {
	out := make([]int64, 0, len(m))
	for t := range m {
		out = append(out, t)
	}
	slices.Sort(out)
	return out
}

func labelsOf(m model.Metric) map[string]string {
	out := make(map[string]string, len(m))
	for name, value := range m {
		out[string(name)] = string(value)
	}
	return out
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
