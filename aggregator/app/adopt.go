package app

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// Adopt is `aggregator adopt`: it prints the policy that does what a HorizontalPodAutoscaler does, for its user to start from.
func Adopt(ctx context.Context, args []string, out io.Writer) error {
	f := flag.NewFlagSet("aggregator adopt", flag.ContinueOnError)
	name := f.String("hpa", "", "the `namespace/name` of the HorizontalPodAutoscaler")
	kubeconfig := f.String("kubernetes.kubeconfig", "", "`file` with access to the API server; empty: that of kubectl, or the pod's own")
	if err := Parse(f, "Prints a policy with a HorizontalPodAutoscaler's settings, which only observes.", args, out); err != nil {
		return err
	}
	namespace, hpa, ok := strings.Cut(strings.TrimPrefix(*name, "hpa/"), "/")
	if !ok || namespace == "" || hpa == "" {
		return fmt.Errorf("--hpa is %q: it must be namespace/name", *name)
	}
	config, err := userConfig(userAccess(*kubeconfig, ""))
	if err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	if err := autoscalingv2.AddToScheme(scheme); err != nil {
		return err
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return fmt.Errorf("connect to the API server: %w", err)
	}
	var found autoscalingv2.HorizontalPodAutoscalerList // listed, as in explain
	if err := c.List(ctx, &found, client.InNamespace(namespace), client.MatchingFields{"metadata.name": hpa}); err != nil {
		return fmt.Errorf("read HorizontalPodAutoscaler %s/%s: %w", namespace, hpa, err)
	}
	if len(found.Items) == 0 {
		return fmt.Errorf("--hpa: there is no HorizontalPodAutoscaler %q in namespace %q", hpa, namespace)
	}
	text, err := adopted(&found.Items[0])
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, text)
	return err
}

// adopted is the manifest of a policy with what can be taken from a HorizontalPodAutoscaler; what cannot is named in comments.
func adopted(hpa *autoscalingv2.HorizontalPodAutoscaler) (string, error) {
	spec := hpa.Spec
	if text, taken := hpa.Annotations[v1alpha1.OriginalSpecAnnotation]; taken { // its own settings, not those of an inert one
		spec = autoscalingv2.HorizontalPodAutoscalerSpec{}
		if err := json.Unmarshal([]byte(text), &spec); err != nil {
			return "", fmt.Errorf("annotation %s of HorizontalPodAutoscaler %s/%s: %w", v1alpha1.OriginalSpecAnnotation, hpa.Namespace, hpa.Name, err)
		}
	}
	var notes []string
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }

	metadata := map[string]any{"name": hpa.Name, "namespace": hpa.Namespace}
	if owner := metav1.GetControllerOf(hpa); owner != nil {
		note("%s %q owns the HorizontalPodAutoscaler, so it cannot be taken over. A KEDA ScaledObject is paused by its annotation autoscaling.keda.sh/paused=true.", owner.Kind, owner.Name)
	} else {
		metadata["annotations"] = map[string]string{v1alpha1.TakeoverAnnotation: hpa.Name}
		note("Once it acts it takes the HorizontalPodAutoscaler over, as the annotation says (deploy/components/takeover); take the annotation off to hand it back.")
	}
	least := int32(1)
	if spec.MinReplicas != nil {
		least = max(least, *spec.MinReplicas)
	}
	if spec.MinReplicas != nil && *spec.MinReplicas < 1 {
		note("minReplicas was %d; a policy keeps 1 at least.", *spec.MinReplicas)
	}
	target, from := gpuTarget(spec.Metrics)
	switch {
	case from < 0:
		note("None of its metrics is the utilization of GPUs: the target of gpu is a guess, choose what your pods should have, or take gpu out if they have none.")
	case target < 1:
		target = 1
	}
	metrics := []any{map[string]any{"type": "Resource", "resource": map[string]any{
		"name": "gpu", "target": map[string]any{"type": "Utilization", "averageUtilization": target},
	}}}
	for i, m := range spec.Metrics {
		switch {
		case i == from:
		case m.Type == autoscalingv2.ResourceMetricSourceType: // cpu or memory, which are written alike
			metrics = append(metrics, m)
		default:
			note("Not taken over: %s.", describeMetric(m))
		}
	}
	policy := map[string]any{
		"apiVersion": v1alpha1.GroupVersion().String(), "kind": "AdvancedHorizontalPodAutoscaler", "metadata": metadata,
		"spec": map[string]any{
			"scaleStrategy":  v1alpha1.StrategyObserver,
			"scaleTargetRef": spec.ScaleTargetRef,
			"minReplicas":    least,
			"maxReplicas":    max(least, spec.MaxReplicas),
			"metrics":        metrics,
		},
	}
	if spec.Behavior != nil {
		policy["spec"].(map[string]any)["behavior"] = spec.Behavior
	}
	text, err := yaml.Marshal(policy)
	if err != nil {
		return "", err
	}
	header := fmt.Sprintf("# What HorizontalPodAutoscaler %s/%s does, as a policy that observes. Look at it for a while, then set scaleStrategy: auto.\n", hpa.Namespace, hpa.Name)
	for _, n := range notes {
		header += "# " + n + "\n"
	}
	return header + string(text), nil
}

// gpuMetrics are the names under which exporters tell the utilization of GPUs, and what they count 100 % as.
var gpuMetrics = map[string]float64{
	"dcgm_fi_dev_gpu_util":                                 100, // NVIDIA's dcgm-exporter
	"dcgm_fi_prof_gr_engine_active":                        1,
	"foretide_pod_utilization_ratio":                       1,
	"kubernetes.io|container|accelerator|duty_cycle":       100, // Google's
	"kubernetes.io|node|accelerator|duty_cycle":            100,
	"prometheus.googleapis.com|dcgm_fi_dev_gpu_util|gauge": 100,
}

// guessedTarget is the target where none is known, percent.
const guessedTarget = 60

// gpuTarget finds the metric that is the utilization of GPUs, and its target in percent; -1 when there is none.
func gpuTarget(metrics []autoscalingv2.MetricSpec) (percent int32, index int) {
	for i, m := range metrics {
		name, target := namedTarget(m)
		whole, known := gpuMetrics[strings.ToLower(name)]
		for _, value := range []*resource.Quantity{target.AverageValue, target.Value} {
			if known && value != nil {
				return int32(min(100, value.AsApproximateFloat64()*100/whole+0.5)), i
			}
		}
	}
	return guessedTarget, -1
}

// namedTarget is the name and the target of a metric.
func namedTarget(m autoscalingv2.MetricSpec) (string, autoscalingv2.MetricTarget) {
	switch {
	case m.Resource != nil:
		return string(m.Resource.Name), m.Resource.Target
	case m.ContainerResource != nil:
		return string(m.ContainerResource.Name), m.ContainerResource.Target
	case m.Pods != nil:
		return m.Pods.Metric.Name, m.Pods.Target
	case m.Object != nil:
		return m.Object.Metric.Name, m.Object.Target
	case m.External != nil:
		return m.External.Metric.Name, m.External.Target
	}
	return "", autoscalingv2.MetricTarget{}
}

func describeMetric(m autoscalingv2.MetricSpec) string {
	name, target := namedTarget(m)
	at := ""
	switch {
	case target.AverageUtilization != nil:
		at = fmt.Sprintf(" at %d%%", *target.AverageUtilization)
	case target.AverageValue != nil:
		at = fmt.Sprintf(" at %s a pod", target.AverageValue)
	case target.Value != nil:
		at = fmt.Sprintf(" at %s", target.Value)
	}
	return fmt.Sprintf("%s metric %s%s", m.Type, name, at)
}
