package controller

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/foretide/foretide/aggregator/scaling"
)

// say gives every pod a load and what its newest reports say.
func (w *world) say(average, recent float64) {
	for name, load := range w.loads {
		load.BusyGPUs, load.RecentBusyGPUs, load.HasRecent = average, recent, true
		w.loads[name] = load
	}
}

// look has the policy evaluated so many times, each two seconds.
func (w *world) look(e *Evaluator, times int) (last Evaluation) {
	for range times {
		last = e.Evaluate(context.Background(), policy(), w.target, w.now)
		w.now = w.now.Add(2 * time.Second)
	}
	return last
}

func TestASurgeCountsAtOnce(t *testing.T) {
	w := newWorld(2, 0.20)
	e := NewEvaluator(w, nil, w, nil)
	w.say(0.20, 0.20)
	w.look(e, 150)
	w.say(0.24, 0.60)
	got := w.look(e, 1)
	if got.Decision.Replicas != 6 || *got.Decision.CurrentPercent != 60 || !strings.Contains(got.Decision.Message, "newest reports say 1.20 busy GPUs, the average 0.48") {
		t.Errorf("decision %+v, want 6 replicas at 60 %%", got.Decision)
	}
}

func TestWithoutMinutesToLearnFromTheAverageDecidesAlone(t *testing.T) {
	w := newWorld(2, 0.20)
	e := NewEvaluator(w, nil, w, nil)
	w.say(0.20, 0.60)
	if got := w.look(e, 60); got.Decision.Replicas != 2 {
		t.Errorf("decision %+v within two minutes, want 2 replicas", got.Decision)
	}
}

func TestASurgeThatCameToNothingIsNoNewsForAnHour(t *testing.T) {
	w := newWorld(2, 0.20)
	e := NewEvaluator(w, nil, w, nil)
	burst := func() (replicas int32) {
		w.say(0.22, 0.60)
		replicas = w.look(e, 1).Decision.Replicas
		w.say(0.20, 0.20)
		w.look(e, 299) // ten minutes
		return replicas
	}
	w.say(0.20, 0.20)
	w.look(e, 150)
	var seen []string
	for range 8 {
		seen = append(seen, fmt.Sprint(burst()))
	}
	if got := strings.Join(seen, " "); got != "6 2 2 2 2 2 2 2" {
		t.Errorf("a burst every ten minutes asks for %s, want 6 the first time", got)
	}
	w.look(e, 30*62)
	if got := burst(); got != 6 {
		t.Errorf("after an hour without one, a burst asks for %d, want 6", got)
	}
}

func TestARiseThatStaysIsNotNoise(t *testing.T) {
	w := newWorld(2, 0.20)
	e := NewEvaluator(w, nil, w, nil)
	for range 4 {
		w.say(0.20, 0.20)
		w.look(e, 150)
		w.say(0.24, 0.60)
		if got := w.look(e, 5).Decision.Replicas; got != 6 {
			t.Fatalf("a step asks for %d, want 6", got)
		}
		w.say(0.60, 0.60)
		w.look(e, 150)
		w.say(0.60, 0.10) // and falls
		w.look(e, 5)
	}
}

func TestWhatTheNewestReportsSayLowersNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		var s surges
		now := noon
		for range 300 {
			now = now.Add(time.Duration(r.IntN(10)) * time.Second)
			pods := make([]scaling.Pod, 1+r.IntN(5))
			recent := make([]float64, len(pods))
			for i := range pods {
				gpus := float64(1 + r.IntN(4))
				pods[i] = scaling.Pod{Holds: gpus, Uses: gpus * r.Float64(), Known: r.IntN(5) > 0, State: []scaling.PodState{scaling.Ready, scaling.Unready, scaling.Gone}[r.IntN(3)]}
				if recent[i] = gpus * r.Float64(); r.IntN(4) == 0 {
					recent[i] = math.NaN()
				}
			}
			was := append([]scaling.Pod{}, pods...)
			s.raise(pods, recent, now)
			for i, pod := range pods {
				if counts := pod.State == scaling.Ready && pod.Known; !(pod.Uses >= was[i].Uses) || pod.Uses > pod.Holds+1e-9 || !counts && pod != was[i] {
					t.Fatalf("pod %+v became %+v", was[i], pod)
				}
			}
		}
	}
}
