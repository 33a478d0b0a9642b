package storage

import (
	"context"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// Series of what policies decided, labels namespace and policy, a sample a minute. They have the names of the metrics that tell the present.
const (
	desiredSeries   = "foretide_policy_desired_replicas"
	proactiveSeries = "foretide_policy_proactive_replicas"
	reactiveSeries  = "foretide_policy_reactive_replicas"
	// reasonSeries is 1 for the reason in its further label.
	reasonSeries = "foretide_policy_decision_reason"
	reasonLabel  = "reason"
)

// Policy names a policy.
type Policy struct{ Namespace, Name string }

// Decided is what a policy decided last in the minute that ended at At. Nil is unknown, and not written.
type Decided struct {
	Policy
	At                           time.Time
	Desired, Proactive, Reactive *int32
	// Reason is one word; empty is not written.
	Reason string
}

// Decisions are those of a policy on a grid of minutes. Each has a value for a minute, NaN and "" where nothing is known of it.
type Decisions struct {
	Desired, Proactive, Reactive []float64
	Reasons                      []string
}

// AppendDecisions writes what policies decided; writing the same minute again changes nothing. A wrong one is an error before anything
// is written; after another error some may have been.
func (s *Store) AppendDecisions(ctx context.Context, decided []Decided) error {
	now := s.opts.Now()
	var samples []sample
	for _, d := range decided {
		if err := d.check(); err != nil {
			return err
		}
		if err := checkTime("decision time", d.At, now, s.opts.WorkloadRetention); err != nil {
			return err
		}
		for _, v := range []struct {
			series   string
			replicas *int32
		}{{desiredSeries, d.Desired}, {proactiveSeries, d.Proactive}, {reactiveSeries, d.Reactive}} {
			if v.replicas == nil {
				continue
			}
			if err := checkValue(v.series, float64(*v.replicas)); err != nil {
				return err
			}
			samples = append(samples, sample{d.series(v.series), d.At, float64(*v.replicas)})
		}
		if d.Reason != "" {
			samples = append(samples, sample{d.series(reasonSeries, reasonLabel, d.Reason), d.At, 1})
		}
	}
	db, err := s.workload.useToWrite()
	if err != nil {
		return err
	}
	defer db.release()
	for part := range slices.Chunk(samples, historyCommit) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := db.write(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

// Decisions returns what a policy decided in the minutes of (from, to], on the grid of [Store.Demand].
func (s *Store) Decisions(ctx context.Context, policy Policy, from, to time.Time) (out Decisions, err error) {
	if err := policy.check(); err != nil {
		return Decisions{}, err
	}
	for _, v := range []struct {
		series string
		values *[]float64
	}{{desiredSeries, &out.Desired}, {proactiveSeries, &out.Proactive}, {reactiveSeries, &out.Reactive}} {
		if *v.values, err = s.grid(ctx, matchersOf(policy.series(v.series)), from, to, time.Minute); err != nil {
			return Decisions{}, err
		}
	}
	out.Reasons, err = s.reasons(ctx, policy, floorTo(from.UnixMilli(), time.Minute.Milliseconds()), len(out.Desired))
	return out, err
}

// reasons are those of so many minutes from a moment on, in milliseconds. Of two in one minute the later in the alphabet is told: they
// come from two replicas, of which one took over.
func (s *Store) reasons(ctx context.Context, policy Policy, first int64, minutes int) ([]string, error) {
	db, err := s.workload.use()
	if err != nil {
		return nil, err
	}
	defer db.release()
	width := time.Minute.Milliseconds()
	last := first + int64(minutes)*width
	q, err := db.Querier(first+1, last)
	if err != nil {
		return nil, err
	}
	defer func() { _ = q.Close() }()
	out := make([]string, minutes)
	set := q.Select(ctx, true, nil, matchersOf(policy.series(reasonSeries))...)
	for set.Next() {
		reason := set.At().Labels().Get(reasonLabel)
		samples := set.At().Iterator(nil)
		for samples.Next() == chunkenc.ValFloat {
			if t, _ := samples.At(); t > first && t <= last {
				out[(t-first-1)/width] = reason
			}
		}
		if err := samples.Err(); err != nil {
			return nil, err
		}
	}
	return out, set.Err()
}

func (p Policy) check() error {
	if p.Namespace == "" || p.Name == "" {
		return refuse(ClassInvalid, "policy is namespace %q, name %q: neither may be empty", p.Namespace, p.Name)
	}
	return nil
}

func (p Policy) series(name string, more ...string) labels.Labels {
	return labels.FromStrings(append([]string{model.MetricNameLabel, name, "namespace", p.Namespace, "policy", p.Name}, more...)...)
}
