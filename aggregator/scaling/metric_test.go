package scaling

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// saying returns one ready pod for each value that it has of a metric; -1 = unknown.
func saying(values ...float64) []Pod {
	var pods []Pod
	for _, v := range values {
		pods = append(pods, Pod{State: Ready, Uses: v, Known: v >= 0})
	}
	return pods
}

func unready(pods []Pod, which ...int) []Pod {
	for _, i := range which {
		pods[i].State = Unready
	}
	return pods
}

// The cases that the Horizontal Pod Autoscaler's own tests publish for its arithmetic (kubernetes
// pkg/controller/podautoscaler/replica_calculator_test.go): the numbers are theirs, in thousandths. Where replicas differ from
// theirs, ours are on the safe side: theirs is said.
func TestMetricsFollowTheHorizontalPodAutoscalersPublishedCases(t *testing.T) {
	cpu := func(target int32, values ...float64) Metric {
		m := Metric{Name: "cpu", Target: Target{Percent: target}, PerReplica: 1000, Pods: saying(values...)}
		return m
	}
	qps := func(target float64, values ...float64) Metric {
		return Metric{Name: "qps", Target: Target{Average: target}, Pods: saying(values...)}
	}
	whole := func(target Target, value float64, ready, pending int) Metric {
		m := Metric{Name: "qps", Target: target, Whole: &Whole{Value: value, OK: true}}
		for i := range ready + pending {
			state := Ready
			if i >= ready {
				state = Unready
			}
			m.Pods = append(m.Pods, Pod{State: state})
		}
		return m
	}
	without := func(m Metric, which ...int) Metric {
		m.Pods = unready(m.Pods, which...)
		return m
	}
	with := func(m Metric, more ...Pod) Metric {
		m.Pods = append(m.Pods, more...)
		return m
	}
	for name, c := range map[string]struct {
		current int32
		metric  Metric
		want    int32
	}{
		"ScaleUp":                           {3, cpu(30, 300, 500, 700), 5},
		"ScaleUpUnreadyLessScale":           {3, without(cpu(30, 300, 500, 700), 0), 4},
		"ScaleUpUnreadyNoScale":             {3, without(cpu(30, 400, 500, 700), 1, 2), 3},
		"ScaleUpIgnoresFailedPods":          {2, with(cpu(30, 500, 700), many(Gone, 2)...), 4},
		"ScaleUpCM":                         {3, qps(15000, 20000, 10000, 30000), 4},
		"ScaleUpCMUnreadyHotCpuNoLessScale": {3, without(qps(15000, 50000, 10000, 30000), 2), 4},    // theirs: 6, unready pods count
		"ScaleUpCMUnreadyWouldScaleDown":    {3, without(qps(15000, 50000, 15000, 30000), 0, 2), 3}, // theirs: 7
		"ScaleUpCMObject":                   {3, whole(Target{Value: 15000}, 20000, 3, 0), 4},
		"ScaleUpCMPerPodObject":             {3, whole(Target{Average: 5000}, 20000, 3, 0), 4},
		"ScaleUpCMObjectIgnoresUnreadyPods": {3, whole(Target{Value: 10000}, 50000, 1, 2), 5},
		"ScaleUpCMExternal":                 {1, whole(Target{Value: 4400}, 8600, 1, 0), 2},
		"ScaleUpCMExternalIgnoresUnready":   {3, whole(Target{Value: 4400}, 8600, 1, 2), 3}, // theirs: 2, against the ratio
		"ScaleUpPerPodCMExternal":           {3, whole(Target{Average: 2150}, 8600, 3, 0), 4},
		"ScaleDown":                         {5, cpu(50, 100, 300, 500, 250, 250), 3},
		"ScaleDownCM":                       {5, qps(20000, 12000, 12000, 12000, 12000, 12000), 3},
		"ScaleDownPerPodCMObject":           {5, whole(Target{Average: 2000}, 6000, 5, 0), 3},
		"ScaleDownCMObject":                 {5, whole(Target{Value: 20000}, 12000, 5, 0), 3},
		"ScaleDownCMExternal":               {5, whole(Target{Value: 14334}, 8600, 5, 0), 3},
		"ScaleDownPerPodCMExternal":         {5, whole(Target{Average: 2867}, 8600, 5, 0), 3},
		"ScaleDownIncludeUnreadyPods":       {5, without(cpu(50, 100, 300, 500, 250, 250), 3, 4), 2},
		"ScaleDownExcludeUnscheduledPods":   {5, with(cpu(50, 100), many(Unready, 4)...), 1},
		"ScaleDownIgnoresFailedPods":        {5, with(cpu(50, 100, 300, 500, 250, 250), many(Gone, 2)...), 3},
		"Tolerance":                         {3, cpu(100, 1010, 1030, 1020), 3},
		"ToleranceCM":                       {3, qps(20000, 20000, 21000, 21000), 3},
		"ToleranceCMObject":                 {3, whole(Target{Value: 20000}, 20666, 3, 0), 3},
		"TolerancePerPodCMObject":           {4, whole(Target{Average: 5000}, 20166, 4, 0), 4},
		"ToleranceCMExternal":               {3, whole(Target{Value: 8888}, 8600, 3, 0), 3},
		"TolerancePerPodCMExternal":         {3, whole(Target{Average: 2900}, 8600, 3, 0), 3},
		"MissingMetrics":                    {4, cpu(100, 400, 95, -1, -1), 3},
		"MissingMetricsNoChangeEq":          {2, cpu(100, 1000, -1), 2},
		"MissingMetricsNoChangeGt":          {2, cpu(100, 1900, -1), 2},
		"MissingMetricsNoChangeLt":          {2, cpu(100, 600, -1), 2},
		"MissingMetricsUnreadyChange":       {3, without(cpu(50, 100, 450, -1), 0), 3},
		"MissingMetricsUnreadyScaleUp":      {3, without(cpu(50, 100, 2000, -1), 0), 4},
		"MissingMetricsUnreadyScaleDown":    {4, without(cpu(50, 100, 100, 100, -1), 0), 3},
		"DuringRollingUpdateWithMaxSurge":   {2, cpu(50, 100, 100, -1), 2},
	} {
		p := Policy{MinReplicas: 1, MaxReplicas: 100, Up: Rules{Tolerance: 0.1}, Down: Rules{Tolerance: 0.1}}
		d := Decide(p, Inputs{Current: c.current, Metrics: []Metric{c.metric}}, &Window{}, start)
		if value(d.Reactive) != c.want {
			t.Errorf("%s: %d replicas, want %d: %s", name, value(d.Reactive), c.want, d.Message)
		}
	}
}

func TestTheLargestRecommendationOfSeveralMetricsCounts(t *testing.T) {
	gpus := gpu{Pods: ready(30, 30, 30, 30), GPUsPerPod: 1, Forecast: Demand{Peak: 1, OK: true}}
	queue := Metric{Name: "queue", Target: Target{Average: 10}, Pods: saying(20, 20, 15, 15), Forecast: Demand{Peak: 90, OK: true}}
	unknown := Metric{Name: "load", Target: Target{Average: 1}, Whole: &Whole{Why: "the query is answered by no series"}}
	for name, c := range map[string]struct {
		metrics  []Metric
		replicas int32
		reason   Reason
		held     bool
	}{
		"one asks for less":                       {[]Metric{gpus.metric(60)}, 2, ReactiveDemand, false},
		"another asks for more, its forecast too": {[]Metric{gpus.metric(60), queue}, 8, ForecastDemand, false}, // 9, but four at a time
		"what is unknown lowers nothing":          {[]Metric{gpus.metric(60), unknown}, 4, PartialData, true},
		"what is unknown hides no growth":         {[]Metric{unknown, queue}, 8, ForecastDemand, false},
		"nothing is known":                        {[]Metric{unknown}, 4, NoTelemetry, false},
	} {
		p := Policy{MinReplicas: 1, MaxReplicas: 100, Up: DefaultUp(), Down: Rules{Tolerance: DefaultTolerance}}
		d := Decide(p, Inputs{Current: 4, Metrics: c.metrics}, &Window{}, start)
		if d.Replicas != c.replicas || d.Reason != c.reason || d.Held != c.held || len(d.Metrics) != len(c.metrics) {
			t.Errorf("%s: %d %s, held %v, want %d %s, %v: %s", name, d.Replicas, d.Reason, d.Held, c.replicas, c.reason, c.held, d.Message)
		}
	}
}

func TestTheMessageNamesEachMetric(t *testing.T) {
	gpus := gpu{Pods: ready(30, 30), GPUsPerPod: 1, Forecast: Demand{Peak: 1, OK: true}}.metric(60)
	memory := Metric{Name: "gpu-memory", Target: Target{Percent: 80}, Pods: []Pod{{State: Ready, Holds: 80e9, Uses: 72e9, Known: true}, {State: Ready, Holds: 80e9, Uses: 56e9, Known: true}},
		PerReplica: 80e9, Forecast: Demand{Peak: 100e9, OK: true}}
	queue := Metric{Name: "queue", Target: Target{Average: 10}, Whole: &Whole{Value: 45, OK: true}, Forecast: Demand{Why: "it is switched off in the policy"}}
	p := Policy{MinReplicas: 1, MaxReplicas: 100, Up: DefaultUp(), Down: DefaultDown()}
	got := Decide(p, Inputs{Current: 2, Metrics: []Metric{gpus, memory, queue}}, &Window{}, start).Message
	want := "utilization is 30% of 2 ready pods (target 60%): 1; gpu-memory is 80% of 2 ready pods (target 80%): 2; queue is 45 for 2 replicas (target 10 each): 5; " +
		"the forecast peaks at 1.00 GPUs: 2; the forecast of gpu-memory peaks at 1e+11: 2; no forecast of queue: it is switched off in the policy; 5 replicas"
	if got != want {
		t.Errorf("message is\n%s, want\n%s", got, want)
	}
}

func TestAQueueTellsHowMuchMoreThereIsThanBusyPodsShow(t *testing.T) {
	busy := gpu{Pods: ready(99, 99, 99, 99, 99, 99, 99, 99, 99, 99), GPUsPerPod: 1}.metric(90)
	p := Policy{MinReplicas: 1, MaxReplicas: 100, Up: DefaultUp(), Down: DefaultDown()}
	if d := Decide(p, Inputs{Current: 10, Metrics: []Metric{busy}}, &Window{}, start); d.Replicas != 15 || !d.Saturated {
		t.Errorf("alone: %d replicas, saturated %v", d.Replicas, d.Saturated)
	}
	busy.Hides = false
	queue := Metric{Name: "queue", Target: Target{Average: 5}, Whole: &Whole{Value: 60, OK: true}}
	if d := Decide(p, Inputs{Current: 10, Metrics: []Metric{busy, queue}}, &Window{}, start); d.Replicas != 12 || d.Saturated {
		t.Errorf("beside a queue: %d replicas, saturated %v", d.Replicas, d.Saturated)
	}
}

func TestNothingIsRemovedThatTheForecastAsksForSoonAfter(t *testing.T) {
	p := Policy{MinReplicas: 1, MaxReplicas: 100, Up: DefaultUp(), Down: Rules{Tolerance: DefaultTolerance}}
	m := gpu{Pods: ready(10, 10, 10, 10, 10, 10), GPUsPerPod: 1, Forecast: Demand{Peak: 0.5, Later: 2, OK: true}}.metric(50)
	d := Decide(p, Inputs{Current: 6, Metrics: []Metric{m}}, &Window{}, start)
	if d.Replicas != 4 || d.Reason != ForecastKept || !strings.HasSuffix(d.Message, "4 replicas, which the forecast asks for soon after") {
		t.Errorf("%d %s: %s", d.Replicas, d.Reason, d.Message)
	}
	m.Forecast.Later = 9 // it removes none, and it adds none either
	if d := Decide(p, Inputs{Current: 6, Metrics: []Metric{m}}, &Window{}, start); d.Replicas != 6 {
		t.Errorf("a later peak sets %d", d.Replicas)
	}
	p.Only = ReactiveHalf
	if d := Decide(p, Inputs{Current: 6, Metrics: []Metric{m}}, &Window{}, start); d.Replicas != 2 {
		t.Errorf("the reactive half alone sets %d", d.Replicas)
	}
}

func TestAnyMetricsGiveADecisionWithinBoundsAndNeverLowerOnWhatIsUnknown(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 20_000 {
		p := Policy{MinReplicas: 1 + r.Int32N(5), Up: rules(r), Down: rules(r), Only: []Half{Both, Both, ReactiveHalf, ProactiveHalf}[r.IntN(4)]}
		p.MaxReplicas = p.MinReplicas + r.Int32N(20)
		in := Inputs{Current: 1 + r.Int32N(30), Settling: r.IntN(8) == 0}
		unknown := false
		for range 1 + r.IntN(3) {
			m := Metric{Name: "m", PerReplica: odd(r, 4), Forecast: Demand{Peak: odd(r, 20), Later: odd(r, 20), OK: r.IntN(2) == 0, Lost: r.IntN(8) == 0}}
			switch r.IntN(3) {
			case 0:
				m.Target.Percent = 1 + r.Int32N(120)
			case 1:
				m.Target.Average = 0.1 + r.Float64()
			default:
				m.Target.Value = 0.1 + r.Float64()
			}
			if m.Target.Value > 0 || m.Target.Average > 0 && r.IntN(2) == 0 {
				m.Whole = &Whole{Value: odd(r, 20), OK: r.IntN(4) > 0}
			}
			for range r.IntN(8) {
				pod := Pod{State: PodState(r.IntN(3)), Holds: odd(r, 4), Uses: odd(r, 4), Known: r.IntN(4) > 0}
				unknown = unknown || m.Whole == nil && pod.State == Ready && !(pod.Known && IsAmount(pod.Uses))
				m.Pods = append(m.Pods, pod)
			}
			unknown = unknown || m.Whole != nil && !(m.Whole.OK && IsAmount(m.Whole.Value)) || m.Forecast.Lost && p.Only != ReactiveHalf
			in.Metrics = append(in.Metrics, m)
		}
		w, now := &Window{}, start
		for range 3 {
			d := Decide(p, in, w, now)
			if d.Replicas < p.MinReplicas || d.Replicas > p.MaxReplicas {
				t.Fatalf("%d replicas outside [%d, %d]: %+v %+v", d.Replicas, p.MinReplicas, p.MaxReplicas, in, d)
			}
			if (unknown || in.Settling && p.Only != ProactiveHalf) && d.Replicas < in.Current && in.Current <= p.MaxReplicas {
				t.Fatalf("what is unknown lowered %d to %d: %+v %+v", in.Current, d.Replicas, in, d)
			}
			if d.Message == "" || d.Reason == "" || d.Reason == InvalidPolicy {
				t.Fatalf("a decision without words: %+v", d)
			}
			now = now.Add(time.Hour)
		}
	}
}
