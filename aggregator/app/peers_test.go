package app

import (
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/foretide/foretide/aggregator/query"
	"github.com/foretide/foretide/aggregator/storage"
)

func openStore(t *testing.T) *storage.Store {
	t.Helper()
	store, err := storage.Open(storage.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := store.WaitRaw(t.Context()); err != nil {
		t.Fatal(err)
	}
	return store
}

func TestDemandThatWasMissedIsReadFromEveryReplicaThatAnswers(t *testing.T) {
	here, there := openStore(t), openStore(t)
	promql, err := query.New(query.Options{Queryable: there.Queryable()})
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	replica := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		promql.Handler().ServeHTTP(w, r)
	}))
	defer replica.Close()
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "not you", http.StatusForbidden) }))
	defer refusing.Close()

	now := time.Now()
	web := storage.Workload{Namespace: "default", Kind: "Deployment", Name: "web"}
	write := func(store *storage.Store, at time.Time, gpus float64) {
		t.Helper()
		if err := store.AppendDemand(t.Context(), web, at.Truncate(time.Minute), gpus, 3); err != nil {
			t.Fatal(err)
		}
	}
	old, newer := now.Add(-90*time.Minute), now.Add(-20*time.Minute)
	write(there, old, 1.5)
	write(there, newer, 2.5)
	write(here, newer, 4) // what was measured here stands
	write(there, now, 3)  // may still be written here
	queue := storage.MetricName{Workload: web, Metric: "queue"}
	if _, err := there.AppendMetricHistory(t.Context(), queue, []storage.Point{{Time: old.Truncate(time.Minute), Value: 12}}); err != nil {
		t.Fatal(err)
	}
	expect := func(at time.Time, want float64) {
		t.Helper()
		end := at.Truncate(time.Minute)
		got, err := here.Demand(t.Context(), web, end.Add(-time.Minute), end, time.Minute)
		if err != nil || got[0] != want && !(math.IsNaN(got[0]) && math.IsNaN(want)) {
			t.Errorf("demand of the minute until %v: %v, %v; want %v", end, got, err, want)
		}
	}

	p := &peers{app: &aggregator{store: here, log: slog.New(slog.DiscardHandler)}, authorities: func() []byte { return nil }}
	for _, text := range splitList(refusing.URL + ", " + replica.URL) {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		p.urls = append(p.urls, u)
	}
	catchUp := func(now time.Time) (requests int64) {
		t.Helper()
		before := asked.Load()
		if err := p.catchUp(t.Context(), now); err == nil || !strings.Contains(err.Error(), refusing.URL) || strings.Contains(err.Error(), replica.URL) {
			t.Errorf("error is %v; want one that names the replica that refuses", err)
		}
		return asked.Load() - before
	}
	whole := catchUp(now)
	expect(old, 1.5)
	expect(newer, 4)
	expect(now, math.NaN())
	end := old.Truncate(time.Minute)
	if got, err := here.MetricDemand(t.Context(), queue, end.Add(-time.Minute), end, time.Minute); err != nil || got[0] != 12 {
		t.Errorf("the demand by a metric is %v, %v; want what the replica has", got, err)
	}
	if filled := p.app.filled.Load(); filled != 1 {
		t.Errorf("forecasts are told %d times that the past was filled, want once", filled)
	}
	if n := catchUp(now.Add(catchUpRetry)); n != 0 {
		t.Errorf("a replica that was just read was asked %d times more", n)
	}
	if n := catchUp(now.Add(catchUpSoon)); n == 0 || n > whole/5 {
		t.Errorf("the last hours took %d requests, everything %d", n, whole)
	}
	if hours := int64(2 * catchUpFirst / catchUpStep); whole > hours/2 {
		t.Errorf("it took %d requests to compare %d hours that were nearly all the same: were they all read?", whole, hours)
	}
	expect(now, 3)
	if n := catchUp(now.Add(catchUpSoon + catchUpEvery - time.Second)); n != 0 {
		t.Errorf("asked %d times before it is due", n)
	}
}
