package storage

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// ask counts the series that samples and chunks find, which must be as many.
func ask(t *testing.T, s *Store, matchers ...*labels.Matcher) (int, error) {
	t.Helper()
	q, err := s.Queryable().Querier(math.MinInt64, math.MaxInt64)
	if err != nil {
		return 0, err
	}
	c, err := s.Queryable().ChunkQuerier(math.MinInt64, math.MaxInt64)
	if err != nil {
		return 0, errors.Join(err, q.Close())
	}
	n, chunks := 0, 0
	set := q.Select(t.Context(), true, nil, matchers...)
	for set.Next() {
		n++
	}
	chunkSet := c.Select(t.Context(), true, nil, matchers...)
	for chunkSet.Next() {
		chunks++
	}
	if n != chunks {
		t.Errorf("%v: %d series by samples, %d by chunks", matchers, n, chunks)
	}
	err = set.Err()
	if (err == nil) != (chunkSet.Err() == nil) {
		t.Errorf("%v: %v by samples, %v by chunks", matchers, err, chunkSet.Err())
	}
	return n, errors.Join(err, q.Close(), c.Close())
}

func TestQueriesSeeBothTiersAsOne(t *testing.T) {
	s := open(t, t.TempDir(), start)
	appendBatch(t, s, full(1, start))
	if err := s.AppendDemand(t.Context(), bert, start, 2, 3); err != nil {
		t.Fatal(err)
	}
	match := func(kind labels.MatchType, name, value string) *labels.Matcher {
		return labels.MustNewMatcher(kind, name, value)
	}
	for _, c := range []struct {
		name string
		by   []*labels.Matcher
		want int
	}{
		{"a series of the workload tier", []*labels.Matcher{match(labels.MatchEqual, model.MetricNameLabel, demandSeries)}, 1},
		{"a series of the raw tier", []*labels.Matcher{match(labels.MatchEqual, model.MetricNameLabel, "foretide_device_utilization_ratio")}, 2},
		{"names by an expression", []*labels.Matcher{match(labels.MatchRegexp, model.MetricNameLabel, "foretide_(workload_pods|pod_utilization_ratio)")}, 2},
		{"no name", []*labels.Matcher{match(labels.MatchEqual, "namespace", "default")}, 5},
		{"nothing", []*labels.Matcher{match(labels.MatchEqual, model.MetricNameLabel, "up")}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := ask(t, s, c.by...); err != nil || got != c.want {
				t.Errorf("%d series, %v; want %d", got, err, c.want)
			}
		})
	}
	q, err := s.Queryable().Querier(math.MinInt64, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	names, _, err := q.LabelNames(t.Context(), nil)
	want := []string{"__name__", "container", "gpu", "gpu_instance", "kind", "model", "name", "namespace", "node", "parent", "pod", "profile", "uuid"}
	if diff := cmp.Diff(want, names); diff != "" || err != nil {
		t.Errorf("label names, %v (-want +got):\n%s", err, diff)
	}
	kinds, _, err := q.LabelValues(t.Context(), "kind", nil)
	if diff := cmp.Diff([]string{"Deployment"}, kinds); diff != "" || err != nil {
		t.Errorf("kinds, %v (-want +got):\n%s", err, diff)
	}

	closed := make(chan error)
	go func() { closed <- s.Close() }()
	for s.WaitRaw(t.Context()) == nil { // closing has begun, and waits for the query
	}
	if set := q.Select(t.Context(), false, nil, match(labels.MatchEqual, "namespace", "default")); !set.Next() {
		t.Errorf("a query that began before the end reads nothing: %v", set.Err())
	}
	if err := q.Close(); err != nil {
		t.Error(err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if _, err := s.Queryable().Querier(0, 1); !errors.Is(err, ErrClosed) {
		t.Errorf("query after the end: %v", err)
	}
}

func TestRemoteWritesGoToTheRawTierWithinTheBoundsOfTime(t *testing.T) {
	s := open(t, t.TempDir(), start)
	series := labels.FromStrings(model.MetricNameLabel, "up", "job", "a")
	tx := s.RawAppender().AppenderV2(t.Context())
	if _, ok := tx.(storage.ExemplarAppenderV2); !ok {
		t.Error("Prometheus' receiver does not work with it: it asks for storage.ExemplarAppenderV2")
	}
	for _, c := range []struct {
		at  time.Time
		bad bool
	}{{start, false}, {start.Add(9 * time.Minute), false}, {start.Add(11 * time.Minute), true}, {start.Add(-8 * 24 * time.Hour), true}} {
		if _, err := tx.Append(0, series, 0, c.at.UnixMilli(), 1, nil, nil, storage.AOptions{}); errors.Is(err, storage.ErrOutOfBounds) != c.bad || !c.bad && err != nil {
			t.Errorf("sample of %v: %v, want refused %v", c.at, err, c.bad)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	tx = s.RawAppender().AppenderV2(t.Context())
	if _, err := tx.Append(0, series, 0, start.Add(time.Second).UnixMilli(), 1, nil, nil, storage.AOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	for series, points := range raw(t, s, "up") {
		if len(points) != 2 {
			t.Errorf("%s has %v, want two points", series, points)
		}
	}
	if stats, err := s.Stats("job", 10); err != nil || stats.NumSeries != 1 {
		t.Errorf("stats %v, %v; want one series", stats, err)
	}
	if err := s.Close(); err != nil { // no transaction is left open
		t.Error(err)
	}
}
