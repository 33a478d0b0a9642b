package metric

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// asked answers each query with the same, and keeps what was asked. What PromQL makes of the queries is tried on a real history where the
// rooms meet (aggregator/app).
type asked struct {
	queries []string
	answer  []Sample
	err     error
}

func (a *asked) ask(_ context.Context, query string, _ time.Time) ([]Sample, error) {
	a.queries = append(a.queries, query)
	return a.answer, a.err
}

func scrapedMetric(s *metav1.LabelSelector) v1alpha1.MetricSpec {
	return v1alpha1.MetricSpec{Type: v1alpha1.MetricSourcePods, Pods: &v1alpha1.PodsMetric{Metric: v1alpha1.MetricIdentifier{Name: "queue", Selector: s}}}
}

func TestAQueryNamesThePodsAndTheSelector(t *testing.T) {
	a := &asked{answer: []Sample{{map[string]string{"pod": "web-1", "node": "a"}, 3}, {map[string]string{"pod": "web-1", "node": "b"}, 4}}}
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{"model": "a.b"}, MatchExpressions: []metav1.LabelSelectorRequirement{
		{Key: "node", Operator: "Exists"}, {Key: "zone", Operator: "DoesNotExist"}, {Key: "tier", Operator: "NotIn", Values: []string{"x"}},
	}}
	got, err := Reader{Ask: a.ask}.Read(t.Context(), `ch"at`, []Pod{{Name: "web-1", Node: "a"}, {Name: "web.2", Node: "a"}}, scrapedMetric(selector), noon)
	want := `sum by (pod, node) (last_over_time(queue{namespace="ch\"at",pod=~"web-1|web\\.2",model=~"a\\.b",node!="",tier!~"x",zone=""}[90s]))`
	if err != nil || len(a.queries) != 1 || a.queries[0] != want {
		t.Errorf("asked %q, %v, want %q", a.queries, err, want)
	}
	if len(got.Pods) != 1 || got.Pods["web-1"].Uses != 3 {
		t.Errorf("%+v, want what the pod's own node says", got)
	}
}

func TestWhatCannotBeReadIsAnError(t *testing.T) {
	pods := []Pod{{Name: "web-1"}}
	for name, c := range map[string]struct {
		reader Reader
		spec   v1alpha1.MetricSpec
		want   string
	}{
		"the history":      {Reader{Ask: (&asked{err: errors.New("disk gone")}).ask}, scrapedMetric(nil), "disk gone"},
		"nobody says it":   {Reader{Ask: (&asked{}).ask}, scrapedMetric(nil), "none of 1 pods says it"},
		"GPUs do not tell": {Reader{Ask: (&asked{}).ask}, v1alpha1.MetricSpec{Resource: &v1alpha1.ResourceMetric{Name: v1alpha1.ResourceGPUSMActive}}, "no node reports it of any of 1 pods"},
		"a new resource":   {Reader{Ask: (&asked{}).ask}, v1alpha1.MetricSpec{Resource: &v1alpha1.ResourceMetric{Name: "gpu-quantum"}}, `"gpu-quantum"`},
		"no metric at all": {Reader{Ask: (&asked{}).ask}, v1alpha1.MetricSpec{}, "does not say which metric"},
	} {
		if got, err := c.reader.Read(t.Context(), "chat", pods, c.spec, noon); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %+v, %v; want an error with %q", name, got, err, c.want)
		}
	}
}

func TestWithoutPodsAMetricOfPodsIsNothing(t *testing.T) {
	a := &asked{}
	if got, err := (Reader{Ask: a.ask}).Read(t.Context(), "chat", nil, scrapedMetric(nil), noon); err != nil || len(got.Pods) != 0 || len(a.queries) != 0 {
		t.Errorf("%+v, %v after %q", got, err, a.queries)
	}
}

func TestCPUAndMemoryAreWhatPodsUseOfWhatTheyRequest(t *testing.T) {
	r := Reader{Usage: func(context.Context, string, time.Time) (map[string]Usage, error) {
		return map[string]Usage{"web-1": {CPU: 1.5, Memory: 3e9}, "other": {CPU: 9}}, nil
	}}
	pods := []Pod{{Name: "web-1", CPU: 2, Memory: 4e9}, {Name: "web-2", CPU: 2}}
	for name, want := range map[v1alpha1.ResourceName]Value{v1alpha1.ResourceCPU: {1.5, 2}, v1alpha1.ResourceMemory: {3e9, 4e9}} {
		got, err := r.Read(t.Context(), "chat", pods, v1alpha1.MetricSpec{Resource: &v1alpha1.ResourceMetric{Name: name}}, noon)
		if err != nil || len(got.Pods) != 1 || got.Pods["web-1"] != want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
