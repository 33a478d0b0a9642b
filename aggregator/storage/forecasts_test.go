package storage

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

var hourAhead = ForecastName{bert, "0.95", "1h"}

func TestForecastsAreReadOnAGridWhereNoneIsNotZero(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, start.Add(time.Hour))
	made := func(minute int) time.Time { return start.Add(time.Duration(minute) * time.Minute) }
	if err := s.AppendForecasts(t.Context(), []ForecastPoint{
		{hourAhead, made(1), 2.5}, {hourAhead, made(3), 0}, {ForecastName{bert, "0.5", "1h"}, made(1), 1}, {ForecastName{bert, "0.95", "24h"}, made(1), 7},
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.AppendForecasts(t.Context(), []ForecastPoint{{hourAhead, made(3), 9}}); err != nil {
		t.Errorf("told again: %v, want the first to stand", err)
	}
	for _, when := range []string{"written", "opened anew"} {
		got, err := s.Forecasts(t.Context(), hourAhead, start, made(4), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]float64{2.5, math.NaN(), 0, math.NaN()}, got, cmpopts.EquateNaNs()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, dir, start.Add(time.Hour))
	}
}

func TestForecastsAreKeptToOnePartIn8192(t *testing.T) {
	for _, v := range []float64{0, 1e-9, 0.1, 1.0 / 3, 0.99999999, 7, 123.456, 1e12} {
		if got := coarse(v); math.Abs(got-v) > v/8192 || coarse(got) != got {
			t.Errorf("%v is kept as %v", v, got)
		}
	}
}

func TestWrongForecastsAreRefusedByNameAndWriteNothing(t *testing.T) {
	s := open(t, t.TempDir(), start)
	good := ForecastPoint{hourAhead, start, 1}
	for want, wrong := range map[string]ForecastPoint{
		"forecast GPUs is NaN":       {hourAhead, start, math.NaN()},
		"forecast GPUs is -1":        {hourAhead, start, -1},
		`quantile "", lead "1h"`:     {ForecastName{bert, "", "1h"}, start, 1},
		`name ""`:                    {ForecastName{Workload{"a", "b", ""}, "0.5", "1h"}, start, 1},
		"ahead of the clock":         {hourAhead, start.Add(time.Hour), 1},
		"older than the retention o": {hourAhead, start.Add(-91 * 24 * time.Hour), 1},
	} {
		if err := s.AppendForecasts(t.Context(), []ForecastPoint{good, wrong}); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v: want a refusal with %q", err, want)
		}
	}
	got, err := s.Forecasts(t.Context(), hourAhead, start.Add(-time.Minute), start, time.Minute)
	if err != nil || !math.IsNaN(got[0]) {
		t.Errorf("written in spite of that: %v, %v", got, err)
	}
}

func TestForecastsAreThereForPromQLBeforeTheRawTierIsOpen(t *testing.T) {
	s, goOn := openSlowly(t, Options{Dir: t.TempDir(), Now: func() time.Time { return start }})
	defer goOn()
	if err := s.AppendForecasts(t.Context(), []ForecastPoint{{hourAhead, start, 1}}); err != nil {
		t.Fatal(err)
	}
	if n, err := ask(t, s, labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, forecastSeries)); err != nil || n != 1 {
		t.Errorf("%d series, %v; want 1", n, err)
	}
}

// BenchmarkAppendForecasts writes a minute of two thousand workloads, at two quantiles and four leads each.
func BenchmarkAppendForecasts(b *testing.B) {
	now := start
	s, err := Open(Options{Dir: b.TempDir(), Now: func() time.Time { return now }})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	var points []ForecastPoint
	for i := range 2000 {
		for _, lead := range []string{"1m", "15m", "1h", "24h"} {
			for _, quantile := range []string{"0.5", "0.95"} {
				points = append(points, ForecastPoint{ForecastName: ForecastName{Workload{"default", "Deployment", fmt.Sprintf("web-%d", i)}, quantile, lead}})
			}
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Minute)
		for i := range points {
			points[i].Made, points[i].GPUs = now, 8*random.Float64()
		}
		if err := s.AppendForecasts(b.Context(), points); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(points)), "ns/sample")
}
