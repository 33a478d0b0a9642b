package app

import (
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/foretide/foretide/aggregator/controller"
	"github.com/foretide/foretide/aggregator/scaling"
	"github.com/foretide/foretide/aggregator/storage"
)

var webPolicyName = storage.Policy{Namespace: "default", Name: "web"}

// decidedAt is a decision for so many replicas.
func decidedAt(at time.Time, replicas int32, reason scaling.Reason) controller.Evaluation {
	return controller.Evaluation{Namespace: "default", Name: "web", At: at, Workload: web, Decision: &scaling.Decision{Replicas: replicas, Reactive: &replicas, Reason: reason}}
}

func TestTheLastDecisionOfEachMinuteIsKeptOverARestart(t *testing.T) {
	b := openBooks(t, t.TempDir(), noon())
	begin := b.now
	d := newDiary(b.store, slog.New(slog.DiscardHandler))
	for i := range 4 * 60 { // each second; every ten of them it is written
		b.now = begin.Add(time.Duration(i) * time.Second)
		if minute := i / 60; minute != 2 { // in the third minute nothing is decided
			d.observe(decidedAt(b.now, int32(i), scaling.ReactiveDemand))
		}
		if i%10 == 0 {
			d.keep(t.Context(), b.now)
		}
	}
	d.observe(controller.Evaluation{Namespace: "default", Name: "web", At: begin.Add(4 * time.Minute), Workload: web, Problem: controller.Note{Reason: "TargetNotFound"}})
	b.now = begin.Add(5 * time.Minute)
	d.keep(t.Context(), b.now)
	if err := b.store.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := openBooks(t, b.dir, b.now).store.Decisions(t.Context(), webPolicyName, begin, b.now)
	if err != nil {
		t.Fatal(err)
	}
	nan := math.NaN()
	want := storage.Decisions{
		Desired: []float64{59, 119, nan, 239, nan}, Proactive: []float64{nan, nan, nan, nan, nan}, Reactive: []float64{59, 119, nan, 239, nan},
		Reasons: []string{"ReactiveDemand", "ReactiveDemand", "", "ReactiveDemand", "TargetNotFound"},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateNaNs()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestAMinuteKeepsWhyItsReplicasChanged(t *testing.T) {
	b := openBooks(t, t.TempDir(), noon())
	begin := b.now
	d := newDiary(b.store, slog.New(slog.DiscardHandler))
	second := 0
	next := func(replicas int32, reason scaling.Reason) {
		second += 20
		b.now = begin.Add(time.Duration(second) * time.Second)
		d.observe(decidedAt(b.now, replicas, reason))
		d.keep(t.Context(), b.now)
	}
	next(2, scaling.Steady)
	next(2, scaling.Steady)
	next(5, scaling.ForecastDemand) // the second minute
	next(5, scaling.Steady)
	next(5, scaling.Steady)
	next(5, scaling.Steady) // the third
	next(3, scaling.ReactiveDemand)
	next(4, scaling.OutsideBounds)
	next(4, scaling.NoTelemetry) // the fourth
	d.forget(webPolicyName)
	b.now = begin.Add(5 * time.Minute)
	d.keep(t.Context(), b.now)
	got, err := b.store.Decisions(t.Context(), webPolicyName, begin, begin.Add(4*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"Steady", "ForecastDemand", "OutsideBounds", "NoTelemetry"}, got.Reasons); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]float64{2, 5, 4, 4}, got.Desired); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if len(d.now) != 0 {
		t.Error("a policy that is gone is remembered")
	}
}

func TestDecisionsThatCannotBeWrittenAreTriedAgainForAWhileAndToldOnce(t *testing.T) {
	b := openBooks(t, t.TempDir(), noon())
	begin := b.now
	var log safeBuffer
	d := newDiary(b.store, slog.New(slog.NewTextHandler(&log, nil)))
	b.now = begin.Add(-time.Hour) // the history's clock is behind, and takes nothing of a future
	for i := range 20 {
		d.observe(decidedAt(begin.Add(time.Duration(i)*time.Minute), int32(i), scaling.Steady))
		d.keep(t.Context(), begin.Add(time.Duration(i+1)*time.Minute))
	}
	if n := strings.Count(log.String(), "decisions cannot be written"); n != 1 {
		t.Errorf("told %d times:\n%s", n, log.String())
	}
	b.now = begin.Add(20 * time.Minute)
	d.keep(t.Context(), b.now)
	got, err := b.store.Decisions(t.Context(), webPolicyName, begin, b.now)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range got.Desired {
		if kept := i >= 10; kept == math.IsNaN(v) {
			t.Errorf("minute %d: %v; want the last ten", i, v)
		}
	}
}

// BenchmarkDiary is a minute of five thousand policies, each decided every two seconds, and written.
func BenchmarkDiary(b *testing.B) {
	const policies = 5_000
	books := openBooks(b, b.TempDir(), noon())
	d := newDiary(books.store, slog.New(slog.DiscardHandler))
	names := make([]string, policies)
	for i := range names {
		names[i] = fmt.Sprintf("web-%d", i)
	}
	b.ReportAllocs()
	for b.Loop() {
		for range 30 {
			e := decidedAt(books.now, 3, scaling.Steady)
			for _, e.Name = range names {
				d.observe(e)
			}
			books.now = books.now.Add(2 * time.Second)
		}
		d.keep(b.Context(), books.now)
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/minute")
}
