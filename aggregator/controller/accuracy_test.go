package controller

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// graded says how good forecasts were, and remembers what it was asked.
type graded struct {
	accuracy Accuracy
	unknown  bool
	asked    int
	quantile float64
	lead     time.Duration
}

func (g *graded) Accuracy(_ Workload, quantile float64, lead time.Duration, _ time.Time) (Accuracy, bool) {
	g.asked++
	g.quantile, g.lead = quantile, lead
	return g.accuracy, !g.unknown
}

func benchOfGrades(t *testing.T) (*bench, *graded) {
	b, g := newBench(t, newWorld(2, 0.20), policy()), &graded{accuracy: Accuracy{Lead: 15 * time.Minute, Day: &Score{WAPE: 0.142, Coverage: 0.936, Bias: -0.031}}}
	b.Accuracies = g
	return b, g
}

func TestStatusTellsHowGoodForecastsWere(t *testing.T) {
	b, g := benchOfGrades(t)
	got := b.sync("fib-gpu", 0).Status.Accuracy
	want := &v1alpha1.AccuracyStatus{LeadSeconds: 900, At: metav1.NewTime(b.now), Day: &v1alpha1.AccuracyOver{
		AccuracyPercent: new(int32(86)), WAPEPercent: new(int32(14)), CoveragePercent: 94, BiasPercent: new(int32(-3)),
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("accuracy (-want +got):\n%s", diff)
	}
	if g.quantile != 0.95 || g.lead != 3*time.Minute {
		t.Errorf("asked for the quantile %v at %v, want the policy's own", g.quantile, g.lead)
	}
	g.accuracy = Accuracy{Lead: time.Hour, Week: &Score{WAPE: math.NaN(), Coverage: 1, Bias: math.NaN()}}
	got = b.sync("fib-gpu", 70*time.Minute).Status.Accuracy
	if got.Day != nil || got.Week.AccuracyPercent != nil || got.Week.WAPEPercent != nil || got.Week.BiasPercent != nil || got.Week.CoveragePercent != 100 {
		t.Errorf("without demand there is no part of it: %+v", got.Week)
	}
	g.accuracy.Week.WAPE = math.Inf(1)
	if got = b.sync("fib-gpu", 70*time.Minute).Status.Accuracy; *got.Week.AccuracyPercent != 0 || *got.Week.WAPEPercent != 1e6 {
		t.Errorf("of an endless error: %+v", got.Week)
	}
}

func TestAccuracyIsWrittenOnceAnHourHoweverMuchItMoves(t *testing.T) {
	b, g := benchOfGrades(t)
	b.sync("fib-gpu", 0)
	before := b.patches
	for i := range 3 * 120 { // three hours
		g.accuracy.Day.WAPE = float64(i%100) / 100
		b.sync("fib-gpu", 30*time.Second)
	}
	if n := b.patches - before; n != 3 {
		t.Errorf("%d writes in three hours, want 3", n)
	}
}

func TestAccuracyThatStaysTheSameIsNotWritten(t *testing.T) {
	b, _ := benchOfGrades(t)
	b.sync("fib-gpu", 0)
	before := b.patches
	for range 3 * 60 {
		b.sync("fib-gpu", time.Minute)
	}
	if b.patches != before {
		t.Errorf("%d writes in three hours, want none", b.patches-before)
	}
}

func TestAccuracyThatIsNotKnownForAWhileStandsAndThenGoes(t *testing.T) {
	b, g := benchOfGrades(t)
	b.sync("fib-gpu", 0)
	g.unknown = true
	if s := b.sync("fib-gpu", 90*time.Minute).Status; s.Accuracy == nil {
		t.Error("gone after an aggregator started anew")
	}
	if s := b.sync("fib-gpu", time.Hour).Status; s.Accuracy != nil {
		t.Errorf("still told after hours: %+v", s.Accuracy)
	}
	g.unknown = false
	b.sync("fib-gpu", time.Minute)
	g.accuracy.Day = nil
	if s := b.sync("fib-gpu", 70*time.Minute).Status; s.Accuracy != nil {
		t.Errorf("too little was compared, and told is %+v", s.Accuracy)
	}
}

func TestAccuracyOfAnotherWorkloadIsNotKept(t *testing.T) {
	b, g := benchOfGrades(t)
	p := b.sync("fib-gpu", 0)
	p.Spec.ScaleTargetRef.Name, p.Generation = "other", 2
	if err := b.Client.Update(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	g.unknown = true
	if s := b.sync("fib-gpu", 2*time.Second).Status; s.Accuracy != nil {
		t.Errorf("told is %+v", s.Accuracy)
	}
}
