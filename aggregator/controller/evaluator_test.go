package controller

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/foretide/foretide/aggregator/scaling"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

func TestLoadAloneDecidesWithoutHistory(t *testing.T) {
	w := newWorld(2, 0.40)
	e := NewEvaluator(w, nil, w, nil)
	got := e.Evaluate(t.Context(), policy(), w.target, w.now)
	if got.Decision.Replicas != 4 || *got.Decision.CurrentPercent != 40 || got.Decision.Proactive != nil {
		t.Errorf("decision %+v, want 4 replicas at 40 %%, no proactive half", got.Decision)
	}
	if got.Forecast.Acts || got.Forecast.Note.Reason != "InsufficientHistory" || got.Forecast.Forecast != nil {
		t.Errorf("forecast %+v", got.Forecast)
	}
	if got.Data.State != True {
		t.Errorf("data %+v", got.Data)
	}
}

func TestTheForecastRaisesReplicasAheadOfTheLoad(t *testing.T) {
	w := newWorld(1, 0.20)
	w.demand = workday(days(14))
	e := NewEvaluator(w, nil, w, nil)
	w.now = noon.Add(-3*time.Hour - 10*time.Minute) // 08:50: the working day begins in ten minutes
	early := e.Evaluate(t.Context(), policy(), w.target, w.now)
	if !early.Forecast.Acts || early.Decision.Replicas != 1 && early.Decision.Replicas != 2 {
		t.Errorf("ten minutes ahead: %+v, %+v", early.Decision, early.Forecast.Note)
	}
	w.now = noon.Add(-3*time.Hour - 2*time.Minute) // 08:58: within the three minutes of scaleUpForward
	got := e.Evaluate(t.Context(), policy(), w.target, w.now)
	if got.Decision.Proactive == nil || *got.Decision.Proactive < 3 || got.Decision.Replicas < 3 || got.Decision.Reason != scaling.ForecastDemand {
		t.Errorf("two minutes ahead: %+v, want what the forecast asks for, on the way to 6", got.Decision)
	}
	if got.Decision.Reactive == nil || *got.Decision.Reactive != 1 {
		t.Errorf("the load asks for %v, want 1", got.Decision.Reactive)
	}
	if len(got.Forecast.Peaks) != 5 || got.Forecast.Peaks[4].GPUs < got.Forecast.Peaks[0].GPUs {
		t.Errorf("peaks %v", got.Forecast.Peaks)
	}
}

func TestLessThanADayOfHistoryIsShownAndDoesNotAct(t *testing.T) {
	w := newWorld(1, 0.20)
	w.demand = workday(noon.Add(-5*time.Hour - 10*time.Minute))
	e := NewEvaluator(w, nil, w, nil)
	got := e.Evaluate(t.Context(), policy(), w.target, w.now)
	if got.Forecast.Forecast == nil || got.Forecast.Acts || got.Forecast.Note.Reason != "LearningDailyPattern" {
		t.Errorf("forecast %+v", got.Forecast.Note)
	}
	if !got.Forecast.HasPeak || got.Forecast.PeakGPUs < 1 {
		t.Errorf("peak %v, %v", got.Forecast.PeakGPUs, got.Forecast.HasPeak)
	}
	if got.Decision.Proactive != nil || got.Decision.Replicas != 1 {
		t.Errorf("decision %+v, want the load's alone", got.Decision)
	}
	if want := "5h of the needed 24h"; !strings.Contains(got.Forecast.Note.Message, want) {
		t.Errorf("message %q, want %q in it", got.Forecast.Note.Message, want)
	}
}

func TestOneForecastAMinute(t *testing.T) {
	w := newWorld(1, 0.20)
	w.demand = workday(days(2))
	e := NewEvaluator(w, nil, w, nil)
	for second := range 120 {
		e.Evaluate(t.Context(), policy(), w.target, noon.Add(time.Duration(second)*time.Second))
	}
	if len(w.reads) != 3 { // the minute before noon, until it is settled, and the two after
		t.Errorf("the history was read %v in 120 syncs, want 3 times", w.reads)
	}
	e.Evaluate(t.Context(), policy(func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) {
		*p.Spec.Prediction.Quantile = 70
	}), w.target, noon.Add(2*time.Minute))
	if len(w.reads) != 4 {
		t.Errorf("another quantile took %d reads, want one more", len(w.reads)-3)
	}
	e.forecasts.predict(t.Context(), asked{workload: Workload{Name: "other"}, level: 0.95, days: &calendar{}}, ahead{}, noon.Add(time.Hour))
	if n := len(e.forecasts.known); n != 1 {
		t.Errorf("%d forecasts are kept an hour later, want the new one alone", n)
	}
}

func TestAnUnreadableHistoryLeavesTheLoadToDecide(t *testing.T) {
	w := newWorld(2, 0.40)
	w.unread = errors.New("disk gone")
	got := NewEvaluator(w, nil, w, nil).Evaluate(t.Context(), policy(), w.target, w.now)
	if got.Forecast.Note.Reason != "HistoryUnavailable" || !strings.Contains(got.Forecast.Note.Message, "disk gone") || got.Decision.Replicas != 4 {
		t.Errorf("forecast %+v, decision %+v", got.Forecast.Note, got.Decision)
	}
}

func TestScalingDownWaitsForTheWindow(t *testing.T) {
	w := newWorld(4, 0.20)
	e := NewEvaluator(w, nil, w, nil)
	at := func(after time.Duration, busy float64, want int32, reason scaling.Reason) {
		t.Helper()
		w.run(4, busy)
		got := e.Evaluate(t.Context(), policy(), w.target, noon.Add(after))
		if got.Decision.Replicas != want || got.Decision.Reason != reason {
			t.Errorf("after %v: %d, %s; want %d, %s (%s)", after, got.Decision.Replicas, got.Decision.Reason, want, reason, got.Decision.Message)
		}
	}
	at(0, 0.20, 4, scaling.Steady)
	at(10*time.Second, 0.10, 4, scaling.Stabilized)
	at(299*time.Second, 0.10, 4, scaling.Stabilized)
	at(301*time.Second, 0.10, 2, scaling.ReactiveDemand) // the 4 of the beginning scrolled out
	e.Forget(policy().UID)
	at(302*time.Second, 0.10, 4, scaling.Stabilized) // as after a restart: the window starts from what is there
}

func TestAPolicyPointedAtAnotherTargetStartsAnew(t *testing.T) {
	w := newWorld(4, 0.20)
	e := NewEvaluator(w, nil, w, nil)
	e.Evaluate(t.Context(), policy(), w.target, noon)
	before := e.window(policy())
	moved := policy(func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) { p.Spec.ScaleTargetRef.Name = "other" })
	if e.window(moved) == before || len(e.windows) != 1 {
		t.Error("the window of the old target is still there")
	}
}

func TestMissingTelemetryHoldsAndNamesThePods(t *testing.T) {
	w := newWorld(5, 0.02)
	e := NewEvaluator(w, nil, w, nil)
	lowered := policy(func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) { *p.Spec.StabilizationWindowSeconds = 0 })
	for _, pod := range []string{"bert-0", "bert-1", "bert-3", "bert-4"} {
		delete(w.loads, "default/"+pod)
	}
	got := e.Evaluate(t.Context(), lowered, w.target, w.now)
	if got.Decision.Replicas != 5 || !got.Decision.Held && got.Decision.Reason != scaling.Steady {
		t.Errorf("decision %+v, want 5 held", got.Decision)
	}
	want := "no fresh telemetry of 4 of 5 ready pods: bert-0 (node node-1), bert-1 (node node-1), bert-3 (node node-1) and 1 more"
	if got.Data.State != False || got.Data.Note.Message != want {
		t.Errorf("data %+v\nwant %s", got.Data, want)
	}
}

func TestALostDeviceIsMissingTelemetry(t *testing.T) {
	w := newWorld(1, 0.02)
	w.target.Pods[0].GPUs = 2
	got := NewEvaluator(w, nil, w, nil).Evaluate(t.Context(), policy(), w.target, w.now)
	want := "no fresh telemetry of 1 of 1 ready pods: bert-0 (node node-1, 1 of 2 GPUs read)"
	if got.Data.State != False || got.Data.Note.Message != want || got.Decision.CurrentPercent != nil {
		t.Errorf("data %+v, decision %+v", got.Data, got.Decision)
	}
}

func TestFreshness(t *testing.T) {
	young := func(w *world) { w.target.Pods[0].ReadySince = noon.Add(-telemetryGrace + time.Second) }
	for name, c := range map[string]struct {
		change func(*world)
		state  State
		reason string
	}{
		"known":                      {func(*world) {}, True, "FreshTelemetry"},
		"idle is known":              {func(w *world) { w.loads["default/bert-0"] = Load{GPUs: 1} }, True, "FreshTelemetry"},
		"silent":                     {func(w *world) { clear(w.loads) }, False, "MissingTelemetry"},
		"just ready, not heard of":   {func(w *world) { young(w); clear(w.loads) }, True, "FreshTelemetry"},
		"starting":                   {func(w *world) { w.target.Pods[0].State = scaling.Unready }, Unknown, "NoReadyPods"},
		"no pods":                    {func(w *world) { w.target.Pods = nil }, Unknown, "NoPods"},
		"pods without GPUs":          {func(w *world) { w.target.Pods[0].GPUs = 0; clear(w.loads) }, False, "NoGPUs"},
		"devices of another request": {func(w *world) { w.target.Pods[0].GPUs = 0 }, True, "FreshTelemetry"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(1, 0.2)
			c.change(w)
			_, _, _, got := NewEvaluator(w, nil, w, nil).observe(w.target, noon, noon)
			if got.State != c.state || got.Note.Reason != c.reason {
				t.Errorf("got %+v, want %s %s", got, c.state, c.reason)
			}
		})
	}
}

func TestMissingTelemetryNamesWhatIsWrongWithTheNode(t *testing.T) {
	w := newWorld(2, 0.2)
	clear(w.loads)
	w.troubles = map[string]string{"node-1": "kubelet does not answer"}
	got := NewEvaluator(w, nil, w, nil).Evaluate(t.Context(), policy(), w.target, noon).Data.Note.Message
	if want := "; node node-1: kubelet does not answer"; strings.Count(got, want) != 1 {
		t.Errorf("message %q, want %q in it, once", got, want)
	}
}

// One pod bears all of a demand of 0.92 GPUs; when four more share it, its average still tells of before.
func TestALoadOfBeforeTheReadyPodsChangedIsNotActedOn(t *testing.T) {
	w := newWorld(1, 0.92)
	e := NewEvaluator(w, nil, w, nil)
	look := func(after time.Duration, want int32, reason scaling.Reason) {
		t.Helper()
		got := e.Evaluate(t.Context(), policy(), w.target, noon.Add(after)).Decision
		if got.Replicas != want || got.Reason != reason {
			t.Errorf("after %v: %d, %s; want %d, %s (%s)", after, got.Replicas, got.Reason, want, reason, got.Message)
		}
	}
	look(0, 5, scaling.ReactiveDemand)
	w.run(5, 0.184)
	for i := range w.target.Pods[1:] {
		w.target.Pods[i+1].ReadySince = noon.Add(9 * time.Second)
	}
	w.loads["default/bert-0"] = Load{GPUs: 1, BusyGPUs: 0.7} // 7 of the 10 averaged seconds lie before
	look(10*time.Second, 5, scaling.Settling)
	w.loads["default/bert-0"] = Load{GPUs: 1, BusyGPUs: 0.184}
	look(12*time.Second, 5, scaling.Steady)
	w.run(6, 0.25)
	look(14*time.Second, 6, scaling.Settling)
	look(30*time.Second, 8, scaling.ReactiveDemand)
}

func TestPodsThatComeAndGoWithoutEndDoNotKeepAWorkloadFromGrowing(t *testing.T) {
	w := newWorld(3, 0.90)
	e := NewEvaluator(w, nil, w, nil)
	var got scaling.Decision
	for second := range 20 {
		w.target.Pods[2].State = []scaling.PodState{scaling.Ready, scaling.Unready}[second%2]
		got = *e.Evaluate(t.Context(), policy(), w.target, noon.Add(time.Duration(second)*time.Second)).Decision
		if second == 5 && got.Reason != scaling.Settling {
			t.Errorf("at first %s, want to wait", got.Reason)
		}
	}
	if got.Replicas <= 3 {
		t.Errorf("%d replicas (%s) after 20 s of flapping, want more: %s", got.Replicas, got.Reason, got.Message)
	}
}

func TestAForecastThatIsLostLowersNothing(t *testing.T) {
	w := newWorld(4, 0.01)
	w.unread = errors.New("checksum mismatch")
	e := NewEvaluator(w, nil, w, nil)
	for _, after := range []time.Duration{0, 10 * time.Minute, 20 * time.Minute} {
		if got := e.Evaluate(t.Context(), policy(), w.target, noon.Add(after)).Decision; got.Replicas != 4 {
			t.Errorf("after %v: %d replicas (%s)", after, got.Replicas, got.Message)
		}
	}
}

func TestGPUsPerPodAreThoseOfTheReadyOnes(t *testing.T) {
	ready := func(gpus float64) Pod { return Pod{State: scaling.Ready, GPUs: gpus} }
	unready := func(gpus float64) Pod { return Pod{State: scaling.Unready, GPUs: gpus} }
	for name, c := range map[string]struct {
		pods []Pod
		want float64
	}{
		"ready before unready": {[]Pod{ready(1), unready(4)}, 1},
		"mean":                 {[]Pod{ready(1), ready(2)}, 1.5},
		"unready alone":        {[]Pod{unready(4), {State: scaling.Gone, GPUs: 1}}, 4},
		"none":                 {[]Pod{ready(0)}, 0},
	} {
		if got := gpusPerPod(c.pods); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}
