package query

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/features"
)

// Asker answers the aggregator's own questions, under the limits of one request but beside the queue for them: a decision does not wait
// for dashboards.
type Asker struct {
	engine    *promql.Engine
	queryable storage.Queryable
}

// Sample is one series of an answer.
type Sample struct {
	Labels map[string]string
	Value  float64
}

// NewAsker returns an Asker with the Queryable and the limits of the options.
func NewAsker(o Options) (*Asker, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Asker{newEngine(o, prometheus.NewRegistry(), features.NewRegistry()), o.Queryable}, nil
}

// Ask evaluates a query at a moment. Series whose value is not a finite number are left out: they say that there is none. Errors are
// those of the query, and of a history that cannot be read.
func (a *Asker) Ask(ctx context.Context, query string, at time.Time) ([]Sample, error) {
	q, err := a.engine.NewInstantQuery(ctx, a.queryable, nil, query, at)
	if err != nil {
		return nil, err
	}
	defer q.Close()
	switch result := q.Exec(ctx); v := result.Value.(type) {
	case nil:
		return nil, result.Err
	case promql.Scalar:
		return finite(promql.Vector{{F: v.V}}), result.Err
	case promql.Vector:
		return finite(v), result.Err
	default:
		return nil, errors.Join(result.Err, fmt.Errorf("the query answers with a %s; it must be a number or an instant vector", v.Type()))
	}
}

func finite(v promql.Vector) []Sample {
	out := make([]Sample, 0, len(v))
	for _, s := range v {
		if s.H == nil && !math.IsNaN(s.F) && !math.IsInf(s.F, 0) {
			out = append(out, Sample{s.Metric.Map(), s.F})
		}
	}
	return out
}
