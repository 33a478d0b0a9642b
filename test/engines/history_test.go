//go:build engines

package engines

import (
	"fmt"
	"math"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/foretide/foretide/aggregator/engine"
	"github.com/foretide/foretide/aggregator/query"
	"github.com/foretide/foretide/aggregator/remotewrite"
	"github.com/foretide/foretide/aggregator/storage"
	"github.com/foretide/foretide/pkg/telemetry"
)

// open opens a store whose tiers are sent to an engine; without a configuration they are sent nowhere.
func open(t *testing.T, config *remotewrite.Config) *storage.Store {
	t.Helper()
	dir := t.TempDir()
	notified := map[string]remotewrite.Notified{}
	if config != nil {
		writer := remotewrite.New(remotewrite.Options{Config: config})
		t.Cleanup(func() { _ = writer.Close() })
		for _, tier := range []string{"workload", "raw"} {
			n, err := writer.Follow(tier, filepath.Join(dir, tier))
			if err != nil {
				t.Fatal(err)
			}
			notified[tier] = n
		}
	}
	store, err := storage.Open(storage.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	store.OnOpen(func(tier storage.Tier) {
		if n, ok := notified[tier.Name]; ok {
			tier.SetWriteNotified(n)
		}
	})
	if err := store.WaitRaw(t.Context()); err != nil {
		t.Fatal(err)
	}
	return store
}

func to(t *testing.T, address string) *remotewrite.Config {
	t.Helper()
	c, err := remotewrite.ForURL(address, "one")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// own is the store's own PromQL API.
func own(t *testing.T, store *storage.Store) string {
	t.Helper()
	a, err := query.New(query.Options{Queryable: store.Queryable()})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(a.Handler())
	t.Cleanup(server.Close)
	return server.URL
}

func clientOf(t *testing.T, url string) *engine.Client {
	t.Helper()
	c, err := engine.New(engine.Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const gpusOfANode = 8

// busyRatio is what GPU g of a node does in second i.
func busyRatio(g, i int) float64 { return float64((g*7+i*3)%100) / 100 }

// frames are those of a node for the seconds 1 to n after a moment, one pod of two GPUs on each pair.
func frames(node string, begin time.Time, n int) []telemetry.Frame {
	var framer telemetry.Framer
	var out []telemetry.Frame
	for i := 1; i <= n; i++ {
		b := telemetry.Batch{Node: node, Session: "s", Sequence: uint64(i), Start: begin.Add(time.Duration(i-1) * time.Second),
			End: begin.Add(time.Duration(i) * time.Second), OwnersKnown: true}
		for g := range gpusOfANode {
			uuid := fmt.Sprintf("GPU-%s-%d", node, g)
			values := telemetry.Values{telemetry.UtilizationMean: busyRatio(g, i), telemetry.MemoryTotal: 80 << 30, telemetry.MemoryUsed: float64(i) * 1024}
			b.Readings = append(b.Readings, telemetry.Reading{Device: telemetry.Device{UUID: uuid, Index: g, Model: "H100"}, Values: values})
			b.Usages = append(b.Usages, telemetry.Usage{Owner: telemetry.Owner{Namespace: "default", Pod: fmt.Sprintf("web-%d", g/2), Container: "main"},
				DeviceUUID: uuid, Attribution: telemetry.AttributionExclusive, Values: values})
		}
		out = append(out, framer.Frame(b))
	}
	return out
}

func appendFrames(t *testing.T, store *storage.Store, all []telemetry.Frame) {
	t.Helper()
	for _, f := range all {
		for _, err := range store.AppendFrames(t.Context(), []telemetry.Frame{f}) {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// precision is what VictoriaMetrics keeps of a value: 12 digits or more.
var precision = cmpopts.EquateApprox(1e-11, 0)

// expectSame waits until the engine has as many samples as the store, and compares them.
func expectSame(t *testing.T, store *storage.Store, p process, until time.Time) {
	t.Helper()
	want, n := samples(t, own(t, store), `{__name__=~"foretide_.+"}`, until)
	if n == 0 {
		t.Fatal("the store is empty")
	}
	eventually(t, "the engine has everything", func() (bool, string) {
		_, has := samples(t, p.url, `{__name__=~"foretide_.+"}`, until)
		return has >= n, fmt.Sprintf("%d of %d samples", has, n)
	})
	got, has := samples(t, p.url, `{__name__=~"foretide_.+"}`, until)
	if has != n {
		t.Errorf("the engine has %d samples, the store %d", has, n)
	}
	if d := cmp.Diff(want, got, precision); d != "" {
		t.Errorf("samples (-store +engine):\n%.2000s", d)
	}
}

func TestEverySampleIsInTheEngineOnceAndReadBackAsItIsHere(t *testing.T) {
	onEach(t, func(t *testing.T, start func(port, dir string) process) {
		p := start(freePort(t), t.TempDir())
		store := open(t, to(t, p.write))
		// The log's watcher sends what is of after its start.
		begin := time.Now().Add(2 * time.Second).Truncate(time.Second)
		all := frames("a", begin, 60)
		late := all[20:30] // an agent that was cut off sends the newest first
		appendFrames(t, store, all[:20])
		appendFrames(t, store, all[30:])
		appendFrames(t, store, late)
		appendFrames(t, store, late) // and once more, since the answer was lost
		minute := begin.Truncate(time.Minute).Add(time.Minute)
		bert := storage.Workload{Namespace: "default", Kind: "Deployment", Name: "bert"}
		for i := range 8 {
			if i == 3 {
				continue // not measured
			}
			if err := store.AppendDemand(t.Context(), bert, minute.Add(time.Duration(i)*time.Minute), math.Sqrt(float64(i+2)), 2); err != nil {
				t.Fatal(err)
			}
		}
		expectSame(t, store, p, minute.Add(9*time.Minute))

		c := clientOf(t, p.url)
		for _, step := range []time.Duration{time.Minute, 2 * time.Minute, 5 * time.Minute} {
			from, until := minute.Add(-2*time.Minute), minute.Add(9*time.Minute)
			want, err := store.Demand(t.Context(), bert, from, until, step)
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.Demand(t.Context(), engine.Workload(bert), from, until, step)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got, cmpopts.EquateNaNs(), precision); d != "" {
				t.Errorf("demand in steps of %v (-store +engine):\n%s", step, d)
			}
		}
		expectLoads(t, c, begin)
	})
}

// expectLoads looks at what the pods did as of the end of the frames.
func expectLoads(t *testing.T, c *engine.Client, begin time.Time) {
	t.Helper()
	now := begin.Add(60 * time.Second)
	loads, err := engine.NewLoads(c, engine.LoadsOptions{Interval: time.Second, Window: 10 * time.Second, StaleAfter: 30 * time.Second,
		Namespaces: func() []string { return []string{"default"} }, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	if err := loads.Poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	for pod := range gpusOfANode / 2 {
		want := 0.0
		for i := 51; i <= 60; i++ {
			want += (busyRatio(2*pod, i) + busyRatio(2*pod+1, i)) / 10
		}
		got, ok := loads.Load("default", fmt.Sprintf("web-%d", pod), "a", time.Time{}, now)
		if !ok || got.GPUs != 2 || math.Abs(got.BusyGPUs-want) > 1e-9 {
			t.Errorf("load of web-%d: %+v, %v; want 2 GPUs, %v busy", pod, got, ok, want)
		}
	}
	if _, ok := loads.Load("default", "web-0", "a", time.Time{}, now.Add(31*time.Second)); ok {
		t.Error("a load of half a minute ago still counts")
	}
}

func took(t *testing.T, s *storage.Store, all []telemetry.Frame) time.Duration {
	t.Helper()
	before := time.Now()
	appendFrames(t, s, all)
	return time.Since(before)
}

func TestAnEngineThatIsAwayHoldsUpNothingAndIsCaughtUpWith(t *testing.T) {
	onEach(t, func(t *testing.T, start func(port, dir string) process) {
		port := freePort(t)
		away := open(t, to(t, "http://127.0.0.1:"+port+"/api/v1/write"))
		alone := open(t, nil)
		begin := time.Now().Add(2 * time.Second).Truncate(time.Second)
		var with, without time.Duration
		for node := range 12 { // by turns, so that what else the machine does falls on both
			all := frames(fmt.Sprintf("node-%d", node), begin, 500)
			without += took(t, alone, all)
			with += took(t, away, all)
		}
		t.Logf("6000 frames took %v with an engine that is away and %v without one", with, without)
		expectSame(t, away, start(port, t.TempDir()), begin.Add(501*time.Second))
	})
}
