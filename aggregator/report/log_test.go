package report

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// minutes as they were decided, oldest first; a zero reason is a minute without a decision.
type decided struct {
	replicas float64
	reason   string
	times    int
}

func logOf(minutes ...decided) []Decision {
	in := Input{Location: time.UTC, Past: Past{Start: now}}
	for _, d := range minutes {
		for range max(1, d.times) {
			in.Past.Desired, in.Past.Reasons = append(in.Past.Desired, d.replicas), append(in.Past.Reasons, d.reason)
			in.Past.Proactive, in.Past.Reactive = append(in.Past.Proactive, nan), append(in.Past.Reactive, d.replicas)
		}
	}
	return decisions(in)
}

func TestTheLogTellsChangesAndTroublesOnce(t *testing.T) {
	got := logOf(
		decided{2, "Steady", 3}, decided{2, "ScaleDownStabilized", 3}, decided{5, "ForecastDemand", 4}, decided{5, "NoTelemetry", 3},
		decided{nan, "TargetNotFound", 2}, decided{5, "Steady", 1}, decided{nan, "", 20}, decided{5, "Steady", 2},
	)
	at := func(minute int) time.Time { return now.Add(time.Duration(minute) * time.Minute) }
	want := []Decision{
		{at(37), 5, 5, "Steady", "nothing was decided here for 21m0s; then: the replicas are what is asked for (asked for: load 5)"},
		{at(16), 5, 5, "Steady", "the replicas are what is asked for (asked for: load 5)"},
		{at(14), 5, Number(nan), "TargetNotFound", "the scale target is not there"},
		{at(11), 5, 5, "NoTelemetry", "neither load nor forecast is known: held (asked for: load 5)"},
		{at(7), 2, 5, "ForecastDemand", "the forecast asks for more than the present load (asked for: load 5)"},
		{at(1), Number(nan), 2, "Steady", "the replicas are what is asked for (asked for: load 2)"},
	}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b Number) bool { return a == b || a != a && b != b })); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestTheLogIsBounded(t *testing.T) {
	var all []decided
	for i := range 3000 {
		all = append(all, decided{float64(i), "ReactiveDemand", 1})
	}
	got := logOf(all...)
	if len(got) != mostDecisions || got[0].To != 2999 {
		t.Errorf("%d entries, the first %+v", len(got), got[0])
	}
}

func TestAReasonNobodyExplainedStandsForItself(t *testing.T) {
	got := logOf(decided{2, "NoFreeGPUs", 1})
	if got[0].Reason != "NoFreeGPUs" || got[0].Text != "(asked for: load 2)" {
		t.Errorf("%+v", got[0])
	}
}
