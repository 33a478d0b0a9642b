package app

import (
	"context"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"github.com/foretide/foretide/aggregator/controller"
	"github.com/foretide/foretide/aggregator/scaling"
	"github.com/foretide/foretide/aggregator/storage"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// unloaded is a cluster of which nothing is known now.
type unloaded struct{}

func (unloaded) Load(string, string, string, time.Time, time.Time) (controller.Load, bool) {
	return controller.Load{}, false
}
func (unloaded) Trouble(string, time.Time) string { return "" }

// reads counts how much of a history is read.
type reads struct {
	history
	spans []time.Duration
}

func (r *reads) Demand(ctx context.Context, w controller.Workload, metric string, from, to time.Time, step time.Duration) ([]float64, error) {
	r.spans = append(r.spans, to.Sub(from))
	return r.history.Demand(ctx, w, metric, from, to, step)
}

func TestForecastsFollowAHistoryOnDiskMinuteByMinute(t *testing.T) {
	b := openBooks(t, t.TempDir(), noon())
	tide := func(at time.Time) float64 { return 3 + 2*math.Sin(2*math.Pi*float64(at.Unix()%86400)/86400) }
	var recorded []storage.Point
	for at := b.now.Add(-8 * 24 * time.Hour); !at.After(b.now); at = at.Add(time.Minute) {
		recorded = append(recorded, storage.Point{Time: at, Value: tide(at)})
	}
	if n, err := b.store.AppendDemandHistory(t.Context(), storage.Workload(web), recorded); err != nil || n != len(recorded) {
		t.Fatal(n, err)
	}
	read := &reads{history: history{b.store, new(atomic.Uint64)}}
	evaluator := controller.NewEvaluator(unloaded{}, nil, read, nil)
	policy := &v1alpha1.AdvancedHorizontalPodAutoscaler{}
	policy.Spec.ScaleTargetRef = v1alpha1.ScaleTargetRef{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"}
	policy.Spec.MaxReplicas = 8
	policy.Spec.Default()
	target := controller.Target{Workload: web, Replicas: 1, Pods: []controller.Pod{{Name: "web", State: scaling.Ready, GPUs: 1}}}

	for minute := range 70 {
		got := evaluator.Evaluate(t.Context(), policy, target, b.now.Add(30*time.Second)).Forecast
		if !got.Acts || !got.Forecast.Start.Equal(b.now) || !got.Forecast.LastKnown.Equal(b.now) {
			t.Fatalf("minute %d: %+v, %+v", minute, got.Note, got.Forecast)
		}
		for i, v := range got.Forecast.Mean {
			if want := tide(b.now.Add(time.Duration(i)*got.Forecast.Step + got.Forecast.Step/2)); math.Abs(v-want) > 0.1 {
				t.Fatalf("minute %d: step %d is %g, want %g", minute, i, v, want)
			}
		}
		b.now = b.now.Add(time.Minute)
		b.demand(tide(b.now))
	}
	looks := 0
	for _, span := range read.spans {
		if span > 21*time.Minute {
			looks++
		}
	}
	if looks < 2 || looks > 3 {
		t.Errorf("more than what was new was read %d times in 70 minutes, want the first time and once an hour", looks)
	}
}
