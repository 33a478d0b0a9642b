package app

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// Explain is `aggregator explain`: it says in plain words why a policy decides what it decides, out of the policy's status.
func Explain(ctx context.Context, args []string, out io.Writer) error {
	f := flag.NewFlagSet("aggregator explain", flag.ContinueOnError)
	name := f.String("policy", "", "the `namespace/name` of the policy")
	kubeconfig := f.String("kubernetes.kubeconfig", "", "`file` with access to the API server; empty: that of kubectl, or the pod's own")
	if err := Parse(f, "Says in plain words why a policy decides what it decides.", args, out); err != nil {
		return err
	}
	namespace, policy, ok := strings.Cut(strings.TrimPrefix(*name, "ahpa/"), "/")
	if !ok || namespace == "" || policy == "" {
		return fmt.Errorf("--policy is %q: it must be namespace/name", *name)
	}
	config, err := userConfig(*kubeconfig)
	if err != nil {
		return err
	}
	found, err := fetchPolicy(ctx, config, namespace, policy)
	if err != nil {
		return err
	}
	explain(out, found)
	return nil
}

// userConfig is that of the flag, or what kubectl would take, or the pod's.
func userConfig(kubeconfig string) (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("--kubernetes.kubeconfig: %w", err)
	}
	return config, nil
}

// fetchPolicy lists instead of getting, which is what the aggregator's own account may do.
func fetchPolicy(ctx context.Context, config *rest.Config, namespace, name string) (*v1alpha1.AdvancedHorizontalPodAutoscaler, error) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("connect to the API server: %w", err)
	}
	var found v1alpha1.AdvancedHorizontalPodAutoscalerList
	if err := c.List(ctx, &found, client.InNamespace(namespace), client.MatchingFields{"metadata.name": name}); err != nil {
		return nil, fmt.Errorf("read policy %s/%s: %w", namespace, name, err)
	}
	if len(found.Items) == 0 {
		return nil, fmt.Errorf("--policy: there is no policy %q in namespace %q", name, namespace)
	}
	policy := &found.Items[0]
	policy.Spec.Default()
	return policy, nil
}

// explain writes why a policy decides what it decides.
func explain(out io.Writer, p *v1alpha1.AdvancedHorizontalPodAutoscaler) {
	s, target := p.Status, p.Spec.ScaleTargetRef
	fmt.Fprintf(out, "%s %s in %s: %s\n", target.Kind, target.Name, p.Namespace, standing(p))
	if s.ObservedGeneration != p.Generation {
		fmt.Fprintln(out, "No aggregator has looked at it since it was last changed: what follows is of before.")
	}
	if s.Decision != nil {
		fmt.Fprintf(out, "\nWhy: %s\n     %s.\n", s.Decision.Reason, strings.ReplaceAll(s.Decision.Message, "; ", ";\n     "))
	}
	fmt.Fprintln(out)
	line := func(what, format string, args ...any) {
		fmt.Fprintf(out, "%-10s %s\n", what, fmt.Sprintf(format, args...))
	}
	for i, m := range p.Spec.Metrics {
		var seen v1alpha1.MetricStatus
		if i < len(s.CurrentMetrics) {
			seen = s.CurrentMetrics[i]
		}
		line("Load", "%s is %s, the target is %s; that asks for %s", m.ID(), valueIn(seen.Current()), targetIn(m.Target()), count(seen.ReactiveReplicas))
	}
	line("Forecast", "%s", foretold(p))
	if s.MinReplicas != nil && s.MaxReplicas != nil {
		line("Bounds", "%d to %d", *s.MinReplicas, *s.MaxReplicas)
	}
	if s.LastScaleTime != nil {
		line("Scaled", "last at %s", s.LastScaleTime.UTC().Format(time.RFC3339))
	}
	fmt.Fprintln(out)
	for _, c := range s.Conditions {
		line(c.Type, "%s, %s: %s", c.Status, c.Reason, c.Message)
	}
}

// valueIn is a metric's value in words.
func valueIn(v *v1alpha1.MetricValueStatus) string {
	switch {
	case v.AverageUtilization != nil:
		return fmt.Sprintf("%d%%", *v.AverageUtilization)
	case v.Value != nil:
		return v.Value.String()
	case v.AverageValue != nil:
		return v.AverageValue.String() + " by pod"
	}
	return "not known"
}

// targetIn is the value aimed for in words.
func targetIn(t *v1alpha1.MetricTarget) string {
	switch {
	case t.AverageUtilization != nil:
		return fmt.Sprintf("%d%%", *t.AverageUtilization)
	case t.AverageValue != nil:
		return t.AverageValue.String() + " by pod"
	case t.Value != nil:
		return t.Value.String()
	}
	return "not known"
}

// standing says how many replicas there are, how many there should be, and what is done about it.
func standing(p *v1alpha1.AdvancedHorizontalPodAutoscaler) string {
	s := p.Status
	if s.DesiredReplicas == nil {
		return "nothing is decided"
	}
	what := fmt.Sprintf("%s, and %s decided", count(s.CurrentReplicas), count(s.DesiredReplicas))
	rival := ""
	if c := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionTargetConflict); c != nil && c.Status == metav1.ConditionTrue {
		rival = "; " + c.Message
	}
	switch {
	case p.Spec.Paused:
		return what + "; the policy is paused, so nothing is set" + rival
	case !p.Spec.ScaleStrategy.Acts():
		return what + fmt.Sprintf("; the strategy is %s, so nothing is set", p.Spec.ScaleStrategy) + rival
	}
	if able := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionAbleToScale); able != nil && able.Status != metav1.ConditionTrue {
		return what + "; nothing is set: " + able.Message
	}
	if o := s.ManualOverride; o != nil {
		return what + fmt.Sprintf("; nothing is set: someone else set %s at %s when %d were decided, and that stands until something else is decided",
			count(&o.Replicas), o.Since.UTC().Format(time.RFC3339), o.DecidedReplicas)
	}
	return what + fmt.Sprintf("; the strategy is %s", p.Spec.ScaleStrategy)
}

// foretold says what the forecast asks for, or why it asks for nothing.
func foretold(p *v1alpha1.AdvancedHorizontalPodAutoscaler) string {
	s := p.Status
	if s.Forecast == nil {
		if ready := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionForecastReady); ready != nil && ready.Status != metav1.ConditionTrue {
			return "none: " + ready.Message
		}
		return "none"
	}
	text := fmt.Sprintf("%s, from %v of history", s.Forecast.Method, time.Duration(s.Forecast.HistorySeconds)*time.Second)
	if s.Forecast.PeakGPUs != "" && s.LeadTimeSeconds != nil {
		text += fmt.Sprintf("; its p%s peaks at %s busy GPUs within %d s", p.Spec.Prediction.Quantile.Percent(), s.Forecast.PeakGPUs, *s.LeadTimeSeconds)
	}
	if s.LeadTimePods > 0 {
		text += fmt.Sprintf(" (what nine in ten of %d pods took to start)", s.LeadTimePods)
	}
	if s.ProactiveReplicas == nil {
		return text + "; it takes no part yet"
	}
	return text + "; that asks for " + count(s.ProactiveReplicas)
}

func count(replicas *int32) string {
	switch {
	case replicas == nil:
		return "an unknown number of replicas"
	case *replicas == 1:
		return "1 replica"
	}
	return fmt.Sprintf("%d replicas", *replicas)
}
