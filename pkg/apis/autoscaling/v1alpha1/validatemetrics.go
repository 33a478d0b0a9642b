package v1alpha1

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// complain takes what is wrong: the field, its value, and what is allowed.
type complain = func(field string, value any, allowed string, args ...any)

// resources are all there are.
var resources = []ResourceName{ResourceGPU, ResourceGPUMemory, ResourceGPUSMActive, ResourceGPUTensorActive, ResourceCPU, ResourceMemory}

const longestQuery = 2048

// validate says what is wrong with a metric at a path, by the rules of the CRD's schema.
func (m MetricSpec) validate(at string, wrong complain) {
	given := map[MetricSpecType]bool{MetricSourceResource: m.Resource != nil, MetricSourcePods: m.Pods != nil, MetricSourceExternal: m.External != nil}
	if _, known := given[m.Type]; !known {
		wrong(at+"type", string(m.Type), "Resource, Pods or External")
		return
	}
	for kind, there := range given {
		if field := at + strings.ToLower(string(kind)); there != (kind == m.Type) {
			wrong(field, map[bool]string{true: "given", false: "absent"}[there], "given where type is %s, and only there", kind)
		}
	}
	switch m.Type {
	case MetricSourceResource:
		if r := m.Resource; r != nil {
			if !slices.Contains(resources, r.Name) {
				wrong(at+"resource.name", string(r.Name), "one of %v", resources)
			}
			most := int32(1000)
			if strings.HasPrefix(string(r.Name), string(ResourceGPU)) {
				most = 100
			}
			r.Target.validate(at+"resource.target.", most, wrong, UtilizationTarget, AverageValueTarget)
		}
	case MetricSourcePods:
		if p := m.Pods; p != nil {
			p.Metric.validate(at+"pods.metric.", wrong)
			p.Target.validate(at+"pods.target.", 0, wrong, AverageValueTarget)
		}
	case MetricSourceExternal:
		if e := m.External; e != nil {
			if (e.Metric != nil) == (e.Query != "") {
				wrong(at+"external", e.Query, "given either a metric or a query")
			}
			if n := len([]rune(e.Query)); n > longestQuery {
				wrong(at+"external.query", n, "at most %d characters", longestQuery)
			}
			if e.Metric != nil {
				e.Metric.validate(at+"external.metric.", wrong)
			}
			e.Target.validate(at+"external.target.", 0, wrong, ValueTarget, AverageValueTarget)
		}
	}
}

func (m MetricIdentifier) validate(at string, wrong complain) {
	ok := m.Name != "" && len(m.Name) <= 255
	for i, c := range m.Name {
		ok = ok && (c == '_' || c == ':' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || i > 0 && '0' <= c && c <= '9')
	}
	if !ok {
		wrong(at+"name", m.Name, "letters, digits, _ and :, not beginning with a digit, at most 255")
	}
	if _, err := metav1.LabelSelectorAsSelector(m.Selector); err != nil {
		wrong(at+"selector", metav1.FormatLabelSelector(m.Selector), "a label selector: %v", err)
	}
}

func (t MetricTarget) validate(at string, mostPercent int32, wrong complain, allowed ...MetricTargetType) {
	if !slices.Contains(allowed, t.Type) {
		wrong(at+"type", string(t.Type), "one of %v", allowed)
		return
	}
	if t.Type == UtilizationTarget && (t.AverageUtilization == nil || *t.AverageUtilization < 1 || *t.AverageUtilization > mostPercent) {
		wrong(at+"averageUtilization", shown(t.AverageUtilization), "1 to %d", mostPercent)
	}
	for _, q := range []struct {
		field string
		kind  MetricTargetType
		value *resource.Quantity
	}{{"averageValue", AverageValueTarget, t.AverageValue}, {"value", ValueTarget, t.Value}} {
		switch {
		case (q.value != nil) != (q.kind == t.Type):
			wrong(at+q.field, q.value.String(), "given where type is %s, and only there", q.kind)
		case q.value != nil && q.value.Sign() <= 0:
			wrong(at+q.field, q.value.String(), "more than 0")
		}
	}
	if t.Type != UtilizationTarget && t.AverageUtilization != nil {
		wrong(at+"averageUtilization", *t.AverageUtilization, "given where type is %s, and only there", UtilizationTarget)
	}
}

// shown is what a pointer points to; nil of nil.
func shown[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}
