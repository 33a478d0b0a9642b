package storage

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var fib = Policy{"default", "fib-gpu"}

func TestDecisionsAreThereAfterARestartAndWhatIsUnknownIsAbsent(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, start.Add(time.Hour))
	at := func(minute int) time.Time { return start.Add(time.Duration(minute) * time.Minute) }
	if err := s.AppendDecisions(t.Context(), []Decided{
		{fib, at(1), new(int32(3)), new(int32(3)), new(int32(0)), "ForecastDemand"},
		{fib, at(2), new(int32(3)), nil, nil, "NoTelemetry"},
		{fib, at(4), nil, nil, nil, "TargetNotFound"},
		{Policy{"default", "other"}, at(1), new(int32(9)), nil, nil, "Steady"},
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.AppendDecisions(t.Context(), []Decided{{fib, at(2), new(int32(7)), nil, nil, "NoTelemetry"}}); err != nil {
		t.Errorf("told again: %v, want the first to stand", err)
	}
	nan := math.NaN()
	want := Decisions{
		Desired: []float64{3, 3, nan, nan}, Proactive: []float64{3, nan, nan, nan}, Reactive: []float64{0, nan, nan, nan},
		Reasons: []string{"ForecastDemand", "NoTelemetry", "", "TargetNotFound"},
	}
	for _, when := range []string{"written", "opened anew"} {
		got, err := s.Decisions(t.Context(), fib, start, at(4))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateNaNs()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, dir, start.Add(time.Hour))
	}
}

func TestWrongDecisionsAreRefusedByNameAndWriteNothing(t *testing.T) {
	s := open(t, t.TempDir(), start)
	good := Decided{fib, start, new(int32(1)), nil, nil, "Steady"}
	for want, wrong := range map[string]Decided{
		`namespace "", name "fib-gpu"`:           {Policy{"", "fib-gpu"}, start, nil, nil, nil, ""},
		"foretide_policy_desired_replicas is -1": {fib, start, new(int32(-1)), nil, nil, ""},
		"decision time":                          {fib, start.Add(time.Hour), new(int32(1)), nil, nil, ""},
	} {
		if err := s.AppendDecisions(t.Context(), []Decided{good, wrong}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want it to name %s", err, want)
		}
	}
	got, err := s.Decisions(t.Context(), fib, start.Add(-time.Minute), start)
	if err != nil || !math.IsNaN(got.Desired[0]) || got.Reasons[0] != "" {
		t.Errorf("%+v, %v; want nothing written", got, err)
	}
}
