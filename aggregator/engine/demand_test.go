package engine

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/common/model"
)

var (
	bert = Workload{"default", "Deployment", "bert"}
	nan  = math.NaN()
)

const bertSeries = `foretide_workload_demand_gpus{namespace="default",kind="Deployment",name="bert",aggregator="one"}`

func expectDemand(t *testing.T, c *Client, w Workload, from, to float64, step time.Duration, want ...float64) {
	t.Helper()
	got, err := c.Demand(t.Context(), w, at(from), at(to), step)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got, cmpopts.EquateNaNs()); d != "" {
		t.Errorf("demand of %v in steps of %v (-want +got):\n%s", w, step, d)
	}
}

func TestDemandIsTheMeanOfWhatWasRecordedInEachStep(t *testing.T) {
	w := newWorld(t)
	w.add(t, bertSeries, 0, 9, 60, 1, 120, 2, 180, 3, 300, 5, 359.999, 7)
	w.add(t, `foretide_workload_demand_gpus{namespace="default",kind="Deployment",name="llama"}`, 60, 8)
	c := w.client(t)
	expectDemand(t, c, bert, 0, 360, time.Minute, 1, 2, 3, nan, 5, 7)
	expectDemand(t, c, bert, 0, 360, 2*time.Minute, 1.5, 3, 6)
	expectDemand(t, c, bert, 30, 130, time.Minute, 1, 2) // rounded down to whole steps
	expectDemand(t, c, Workload{"default", "Deployment", "nobody"}, 0, 120, time.Minute, nan, nan)
}

func TestPodsAreReadAsDemandIs(t *testing.T) {
	w := newWorld(t)
	w.add(t, bertSeries, 60, 1, 120, 2)
	w.add(t, `foretide_workload_pods{namespace="default",kind="Deployment",name="bert",aggregator="one"}`, 60, 3, 120, 4, 240, 5)
	got, err := w.client(t).Pods(t.Context(), bert, at(0), at(240), time.Minute)
	if d := cmp.Diff([]float64{3, 4, nan, 5}, got, cmpopts.EquateNaNs()); err != nil || d != "" {
		t.Errorf("%v, pods (-want +got):\n%s", err, d)
	}
}

func TestReplicasAreOneHistory(t *testing.T) {
	w := newWorld(t)
	w.add(t, bertSeries, 60, 1, 120, 2)
	w.add(t, `foretide_workload_demand_gpus{namespace="default",kind="Deployment",name="bert",aggregator="two"}`, 120, 2.5, 180, 3)
	expectDemand(t, w.client(t), bert, 0, 240, time.Minute, 1, 2.5, 3, nan)
	got, err := w.client(t).WorkloadHistory(t.Context(), at(60), at(180))
	if err != nil {
		t.Fatal(err)
	}
	want := map[Name][]Point{{Workload: bert}: {{at(120), 2.5}, {at(180), 3}}}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })); d != "" {
		t.Errorf("history (-want +got):\n%s", d)
	}
}

func TestTheDemandByMetricsIsReadByItsName(t *testing.T) {
	w := newWorld(t)
	w.add(t, `foretide_workload_metric_demand{namespace="default",kind="Deployment",name="bert",metric="queue"}`, 60, 7)
	w.add(t, `foretide_workload_metric_demand{namespace="default",kind="Deployment",name="bert",metric="gpu-memory"}`, 60, 3e9)
	w.add(t, `foretide_workload_metric_demand{namespace="default",kind="Deployment",name="bert"}`, 60, 1)
	got, err := w.client(t).MetricHistory(t.Context(), at(0), at(60))
	want := map[Name][]Point{{bert, "queue"}: {{at(60), 7}}, {bert, "gpu-memory"}: {{at(60), 3e9}}}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })); err != nil || d != "" {
		t.Errorf("%v, history (-want +got):\n%s", err, d)
	}
	grid, err := w.client(t).MetricDemand(t.Context(), Name{bert, "queue"}, at(0), at(120), time.Minute)
	if err != nil || len(grid) != 2 || grid[0] != 7 || !math.IsNaN(grid[1]) {
		t.Errorf("by the minute %v, %v", grid, err)
	}
}

func TestWhatNeedsSeveralRequestsIsReadWithoutSeams(t *testing.T) {
	w := newWorld(t)
	const minutes = 16 * 24 * 60
	var pairs, want []float64
	for i := 1; i <= minutes; i++ {
		pairs, want = append(pairs, float64(60*i), float64(i)), append(want, float64(i))
	}
	w.add(t, bertSeries, pairs...)
	c := w.client(t)
	expectDemand(t, c, bert, 0, 60*minutes, time.Minute, want...)

	series, err := c.Range(t.Context(), "2 * "+bertSeries, at(60), at(60*minutes), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if len(series) != 1 || series[0].Labels["name"] != "bert" || len(series[0].Points) != minutes {
		t.Fatalf("range gave %d series", len(series))
	}
	for i, p := range series[0].Points {
		if !p.Time.Equal(at(float64(60*(i+1)))) || p.Value != float64(2*(i+1)) {
			t.Fatalf("point %d is %v", i, p)
		}
	}

	history, err := c.WorkloadHistory(t.Context(), at(0), at(3*3600))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(history[Name{Workload: bert}]); n != 180 {
		t.Errorf("three hours of history have %d points, want 180", n)
	}
}

func TestASampleOnTheEdgeOfTwoRequestsCountsOnceWhateverTheEngineGives(t *testing.T) {
	m := moments{}
	m.take([]model.SamplePair{{Timestamp: 1000, Value: 1}, {Timestamp: 1001, Value: 2}, {Timestamp: 2000, Value: 3}, {Timestamp: 2001, Value: 4}}, 1000, 2000)
	if d := cmp.Diff(moments{1001: 2, 2000: 3}, m); d != "" {
		t.Errorf("taken of (1000, 2000] (-want +got):\n%s", d)
	}
}

func TestAStepWithoutAValueIsAbsent(t *testing.T) {
	w := newWorld(t)
	w.add(t, bertSeries, 60, 0, 120, 2)
	series, err := w.client(t).Range(t.Context(), "4 / "+bertSeries, at(60), at(120), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if len(series) != 1 || len(series[0].Points) != 1 || series[0].Points[0].Value != 2 {
		t.Errorf("got %+v; want the one finite value", series)
	}
}

func TestARangeThatMakesNoSenseIsRefused(t *testing.T) {
	c := newWorld(t).client(t)
	for _, try := range []func() error{
		func() error { _, err := c.Demand(t.Context(), bert, at(0), at(60), time.Millisecond); return err },
		func() error { _, err := c.Demand(t.Context(), bert, at(60), at(0), time.Minute); return err },
		func() error { _, err := c.Demand(t.Context(), bert, at(0), at(1<<30), time.Second); return err },
		func() error { _, err := c.Range(t.Context(), "1", at(60), at(0), time.Minute); return err },
	} {
		if err := try(); err == nil {
			t.Error("no error")
		}
	}
}

func TestTotalsTellWhatIsRecordedOfAllWorkloadsInEachStep(t *testing.T) {
	w := newWorld(t)
	w.add(t, bertSeries, 0, 9, 60, 1, 3600, 2, 3660, 4, 10800, 8)
	w.add(t, `foretide_workload_demand_gpus{namespace="default",kind="Deployment",name="llama"}`, 60, 0.5)
	got, err := w.client(t).WorkloadTotals(t.Context(), at(0), at(14400), time.Hour)
	if d := cmp.Diff([]Total{{3, 3.5}, {1, 4}, {1, 8}, {}}, got); d != "" || err != nil {
		t.Errorf("%v; totals (-want +got):\n%s", err, d)
	}
}
