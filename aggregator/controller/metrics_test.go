package controller

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/foretide/foretide/aggregator/scaling"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// read is the Metrics of a test: what each metric is, by its id.
type read map[string]Amounts

func (r read) Metric(_ context.Context, _ Target, spec v1alpha1.MetricSpec, _ time.Time) (Amounts, error) {
	if a, ok := r[spec.ID()]; ok {
		return a, nil
	}
	return Amounts{}, errors.New("nobody reports it")
}

func tenEach() v1alpha1.MetricTarget {
	return v1alpha1.MetricTarget{Type: v1alpha1.AverageValueTarget, AverageValue: new(resource.MustParse("10"))}
}

func waiting(target v1alpha1.MetricTarget) v1alpha1.MetricSpec {
	return v1alpha1.MetricSpec{Type: v1alpha1.MetricSourceExternal, External: &v1alpha1.ExternalMetric{Query: "queue", Target: target}}
}

func gpuMemory(percent int32) v1alpha1.MetricSpec {
	return v1alpha1.MetricSpec{Type: v1alpha1.MetricSourceResource, Resource: &v1alpha1.ResourceMetric{
		Name: v1alpha1.ResourceGPUMemory, Target: v1alpha1.MetricTarget{Type: v1alpha1.UtilizationTarget, AverageUtilization: &percent},
	}}
}

// with gives a policy metrics, beside gpu or instead of it.
func with(beside bool, metrics ...v1alpha1.MetricSpec) func(*v1alpha1.AdvancedHorizontalPodAutoscaler) {
	return func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) {
		if !beside {
			p.Spec.Metrics = nil
		}
		p.Spec.Metrics = append(p.Spec.Metrics, metrics...)
		p.Spec.Default()
	}
}

// eachPod has so many of 80e9 bytes for each of the target's pods.
func eachPod(w *world, uses float64) Amounts {
	out := Amounts{Pods: map[string]Amount{}}
	for _, pod := range w.target.Pods {
		out.Pods[pod.Name] = Amount{uses, 80e9}
	}
	return out
}

func TestTheMetricThatAsksForMostDecides(t *testing.T) {
	w := newWorld(4, 0.2) // of a target of 20 %
	for name, c := range map[string]struct {
		metric v1alpha1.MetricSpec
		read   Amounts
		want   int32
		demand float64
	}{
		"memory of the pods":      {gpuMemory(60), eachPod(w, 72e9), 6, 288e9},
		"a queue by replica":      {waiting(tenEach()), Amounts{Whole: new(65.0)}, 7, 65},
		"a latency of the whole":  {waiting(v1alpha1.MetricTarget{Type: v1alpha1.ValueTarget, Value: new(resource.MustParse("200m"))}), Amounts{Whole: new(0.3)}, 6, 1.2},
		"one that asks for fewer": {waiting(tenEach()), Amounts{Whole: new(5.0)}, 4, 5},
	} {
		e := NewEvaluator(w, read{c.metric.ID(): c.read}, w, nil)
		got := e.Evaluate(t.Context(), policy(with(true, c.metric)), w.target, noon)
		m := got.Metrics[1]
		if got.Decision.Replicas != c.want || m.Demand == nil || math.Abs(*m.Demand-c.demand) > 1e-9*c.demand || got.Data.State != True {
			t.Errorf("%s: %d replicas, want %d; %+v, data %+v: %s", name, got.Decision.Replicas, c.want, m, got.Data, got.Decision.Message)
		}
	}
}

func TestAMetricThatCannotBeReadHoldsAndIsTold(t *testing.T) {
	w := newWorld(4, 0.01)
	p := policy(with(true, waiting(tenEach())), func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) { *p.Spec.StabilizationWindowSeconds = 0 })
	e := NewEvaluator(w, read{}, w, nil)
	got := e.Evaluate(t.Context(), p, w.target, noon)
	if got.Decision.Replicas != 4 || got.Decision.Reason != scaling.PartialData {
		t.Errorf("%d %s", got.Decision.Replicas, got.Decision.Reason)
	}
	if got.Data.State != False || got.Data.Note.Reason != "MissingMetrics" || got.Data.Note.Message != "queue: nobody reports it" {
		t.Errorf("data %+v", got.Data)
	}
	e = NewEvaluator(w, read{"queue": {Whole: new(1.0)}}, w, nil)
	e.Evaluate(t.Context(), p, w.target, noon)
	if got := e.Evaluate(t.Context(), p, w.target, noon.Add(2*time.Second)); got.Decision.Replicas != 1 {
		t.Errorf("when it can be read again: %d %s", got.Decision.Replicas, got.Decision.Message)
	}
}

func TestBusyPodsHideDemandWhileNobodyTellsWhatWaits(t *testing.T) {
	p := policy(with(true, waiting(tenEach())), func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) {
		*p.Spec.Metrics[0].Resource.Target.AverageUtilization = 90
	})
	w := newWorld(4, 1) // within the tolerance of 90 %
	for want, told := range map[int32]read{6: {}, 5: {"queue": {Whole: new(50.0)}}} {
		got := NewEvaluator(w, told, w, nil).Evaluate(t.Context(), p, w.target, noon)
		if got.Decision.Replicas != want {
			t.Errorf("with %v: %d replicas, want %d: %s", told, got.Decision.Replicas, want, got.Decision.Message)
		}
	}
}

func TestOfAMetricThatOnePodDoesNotTellNothingIsRemoved(t *testing.T) {
	w := newWorld(4, 0.01)
	some := eachPod(w, 8e9)
	delete(some.Pods, "bert-3")
	e := NewEvaluator(w, read{"gpu-memory": some}, w, nil)
	got := e.Evaluate(t.Context(), policy(with(true, gpuMemory(80))), w.target, noon)
	if got.Decision.Replicas != 4 || got.Metrics[1].Demand != nil || got.Data.Note.Message != "gpu-memory: not known of all ready pods" {
		t.Errorf("%d, demand %v, data %+v", got.Decision.Replicas, got.Metrics[1].Demand, got.Data)
	}
}

func TestForecastReadyTellsOfTheForecastsThatCount(t *testing.T) {
	off := func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) { p.Spec.Metrics[0].Forecast = new(false) }
	w := newWorld(4, 0.2)
	w.demand = func(time.Time) float64 { return 0.8 }
	w.metric = func(string, time.Time) float64 { return math.NaN() }
	for name, c := range map[string]struct {
		policy *v1alpha1.AdvancedHorizontalPodAutoscaler
		ready  bool
		note   Note
	}{
		"of the only metric":           {policy(), true, Note{"ForecastReady", "seasonal from"}},
		"of one of them":               {policy(with(true, waiting(tenEach()))), true, Note{"ForecastReady", "; queue: history is too short"}},
		"of none, whatever GPUs do":    {policy(with(false, waiting(tenEach()))), false, Note{"InsufficientHistory", "history is too short"}},
		"of none, being switched off":  {policy(off), false, Note{"SwitchedOff", "it is switched off"}},
		"of none, off and not learned": {policy(with(true, waiting(tenEach())), off), false, Note{"SwitchedOff", "gpu: it is switched off in the policy; queue: history"}},
	} {
		e := NewEvaluator(w, read{"queue": {Whole: new(1.0)}}, w, nil)
		ready, note := e.Evaluate(t.Context(), c.policy, w.target, noon).ForecastReady()
		if ready != c.ready || note.Reason != c.note.Reason || !strings.Contains(note.Message, c.note.Message) {
			t.Errorf("%s: %v %+v, want %v %+v", name, ready, note, c.ready, c.note)
		}
	}
	lost := Evaluation{Metrics: []MetricEvaluation{{ID: "gpu", Forecast: Prediction{Acts: true}}, {ID: "queue", Forecast: Prediction{Lost: true, Note: Note{"HistoryUnavailable", "disk"}}}}}
	if ready, note := lost.ForecastReady(); ready || note.Reason != "HistoryUnavailable" {
		t.Errorf("with one that is lost: %v %+v", ready, note)
	}
}

func TestSentencesAboutManyLongQueriesAreNoLongerThanTheAPIServerTakes(t *testing.T) {
	b := newBench(t, newWorld(2, 0.60), policy(auto, with(true), func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) {
		for range 9 {
			m := waiting(tenEach())
			m.External.Query = strings.Repeat("é", 2048)
			p.Spec.Metrics = append(p.Spec.Metrics, m)
		}
		p.Spec.Default()
	}))
	p := b.sync("fib-gpu", 0)
	b.expectScaled("bert@1=6")
	if len(b.records) < 2 {
		t.Errorf("events %q, want one of scaling and one of missing data", b.records)
	}
	for _, event := range b.records {
		if _, note, _ := strings.Cut(event, ": "); len(note) > 1024 || !utf8.ValidString(note) {
			t.Errorf("a note of %d bytes: %s", len(note), note)
		}
	}
	for _, c := range p.Status.Conditions {
		if len(c.Message) > 32768 || !utf8.ValidString(c.Message) {
			t.Errorf("%s has a message of %d bytes", c.Type, len(c.Message))
		}
	}
}

func TestAMetricThatDecidesNothingIsWrittenNowAndThen(t *testing.T) {
	w := newWorld(4, 0.2)
	b := newBench(t, w, policy(with(true, waiting(tenEach()))))
	queue := read{"queue": {Whole: new(0.0)}}
	b.Evaluator = NewEvaluator(w, queue, w, nil)
	b.sync("fib-gpu", 0)
	b.patches = 0
	for i := range 30 { // a minute in which it asks for one replica, then two, then one
		*queue["queue"].Whole = float64(i%2*8 + 7)
		b.sync("fib-gpu", 2*time.Second)
	}
	if b.patches < 5 || b.patches > 6 {
		t.Errorf("%d writes in a minute, want one in ten seconds", b.patches)
	}
}

// The history takes no such demand: one would cost the minute of all that are written with it.
func TestWhatIsLessThanNothingIsNotKnown(t *testing.T) {
	w := newWorld(4, 0.01)
	some := eachPod(w, 8e9)
	some.Pods["bert-3"] = Amount{-1e12, 80e9}
	for name, c := range map[string]struct {
		metric v1alpha1.MetricSpec
		read   Amounts
		told   string
	}{
		"of the whole": {waiting(tenEach()), Amounts{Whole: new(-3.0)}, "queue: it is -3; it must be from 0 to 1e+18"},
		"of a pod":     {gpuMemory(80), some, "gpu-memory: not known of all ready pods"},
	} {
		e := NewEvaluator(w, read{c.metric.ID(): c.read}, w, nil)
		got := e.Evaluate(t.Context(), policy(with(true, c.metric)), w.target, noon)
		if m := got.Metrics[1]; m.Demand != nil || got.Decision.Replicas != 4 || got.Data.State != False || got.Data.Note.Message != c.told {
			t.Errorf("%s: %d replicas, %+v, data %+v", name, got.Decision.Replicas, m, got.Data)
		}
	}
}

func TestPodsThatHaveJustBecomeReadyAreNoTroubleYet(t *testing.T) {
	w := newWorld(4, 0.2)
	some := eachPod(w, 8e9)
	delete(some.Pods, "bert-3")
	w.target.Pods[3].ReadySince = noon
	for _, beside := range []bool{true, false} {
		p := policy(with(beside, gpuMemory(80)), func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) { *p.Spec.StabilizationWindowSeconds = 0 })
		e := NewEvaluator(w, read{"gpu-memory": some}, w, nil)
		for after, want := range map[time.Duration]State{2 * time.Second: True, metricGrace - time.Second: True, metricGrace: False} {
			got := e.Evaluate(t.Context(), p, w.target, noon.Add(after))
			if got.Data.State != want || got.Decision.Replicas != 4 {
				t.Errorf("%v later: data %+v, %d replicas", after, got.Data, got.Decision.Replicas)
			}
		}
	}
}

func TestWherePodsAreNotReadyNothingIsMissing(t *testing.T) {
	w := newWorld(2, 0)
	clear(w.loads)
	for i := range w.target.Pods {
		w.target.Pods[i].GPUs, w.target.Pods[i].State, w.target.Pods[i].ReadySince = 0, scaling.Unready, time.Time{}
	}
	cpu := gpuMemory(60)
	cpu.Resource.Name = v1alpha1.ResourceCPU
	for name, c := range map[string]struct {
		metric v1alpha1.MetricSpec
		told   read
		want   string
	}{
		"of the pods":  {cpu, read{"cpu": {}}, "Unknown NoReadyPods"},
		"of the whole": {waiting(tenEach()), read{"queue": {Whole: new(15.0)}}, "True FreshMetrics"},
		"unread":       {waiting(tenEach()), read{}, "False MissingMetrics"},
	} {
		got := NewEvaluator(w, c.told, w, nil).Evaluate(t.Context(), policy(with(false, c.metric)), w.target, noon).Data
		if string(got.State)+" "+got.Note.Reason != c.want {
			t.Errorf("%s: %+v, want %s", name, got, c.want)
		}
	}
}

func TestAPolicyWithoutGPUMetricsNeedsNoGPUs(t *testing.T) {
	w := newWorld(2, 0)
	clear(w.loads)
	for i := range w.target.Pods {
		w.target.Pods[i].GPUs = 0
	}
	e := NewEvaluator(w, read{"queue": {Whole: new(45.0)}}, w, nil)
	got := e.Evaluate(t.Context(), policy(with(false, waiting(tenEach()))), w.target, noon)
	if got.Decision.Replicas != 5 || got.Data.State != True || got.TargetPercent != 0 {
		t.Errorf("%d replicas, data %+v, target %d%%: %s", got.Decision.Replicas, got.Data, got.TargetPercent, got.Decision.Message)
	}
}

func TestWhatDoesNotCountIsNotWaitedFor(t *testing.T) {
	w := newWorld(2, 0.2)
	e := NewEvaluator(w, read{"queue": {Whole: new(55.0)}}, w, nil)
	p := policy(with(false, waiting(tenEach())))
	e.Evaluate(t.Context(), p, w.target, noon)
	w.target.Pods[1].State = scaling.Unready // the other GPU's load tells of before
	if got := e.Evaluate(t.Context(), p, w.target, noon.Add(2*time.Second)).Decision; got.Reason != scaling.ReactiveDemand || got.Replicas != 6 {
		t.Errorf("%d %s: %s", got.Replicas, got.Reason, got.Message)
	}
}

func TestEachMetricIsForecastFromItsOwnDemand(t *testing.T) {
	w := newWorld(4, 0.2)
	w.demand = func(at time.Time) float64 { return 0.8 }
	tide := workday(days(14))
	w.metric = func(metric string, at time.Time) float64 {
		if metric == "queue" {
			return 10 * tide(at)
		}
		return math.NaN()
	}
	e := NewEvaluator(w, read{"queue": {Whole: new(10 * tide(noon))}}, w, nil)
	p := policy(with(true, waiting(tenEach())))
	got := e.Evaluate(t.Context(), p, w.target, noon)
	gpus, queued := got.Metrics[0].Forecast, got.Metrics[1].Forecast
	if !gpus.Acts || !queued.Acts || math.Abs(gpus.PeakGPUs-0.8) > 0.2 || queued.PeakGPUs < 5*tide(noon) {
		t.Errorf("peaks of %g GPUs and %g waiting: %+v, %+v", gpus.PeakGPUs, queued.PeakGPUs, gpus.Note, queued.Note)
	}
	p.Spec.Metrics[1].Forecast = new(false)
	got = e.Evaluate(t.Context(), p, w.target, noon)
	if m := got.Metrics[1]; m.Forecast.Acts || m.Forecast.Lost || got.Decision.Metrics[1].Proactive != nil || !strings.Contains(got.Decision.Message, "no forecast of queue: it is switched off in the policy") {
		t.Errorf("switched off: %+v, %s", m.Forecast, got.Decision.Message)
	}
}

// A queue that was aimed at as a whole was recorded times the pods: as what waits, it would ask for many times as much.
func TestAnotherKindOfTargetHasAHistoryOfItsOwn(t *testing.T) {
	w := newWorld(4, 0.2)
	w.metric = func(metric string, _ time.Time) float64 {
		if metric == "queue times pods" {
			return 40
		}
		return math.NaN()
	}
	for _, c := range []struct {
		target v1alpha1.MetricTarget
		acts   bool
	}{{v1alpha1.MetricTarget{Type: v1alpha1.ValueTarget, Value: new(resource.MustParse("10"))}, true}, {tenEach(), false}} {
		e := NewEvaluator(w, read{"queue": {Whole: new(10.0)}}, w, nil)
		if got := e.Evaluate(t.Context(), policy(with(false, waiting(c.target))), w.target, noon).Metrics[0].Forecast; got.Acts != c.acts {
			t.Errorf("with a target of type %s it acts is %v: %+v", c.target.Type, got.Acts, got.Note)
		}
	}
}

func TestAMetricThatIsCalledLikeAResourceIsNone(t *testing.T) {
	w := newWorld(4, 0.2)
	w.demand = func(time.Time) float64 { return 0.8 }
	w.metric = func(string, time.Time) float64 { return math.NaN() }
	called := waiting(tenEach())
	called.External.Query = GPU
	got := NewEvaluator(w, read{GPU: {Whole: new(10.0)}}, w, nil).Evaluate(t.Context(), policy(with(false, called)), w.target, noon).Metrics[0]
	if got.Forecast.Acts || got.History == GPU || got.Demand == nil {
		t.Errorf("%+v", got)
	}
}

func TestAMetricWithoutHistoryLeavesTheForecastOfTheOthersInForce(t *testing.T) {
	w := newWorld(4, 0.01)
	w.demand = func(time.Time) float64 { return 1 }
	w.metric = func(string, time.Time) float64 { return math.NaN() }
	e := NewEvaluator(w, read{"queue": {Whole: new(1.0)}}, w, nil)
	got := e.Evaluate(t.Context(), policy(with(true, waiting(tenEach()))), w.target, noon)
	if got.Decision.Proactive == nil || *got.Decision.Proactive < 5 || got.Metrics[1].Forecast.Lost {
		t.Errorf("proactive %v, %+v", got.Decision.Proactive, got.Metrics[1].Forecast.Note)
	}
}
