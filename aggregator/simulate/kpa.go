package simulate

import (
	"math"
	"time"
)

// kpa is Knative's autoscaler with its defaults (knative/serving pkg/autoscaler/scaling/autoscaler.go; its windows are those of
// config/core/configmaps/autoscaler.yaml): the mean of a stable window divided by the target, within half and a thousand times what is
// ready. When the mean of the panic window asks for twice what is ready it panics: until that is a stable window ago, it takes the larger of
// both and never goes down.
//
// Two things differ from Knative. It scales on what is in flight at a pod, and here on the busy GPUs, which all policies see, and which
// cannot show more than there is: with a target above one half it never panics while it has what it asked for. And its windows are of
// seconds, here of steps: a step that is longer than the panic window stands for it.
type kpa struct {
	Bounds
	target float64 // busy GPUs of a pod

	seen       []kpaSample // of the stable window, oldest first
	panicking  time.Time   // since when, or again; zero when it does not
	panicPods  float64
	hasDecided bool
}

type kpaSample struct {
	at   time.Time
	busy float64
}

const (
	kpaStable         = 60 * time.Second
	kpaPanic          = 6 * time.Second
	kpaPanicThreshold = 2
	kpaUpRate         = 1000
	kpaDownRate       = 2
)

// Watch keeps the stable window.
func (k *kpa) Watch(v View) {
	old := 0
	for old < len(k.seen) && v.Now.Sub(k.seen[old].at) >= kpaStable {
		old++
	}
	k.seen = append(k.seen[:0], k.seen[old:]...)
	if !math.IsNaN(v.Busy) {
		k.seen = append(k.seen, kpaSample{v.Now, v.Busy})
	}
}

// Decide is one tick. Without anything in the window it leaves everything as it is.
func (k *kpa) Decide(v View) int32 {
	if len(k.seen) == 0 {
		return v.Replicas
	}
	return k.clamp(k.scaled(v, k.mean(v.Now, kpaStable), k.mean(v.Now, kpaPanic)))
}

// mean is that of the last so long; of nothing it is 0, as Knative has it.
func (k *kpa) mean(now time.Time, window time.Duration) float64 {
	sum, n := 0.0, 0
	for i := len(k.seen) - 1; i >= 0 && now.Sub(k.seen[i].at) < window; i-- {
		sum, n = sum+k.seen[i].busy, n+1
	}
	return sum / float64(max(1, n))
}

// scaled is Knative's arithmetic of one tick.
func (k *kpa) scaled(v View, stable, panicked float64) float64 {
	if !k.hasDecided && v.Ready > 1 { // an autoscaler that starts keeps what is there until it has a window
		k.panicking, k.panicPods = v.Now, float64(v.Ready)
	}
	k.hasDecided = true

	ready := max(1, float64(v.Ready))
	within := func(pods float64) float64 {
		return min(max(pods, math.Floor(ready/kpaDownRate)), math.Ceil(kpaUpRate*ready))
	}
	stablePods, panicPods := podsFor(stable, k.target), podsFor(panicked, k.target)
	switch over := panicPods/ready >= kpaPanicThreshold; {
	case over:
		k.panicking = v.Now
	case !k.panicking.IsZero() && v.Now.Sub(k.panicking) > kpaStable:
		k.panicking, k.panicPods = time.Time{}, 0
	}
	if k.panicking.IsZero() {
		return within(stablePods)
	}
	k.panicPods = max(k.panicPods, within(stablePods), within(panicPods))
	return k.panicPods
}
