package storage

import (
	"context"
	"errors"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
)

// Queryable reads both tiers as one, for PromQL and remote read. As long as the raw tier is not open, a query that may need it
// fails with ErrOpening instead of giving half an answer. Queries for the series of the workload tier, by an equal matcher of
// __name__, work: only what remote writers may have sent under these names, which is in the raw tier, is missing then.
func (s *Store) Queryable() storage.SampleAndChunkQueryable { return queryable{s} }

type queryable struct{ store *Store }

// Querier reads samples within [mint, maxt] milliseconds.
func (q queryable) Querier(mint, maxt int64) (storage.Querier, error) {
	t, err := openBoth(q.store, func(d *database) (storage.Querier, error) { return d.Querier(mint, maxt) })
	if err != nil {
		return nil, err
	}
	t.both = storage.NewMergeQuerier([]storage.Querier{t.workload, t.raw}, nil, storage.ChainedSeriesMerge)
	return querier{t}, nil
}

// ChunkQuerier reads chunks within [mint, maxt] milliseconds.
func (q queryable) ChunkQuerier(mint, maxt int64) (storage.ChunkQuerier, error) {
	t, err := openBoth(q.store, func(d *database) (storage.ChunkQuerier, error) { return d.ChunkQuerier(mint, maxt) })
	if err != nil {
		return nil, err
	}
	t.both = storage.NewMergeChunkQuerier([]storage.ChunkQuerier{t.workload, t.raw}, nil,
		storage.NewCompactingChunkSeriesMerger(storage.ChainedSeriesMerge))
	return chunkQuerier{t}, nil
}

// bothTiers are the queriers of the two tiers, and one over both.
type bothTiers[Q storage.LabelQuerier] struct {
	workload, raw, both       Q
	workloadError, rawError   error
	workloadOpened, rawOpened *database
}

func openBoth[Q storage.LabelQuerier](s *Store, open func(*database) (Q, error)) (*bothTiers[Q], error) {
	var t bothTiers[Q]
	t.workload, t.workloadOpened, t.workloadError = openOne(s.workload, open)
	t.raw, t.rawOpened, t.rawError = openOne(s.raw, open)
	if err := errors.Join(t.workloadError, t.rawError); t.workloadOpened == nil && t.rawOpened == nil {
		return nil, err
	}
	return &t, nil
}

func openOne[Q storage.LabelQuerier](t *tier, open func(*database) (Q, error)) (q Q, db *database, err error) {
	if db, err = t.use(); err != nil {
		return q, nil, err
	}
	if q, err = open(db); err != nil {
		db.release()
		return q, nil, err
	}
	return q, db, nil
}

// choose returns the querier that has what the matchers ask for.
func (t *bothTiers[Q]) choose(matchers []*labels.Matcher) (Q, error) {
	for _, m := range matchers {
		if m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual && m.Value != "" {
			switch own := isWorkloadSeries(m.Value); {
			case !own:
				return t.raw, t.rawError
			case errors.Is(t.rawError, ErrOpening):
				return t.workload, t.workloadError
			}
		}
	}
	return t.both, errors.Join(t.workloadError, t.rawError)
}

// isWorkloadSeries tells the names of the workload tier; it has no others.
func isWorkloadSeries(name string) bool {
	return name == demandSeries || name == podsSeries || name == forecastSeries || name == metricSeries
}

// LabelValues returns the values of a label, in order.
func (t *bothTiers[Q]) LabelValues(ctx context.Context, name string, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	q, err := t.choose(matchers)
	if err != nil {
		return nil, nil, err
	}
	return q.LabelValues(ctx, name, hints, matchers...)
}

// LabelNames returns the names of labels, in order.
func (t *bothTiers[Q]) LabelNames(ctx context.Context, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	q, err := t.choose(matchers)
	if err != nil {
		return nil, nil, err
	}
	return q.LabelNames(ctx, hints, matchers...)
}

// Close ends the query; until then its tiers stay open.
func (t *bothTiers[Q]) Close() error {
	var err error
	if t.workloadOpened != nil {
		err = t.workload.Close()
		t.workloadOpened.release()
	}
	if t.rawOpened != nil {
		err = errors.Join(err, t.raw.Close())
		t.rawOpened.release()
	}
	return err
}

type querier struct{ *bothTiers[storage.Querier] }

// Select returns the series that match.
func (q querier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	chosen, err := q.choose(matchers)
	if err != nil {
		return storage.ErrSeriesSet(err)
	}
	return chosen.Select(ctx, sorted, hints, matchers...)
}

type chunkQuerier struct {
	*bothTiers[storage.ChunkQuerier]
}

// Select returns the chunks of the series that match.
func (q chunkQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.ChunkSeriesSet {
	chosen, err := q.choose(matchers)
	if err != nil {
		return storage.ErrChunkSeriesSet(err)
	}
	return chosen.Select(ctx, sorted, hints, matchers...)
}
