package app

import (
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

func bertHPA(metrics ...autoscalingv2.MetricSpec) *autoscalingv2.HorizontalPodAutoscaler {
	return &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "bert"},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "bert"},
			MinReplicas:    new(int32(2)), MaxReplicas: 9, Metrics: metrics,
			Behavior: &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleDown: &autoscalingv2.HPAScalingRules{
				StabilizationWindowSeconds: new(int32(120)), Policies: []autoscalingv2.HPAScalingPolicy{{Type: "Pods", Value: 1, PeriodSeconds: 60}},
			}},
		},
	}
}

func perPod(name, value string) autoscalingv2.MetricSpec {
	q := resource.MustParse(value)
	return autoscalingv2.MetricSpec{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{
		Metric: autoscalingv2.MetricIdentifier{Name: name}, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: &q},
	}}
}

var cpu = autoscalingv2.MetricSpec{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
	Name: corev1.ResourceCPU, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: new(int32(70))},
}}

func TestAHorizontalPodAutoscalerIsWrittenAsAPolicy(t *testing.T) {
	got, err := adopted(bertHPA(cpu, perPod("DCGM_FI_DEV_GPU_UTIL", "40")))
	if err != nil {
		t.Fatal(err)
	}
	want := `# What HorizontalPodAutoscaler default/bert does, as a policy that observes. Look at it for a while, then set scaleStrategy: auto.
# Once it acts it takes the HorizontalPodAutoscaler over, as the annotation says (deploy/components/takeover); take the annotation off to hand it back.
apiVersion: autoscaling.foretide.dev/v1alpha1
kind: AdvancedHorizontalPodAutoscaler
metadata:
  annotations:
    autoscaling.foretide.dev/takeover-hpa: bert
  name: bert
  namespace: default
spec:
  behavior:
    scaleDown:
      policies:
      - periodSeconds: 60
        type: Pods
        value: 1
      stabilizationWindowSeconds: 120
  maxReplicas: 9
  metrics:
  - resource:
      name: gpu
      target:
        averageUtilization: 40
        type: Utilization
    type: Resource
  - resource:
      name: cpu
      target:
        averageUtilization: 70
        type: Utilization
    type: Resource
  minReplicas: 2
  scaleStrategy: observer
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: bert
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestEveryAdoptedPolicyIsAValidOne(t *testing.T) {
	taken := bertHPA(cpu)
	taken.Annotations = map[string]string{v1alpha1.OriginalSpecAnnotation: mustJSON(t, bertHPA(cpu).Spec)}
	taken.Spec.MaxReplicas, taken.Spec.MinReplicas = 1<<31-1, new(int32(1))
	owned := bertHPA(cpu)
	owned.OwnerReferences = []metav1.OwnerReference{{Kind: "ScaledObject", Name: "bert", Controller: new(true)}}
	bare := bertHPA()
	bare.Spec.MinReplicas, bare.Spec.Behavior = nil, nil
	idle := bertHPA()
	idle.Spec.MinReplicas = new(int32(0))
	for name, c := range map[string]struct {
		hpa      *autoscalingv2.HorizontalPodAutoscaler
		target   int32
		min, max int32
		says     string
	}{
		"a ratio":                {bertHPA(perPod("DCGM_FI_PROF_GR_ENGINE_ACTIVE", "350m")), 35, 2, 9, ""},
		"more than there is":     {bertHPA(perPod("DCGM_FI_DEV_GPU_UTIL", "400")), 100, 2, 9, ""},
		"nearly nothing":         {bertHPA(perPod("DCGM_FI_DEV_GPU_UTIL", "100m")), 1, 2, 9, ""},
		"no GPU metric":          {bertHPA(perPod("vllm:num_requests_waiting", "3")), 60, 2, 9, "Pods metric vllm:num_requests_waiting at 3 a pod"},
		"no bounds, no behavior": {bare, 60, 1, 9, "is a guess"},
		"down to zero":           {idle, 60, 1, 9, "minReplicas was 0"},
		"taken over already":     {taken, 60, 2, 9, "name: cpu"},
		"of KEDA":                {owned, 60, 2, 9, "autoscaling.keda.sh/paused=true"},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := adopted(c.hpa)
			if err != nil {
				t.Fatal(err)
			}
			var p v1alpha1.AdvancedHorizontalPodAutoscaler
			if err := yaml.UnmarshalStrict([]byte(text), &p); err != nil {
				t.Fatal(err)
			}
			p.Spec.Default()
			if err := p.Spec.Validate(); err != nil {
				t.Error(err)
			}
			if got := p.Spec.Metrics[0].Resource.Target.AverageUtilization; *got != c.target || *p.Spec.MinReplicas != c.min || p.Spec.MaxReplicas != c.max {
				t.Errorf("target %d, bounds %d to %d, want %d, %d to %d", *got, *p.Spec.MinReplicas, p.Spec.MaxReplicas, c.target, c.min, c.max)
			}
			if _, takes := p.Annotations[v1alpha1.TakeoverAnnotation]; takes == (name == "of KEDA") {
				t.Errorf("annotations %v", p.Annotations)
			}
			if !strings.Contains(text, c.says) {
				t.Errorf("%q is not in:\n%s", c.says, text)
			}
		})
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAdoptSaysWhatItNeeds(t *testing.T) {
	for _, name := range []string{"", "bert", "/bert", "default/"} {
		if err := Adopt(t.Context(), []string{"--hpa=" + name}, io.Discard); err == nil || !strings.Contains(err.Error(), "it must be namespace/name") {
			t.Errorf("%q: %v", name, err)
		}
	}
}
