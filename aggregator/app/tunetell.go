package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// settingOf is what a policy has; its quantile in whole percent.
func settingOf(p *v1alpha1.AdvancedHorizontalPodAutoscaler) (out setting) {
	spec := p.Spec
	out[knobTarget] = *spec.Metrics[0].Target().AverageUtilization
	out[knobQuantile] = int32(math.Round(100 * spec.Prediction.Quantile.Level()))
	out[knobLead] = spec.Prediction.ScaleUpForward.IntVal
	out[knobStabilization] = *spec.StabilizationWindowSeconds
	if down := spec.Behavior; down != nil && down.ScaleDown != nil && down.ScaleDown.StabilizationWindowSeconds != nil {
		out[knobStabilization] = *down.ScaleDown.StabilizationWindowSeconds
	}
	return out
}

// with is the policy with a setting.
func (s setting) with(p *v1alpha1.AdvancedHorizontalPodAutoscaler) *v1alpha1.AdvancedHorizontalPodAutoscaler {
	p = p.DeepCopy()
	for i := range p.Spec.Metrics {
		if m := &p.Spec.Metrics[i]; m.Is(v1alpha1.ResourceGPU) && m.Target().AverageUtilization != nil {
			m.Resource.Target.AverageUtilization = new(s[knobTarget])
		}
	}
	p.Spec.Prediction.Quantile = new(v1alpha1.Quantile(s[knobQuantile]))
	p.Spec.Prediction.ScaleUpForward = new(intstr.FromInt32(s[knobLead]))
	p.Spec.StabilizationWindowSeconds = new(s[knobStabilization])
	if down := p.Spec.Behavior; down != nil && down.ScaleDown != nil && down.ScaleDown.StabilizationWindowSeconds != nil {
		down.ScaleDown.StabilizationWindowSeconds = new(s[knobStabilization])
	}
	return p
}

// tell prints the policy with what was found, and above it what that does on a leg that the search has not seen. Whoever pipes the policy
// on reads nothing of that: so the log says when it does not hold there.
func (s *search) tell(ctx context.Context, f *flight, other leg, found setting, out, log io.Writer) error {
	told := &simulation{flight: f, leg: other}
	var err error
	if told.oracle, err = told.peer(ctx, "oracle", f.target); err != nil {
		return err
	}
	told.oracle.name = fmt.Sprintf("oracle at %.0f %%", 100*f.target)
	for _, row := range []struct {
		name   string
		policy *v1alpha1.AdvancedHorizontalPodAutoscaler
	}{{f.policy.Name + " as found", found.with(s.policy)}, {f.policy.Name + " as it was", s.policy}} {
		r, err := other.fly(ctx, row.policy, func(time.Duration) {}, nil)
		if err != nil {
			return err
		}
		told.flown = append(told.flown, outcome{row.name, f.target, r})
	}
	for _, target := range slices.Compact([]float64{f.target, float64(found[knobTarget]) / 100}) {
		o, err := told.peer(ctx, "hpa", target)
		if err != nil {
			return err
		}
		o.name = fmt.Sprintf("hpa at %.0f %%", 100*target)
		told.flown = append(told.flown, o)
	}
	told.flown = append(told.flown, told.oracle)
	var table strings.Builder
	if err := printTable(&table, append([][]string{outcomeColumns}, told.rows()...)); err != nil {
		return err
	}
	r, end := s.known[found], other.trace.Start.Add(other.length())
	short, most := aDay(told.flown[0].Short, other), aDay(s.most, s.leg)
	then := fmt.Sprintf("%.1f min a day", short)
	if short > most {
		then += ", longer than is allowed"
	}
	head := []string{
		fmt.Sprintf("Found by aggregator tune on %s: %s.", f.name, found),
		fmt.Sprintf("Of %d settings the cheapest that was short for at most %.4g min a day from %s to %s: %.1f min a day, %.1f GPU-hours.", len(s.known), most,
			stamp(s.leg.trace.Start), stamp(other.trace.Start), aDay(r.Short, s.leg), r.GPUHours),
		fmt.Sprintf("From %s to %s, which the search did not see, it was short for %s:", stamp(other.trace.Start), stamp(end), then),
	}
	head = append(append(head, other.held("It", told.flown[0])...), "")
	head = append(head, strings.Split(strings.TrimRight(table.String(), "\n"), "\n")...)
	for _, note := range append(head, f.notes...) {
		fmt.Fprintln(out, strings.TrimRight("# "+note, " "))
	}
	text, err := manifest(found.with(f.given))
	if err != nil {
		return err
	}
	if _, err = out.Write(text); err == nil && short > most {
		fmt.Fprintf(log, "On the half that the search did not see, the policy found is short for %s. Do not apply it as it is: allow less (--most-short), or give it a longer recording.\n", then)
	}
	return err
}

// manifest writes a policy as its user would.
func manifest(p *v1alpha1.AdvancedHorizontalPodAutoscaler) ([]byte, error) {
	p.UID = ""
	text, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, err
	}
	delete(fields, "status")
	if metadata, ok := fields["metadata"].(map[string]any); ok {
		delete(metadata, "creationTimestamp")
	}
	return yaml.Marshal(fields)
}
