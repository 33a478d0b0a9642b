package app

import (
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/foretide/foretide/aggregator/controller"
	"github.com/foretide/foretide/aggregator/scaling"
	"github.com/foretide/foretide/aggregator/storage"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
	"github.com/foretide/foretide/pkg/telemetry"
)

// measured is a history in which two pods of one workload, and one of another, were reported until a moment.
func measured(t *testing.T, now time.Time) controller.Metrics {
	t.Helper()
	b := openBooks(t, t.TempDir(), now)
	if err := b.store.WaitRaw(t.Context()); err != nil {
		t.Fatal(err)
	}
	var framer telemetry.Framer
	usage := func(pod, container, uuid string, used, sm float64) telemetry.Usage {
		return telemetry.Usage{Owner: telemetry.Owner{Namespace: "chat", Pod: pod, Container: container}, DeviceUUID: uuid, Attribution: telemetry.AttributionExclusive,
			Values: telemetry.Values{telemetry.UtilizationMean: 0.5, telemetry.MemoryUsed: used, telemetry.MemoryTotal: 80e9, telemetry.SMActive: sm}}
	}
	frame := framer.Frame(telemetry.Batch{
		Node: "a", Session: "s", Sequence: 1, Start: now.Add(-time.Second), End: now, OwnersKnown: true,
		Usages: []telemetry.Usage{
			usage("web-1", "main", "GPU-1", 30e9, 0.5), usage("web-1", "main", "GPU-2", 20e9, 0.3),
			usage("web-2", "main", "GPU-3", 60e9, 0.9), usage("web-2", "side", "GPU-3", 4e9, 0.05), // two containers share a device
			usage("other-1", "main", "GPU-4", 70e9, 1),
		},
		Workload: []telemetry.WorkloadValue{
			{Namespace: "chat", Pod: "web-1", Name: "vllm:num_requests_waiting", Value: 7},
			{Namespace: "chat", Pod: "web-2", Name: "vllm:num_requests_waiting", Value: 5},
			{Namespace: "shop", Pod: "web-2", Name: "vllm:num_requests_waiting", Value: 99},
		},
	})
	if err := b.store.AppendFrames(t.Context(), []telemetry.Frame{frame})[0]; err != nil {
		t.Fatal(err)
	}
	a := &aggregator{store: b.store, log: slog.New(slog.DiscardHandler)}
	m, err := a.otherMetrics(nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func web2(gpus ...float64) controller.Target {
	target := controller.Target{Workload: controller.Workload{Namespace: "chat", Kind: "Deployment", Name: "web"}}
	for i, n := range gpus {
		target.Pods = append(target.Pods, controller.Pod{Name: []string{"web-1", "web-2", "web-3"}[i], Node: "a", State: scaling.Ready, GPUs: n})
	}
	return target
}

func resourceMetric(name v1alpha1.ResourceName) v1alpha1.MetricSpec {
	return v1alpha1.MetricSpec{Type: v1alpha1.MetricSourceResource, Resource: &v1alpha1.ResourceMetric{Name: name}}
}

func numberOf(m v1alpha1.ExternalMetric) v1alpha1.MetricSpec {
	return v1alpha1.MetricSpec{Type: v1alpha1.MetricSourceExternal, External: &m}
}

func TestMetricsAreReadOfThePodsOfTheWorkload(t *testing.T) {
	now := noon()
	m := measured(t, now)
	waiting := v1alpha1.MetricSpec{Type: v1alpha1.MetricSourcePods, Pods: &v1alpha1.PodsMetric{Metric: v1alpha1.MetricIdentifier{Name: "vllm:num_requests_waiting"}}}
	for name, c := range map[string]struct {
		spec v1alpha1.MetricSpec
		want map[string]controller.Amount
	}{
		"memory":        {resourceMetric(v1alpha1.ResourceGPUMemory), map[string]controller.Amount{"web-1": {Uses: 50e9, Holds: 160e9}, "web-2": {Uses: 64e9, Holds: 80e9}}},
		"sm active":     {resourceMetric(v1alpha1.ResourceGPUSMActive), map[string]controller.Amount{"web-1": {Uses: 0.8, Holds: 2}, "web-2": {Uses: 0.95, Holds: 1}}},
		"what they say": {waiting, map[string]controller.Amount{"web-1": {Uses: 7}, "web-2": {Uses: 5}}},
	} {
		got, err := m.Metric(t.Context(), web2(2, 1), c.spec, now)
		if err != nil || len(got.Pods) != len(c.want) {
			t.Fatalf("%s: %+v, %v", name, got, err)
		}
		for pod, want := range c.want {
			if a := got.Pods[pod]; math.Abs(a.Uses-want.Uses) > 1e-9*want.Uses || a.Holds != want.Holds {
				t.Errorf("%s of %s is %+v, want %+v", name, pod, a, want)
			}
		}
	}
	if got, err := m.Metric(t.Context(), web2(2, 2, 1), resourceMetric(v1alpha1.ResourceGPUMemory), now); err != nil || len(got.Pods) != 1 {
		t.Errorf("of a pod of whose devices one is not read, and of one nobody reports: %+v, %v", got, err)
	}
	moved := web2(2, 1)
	moved.Pods[1].Node = "b" // a StatefulSet's pod of that name was there before
	if got, err := m.Metric(t.Context(), moved, waiting, now); err != nil || len(got.Pods) != 1 {
		t.Errorf("of a pod that has moved: %+v, %v", got, err)
	}
	if got, err := m.Metric(t.Context(), web2(2, 1), waiting, now.Add(2*time.Minute)); err == nil {
		t.Errorf("two minutes later %+v is still told", got)
	}
}

func TestExternalMetricsAreOneNumber(t *testing.T) {
	now := noon()
	m := measured(t, now)
	named := func(s *metav1.LabelSelector) v1alpha1.MetricSpec {
		return numberOf(v1alpha1.ExternalMetric{Metric: &v1alpha1.MetricIdentifier{Name: "vllm:num_requests_waiting", Selector: s}})
	}
	query := func(q string) v1alpha1.MetricSpec { return numberOf(v1alpha1.ExternalMetric{Query: q}) }
	for name, c := range map[string]struct {
		spec v1alpha1.MetricSpec
		want float64
		err  string
	}{
		"added up in the namespace": {named(nil), 12, ""},
		"those with a label":        {named(&metav1.LabelSelector{MatchLabels: map[string]string{"pod": "web-1"}}), 7, ""},
		"those of some":             {named(&metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "pod", Operator: "NotIn", Values: []string{"web-1"}}}}), 5, ""},
		"a query":                   {query(`max(vllm:num_requests_waiting)`), 99, ""},
		"a number":                  {query(`1 + 2`), 3, ""},
		"many series":               {query(`vllm:num_requests_waiting`), 0, "answered by 3 series; it must be one"},
		"none":                      {query(`nothing_like_it`), 0, "answered by no series"},
		"not a number":              {query(`0/0`), 0, "answered by no series"},
		"no PromQL":                 {query(`sum(`), 0, "parse error"},
		"a range":                   {query(`vllm:num_requests_waiting[1m]`), 0, "must be a number or an instant vector"},
		"no label of a series":      {named(&metav1.LabelSelector{MatchLabels: map[string]string{"app.kubernetes.io/name": "x"}}), 0, "cannot be one of a series"},
	} {
		got, err := m.Metric(t.Context(), web2(2, 1), c.spec, now)
		switch {
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%s: %+v, %v; want an error with %q", name, got, err, c.err)
		case c.err == "" && (err != nil || got.Whole == nil || *got.Whole != c.want):
			t.Errorf("%s: %+v, %v; want %g", name, got, err, c.want)
		}
	}
}

func TestCPUAndMemoryNeedACluster(t *testing.T) {
	m := measured(t, noon())
	if got, err := m.Metric(t.Context(), web2(1), resourceMetric(v1alpha1.ResourceCPU), noon()); err == nil || !strings.Contains(err.Error(), "metrics API") {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestTheDemandByAMetricIsRecordedByTheMinute(t *testing.T) {
	b := openBooks(t, t.TempDir(), noon())
	m := newMinutes(b.store, slog.New(slog.DiscardHandler))
	at := func(second int, demand *float64) {
		m.observe(controller.Evaluation{At: noon().Add(time.Duration(second) * time.Second), Workload: web,
			Metrics: []controller.MetricEvaluation{{History: controller.GPU}, {History: "queue", Demand: demand, Spec: numberOf(v1alpha1.ExternalMetric{
				Query: "queue", Target: v1alpha1.MetricTarget{Type: v1alpha1.AverageValueTarget, AverageValue: new(resource.MustParse("1"))}})}}})
	}
	at(2, new(3.0))
	at(30, new(5.0))
	at(50, nil)
	at(62, new(9.0)) // the second minute is mostly unknown
	at(70, nil)
	at(80, nil)
	at(121, new(7.0))
	b.now = noon().Add(3 * time.Minute)
	m.write(t.Context(), noon().Add(2*time.Minute+5*time.Second))
	read := func() []float64 {
		got, err := history{store: b.store}.Demand(t.Context(), web, "queue", noon(), noon().Add(3*time.Minute), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := read(); got[0] != 4 || !math.IsNaN(got[1]) || !math.IsNaN(got[2]) {
		t.Errorf("minutes %v", got)
	}
	m.write(t.Context(), noon().Add(3*time.Minute))
	if got := read(); got[2] != 7 {
		t.Errorf("then %v", got)
	}
	if gpus, err := (history{store: b.store}).Demand(t.Context(), web, controller.GPU, noon(), noon().Add(time.Minute), time.Minute); err != nil || !math.IsNaN(gpus[0]) {
		t.Errorf("demand for GPUs %v, %v", gpus, err)
	}
	if _, err := b.store.AppendMetricHistory(t.Context(), storage.MetricName{Workload: storage.Workload(web)}, nil); err == nil {
		t.Error("a metric without a name is taken")
	}
}
