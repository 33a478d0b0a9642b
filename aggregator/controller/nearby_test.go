package controller

import (
	"math"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/foretide/foretide/aggregator/forecast"
)

// bursts are lines up and down within an hour and a half at other times of each day, for days that began so many before noon.
func bursts(at time.Time) float64 {
	if at.Before(days(14)) {
		return math.NaN()
	}
	minute := math.Mod(at.Sub(days(14)).Minutes(), 97*5)
	return 2 + max(0, 9-math.Abs(minute-45)/5)
}

// peaks looks once a minute and returns what a policy's forecast came to at its last.
func peaks(t *testing.T, w *world, lead int32, last time.Duration, outside Outside) Prediction {
	p := policy()
	p.Spec.Prediction.ScaleUpForward = new(intstr.FromInt32(lead))
	e := NewEvaluator(w, nil, w, outside)
	var out Prediction
	for after := last - 5*time.Minute; after <= last; after += time.Minute {
		out = e.Evaluate(t.Context(), p, w.target, noon.Add(after)).Forecast
	}
	return out
}

func TestTheLastMinutesSayWhatTheNextBring(t *testing.T) {
	w := newWorld(1, 0.2)
	w.demand = bursts
	rising, past := time.Duration(0), time.Duration(0)
	for after := time.Duration(0); past == 0; after += time.Minute {
		switch now, soon := bursts(noon.Add(after)), bursts(noon.Add(after+4*time.Minute)); {
		case rising == 0 && now > 5 && now < 6 && soon > now+0.7:
			rising = after
		case rising > 0 && now == 2:
			past = after + 20*time.Minute
		}
	}
	alone := func(p Prediction, at time.Duration, lead time.Duration) float64 {
		peak, _ := p.Forecast.Peak(0.95, noon.Add(at), noon.Add(at+lead+p.Forecast.Step))
		return peak
	}
	up, down := peaks(t, w, 180, rising, nil), peaks(t, w, 180, past, nil)
	if most := bursts(noon.Add(rising + 4*time.Minute)); up.PeakGPUs < most {
		t.Errorf("in a rise %.2f GPUs are expected, and %.2f will be there", up.PeakGPUs, most)
	}
	if own := alone(down, past, 3*time.Minute); down.PeakGPUs >= own {
		t.Errorf("after it %.2f GPUs are expected, no less than the forecast's %.2f", down.PeakGPUs, own)
	}
	for _, p := range []Prediction{up, down} {
		for i := 1; i < len(p.Peaks); i++ {
			if p.Peaks[i].GPUs < p.Peaks[i-1].GPUs {
				t.Errorf("a higher quantile is lower: %v", p.Peaks)
			}
		}
	}
	if far := peaks(t, w, 1800, past, nil); far.PeakGPUs != alone(far, past, 30*time.Minute) {
		t.Errorf("half an hour ahead %.2f GPUs are expected, want the forecast's %.2f", far.PeakGPUs, alone(far, past, 30*time.Minute))
	}
	if other := peaks(t, w, 180, past, &oracle{answers: map[string]forecast.Forecast{bertP95: nine(noon.Add(past-5*time.Minute), 288, levels(0.95))}}); other.PeakGPUs != 9 {
		t.Errorf("what another forecaster says becomes %.2f, want its 9", other.PeakGPUs)
	}
}

func TestMinutesThatWereCutOffSayNothingOfTheNext(t *testing.T) {
	s := span{from: noon, demand: []float64{1, 2, 3}, saturated: []bool{false, true, false}}
	if got := s.certain(); got[0] != 1 || !math.IsNaN(got[1]) || got[2] != 3 || s.demand[1] != 2 {
		t.Errorf("%v of %v", got, s.demand)
	}
}

func TestAnotherLeadIsLearntOfAfterAWhile(t *testing.T) {
	r := remember(t, workday(days(14)))
	at := func(lead time.Duration, after time.Duration) int {
		q := task{history: r.world, workload: r.target.Workload, levels: levels(0.95), near: nearbyMinutes(lead), turns: make(chan struct{}, 1)}
		if r.forecast, r.err = r.follow(t.Context(), q, noon.Add(after)); r.err != nil {
			t.Fatal(r.err)
		}
		return r.nearby.Steps()
	}
	if got := at(3*time.Minute, 0); got != 4 {
		t.Errorf("a pod that takes 3 minutes serves within %d, want 4", got)
	}
	if got := at(5*time.Minute, time.Minute); got != 4 {
		t.Errorf("at once %d minutes", got)
	}
	if got := at(5*time.Minute, 20*time.Minute); got != 6 {
		t.Errorf("then %d minutes, want 6", got)
	}
	if at(mostNearby-settle, 40*time.Minute); r.nearby.Steps() != 15 {
		t.Errorf("a quarter of an hour has %d minutes", r.nearby.Steps())
	} else if _, ok := r.nearby.Peak(0.95, r.nearby.recent); !ok {
		t.Errorf("%d minutes do not say what the next quarter of an hour brings", len(r.nearby.recent))
	}
	if got := at(time.Hour, time.Hour); got != 0 {
		t.Errorf("an hour is not near: %d minutes", got)
	}
}
