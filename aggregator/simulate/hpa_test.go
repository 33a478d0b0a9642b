package simulate

import (
	"math"
	"testing"
	"time"
)

func hpa() *HPA { return &HPA{Bounds: Bounds{1, 100}, Target: 0.5} }

func TestTheHorizontalPodAutoscalersArithmetic(t *testing.T) {
	for name, c := range map[string]struct {
		view View
		want int32
	}{
		"a ratio within a tenth is none":              {steady(0, 10, 5.4), 10},
		"above it the replicas are so many times":     {steady(0, 10, 6), 12},
		"not more than double at once":                {steady(0, 10, 15), 20},
		"and four at least":                           {steady(0, 1, 10), 4},
		"pods that start count as idle ones":          {View{Now: start, Replicas: 10, Ready: 5, Settled: 5, Starting: 5, Utilization: 1}, 10},
		"with pods pending it is the same upwards":    {View{Now: start, Replicas: 10, Ready: 5, Settled: 5, Starting: 5, Pending: 5, Utilization: 1}, 10},
		"but what is pending never turns it round":    {View{Now: start, Replicas: 10, Ready: 5, Settled: 5, Starting: 5, Pending: 5, Utilization: 0.6}, 10},
		"and is not there when the others are enough": {View{Now: start, Replicas: 10, Ready: 5, Settled: 5, Starting: 5, Pending: 5, Utilization: 0.3}, 3},
		"pods that just became ready count as idle":   {View{Now: start, Replicas: 20, Ready: 20, Settled: 10, Utilization: 1}, 20},
		"and without any others there is no telling":  {View{Now: start, Replicas: 20, Ready: 20, Utilization: 0.1}, 20},
	} {
		if got := hpa().Decide(c.view); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestTheHorizontalPodAutoscalerGoesDownToTheMostOfFiveMinutes(t *testing.T) {
	h := hpa()
	for at := time.Duration(0); at <= 11*time.Minute; at += step {
		busy := 5.0
		switch {
		case at >= 2*time.Minute:
			busy = 2
		case at >= time.Minute:
			busy = 4
		}
		want := int32(10)
		switch {
		case at > 7*time.Minute-step: // the last recommendation of eight is of 1m45s
			want = 4
		case at > 6*time.Minute-step:
			want = 8
		}
		if got := h.Decide(steady(at, 10, busy)); got != want {
			t.Fatalf("after %v it wants %d, not %d", at, got, want)
		}
	}
}

func TestTheHorizontalPodAutoscalerSyncsEach15Seconds(t *testing.T) {
	h := hpa()
	for i, want := range []int32{20, 10, 10, 20} {
		if got := h.Decide(steady(time.Duration(i)*5*time.Second, 10, 10)); got != want {
			t.Errorf("after %d s it wants %d, not %d", 5*i, got, want)
		}
	}
}

func TestWhatIsNotKnownIsNoRecommendation(t *testing.T) {
	h, blind := hpa(), steady(0, 10, 5)
	h.Decide(steady(0, 10, 5))
	for at := step; at < 6*time.Minute; at += step {
		blind.Now, blind.Utilization = start.Add(at), math.NaN()
		if got := h.Decide(blind); got != 10 {
			t.Fatalf("after %v without a load it wants %d, not 10", at, got)
		}
	}
	if got := h.Decide(steady(6*time.Minute, 10, 2)); got != 4 {
		t.Errorf("with the load known again it wants %d, not 4: the ten of before are forgotten", got)
	}
}
