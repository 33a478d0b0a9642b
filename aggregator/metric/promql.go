package metric

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
	"github.com/foretide/foretide/pkg/telemetry"
)

const (
	// freshReading is how old a reading of a GPU may be: nodes report every 15 s at most, and each report may come once more.
	freshReading = 45 * time.Second
	// freshScrape is how old may be what a pod said of itself: an agent scrapes once a minute at least.
	freshScrape = 90 * time.Second
	// freshSeries is how old a series of an external metric may be: Prometheus' own interval is a minute.
	freshSeries = 2 * time.Minute
)

// gpuMetrics are the readings that resources stand for; the whole of one that is a share is the pod's devices.
var gpuMetrics = map[v1alpha1.ResourceName]struct{ uses, holds telemetry.Metric }{
	v1alpha1.ResourceGPUMemory:       {telemetry.MemoryUsed, telemetry.MemoryTotal},
	v1alpha1.ResourceGPUSMActive:     {uses: telemetry.SMActive},
	v1alpha1.ResourceGPUTensorActive: {uses: telemetry.TensorActive},
}

// ofGPUs adds up a reading over the devices of each pod. A pod of whose devices only some were read is unknown.
func (r Reader) ofGPUs(ctx context.Context, namespace string, pods []Pod, name v1alpha1.ResourceName, now time.Time) (Values, error) {
	metric, known := gpuMetrics[name]
	if !known {
		return Values{}, fmt.Errorf("the resource is %q; it must be one of those the API names", name)
	}
	read := func(form string, m telemetry.Metric) (map[string]float64, error) {
		newest := fmt.Sprintf("last_over_time(%s{%s}[%s])", m.Definition().UsageName(), ofPods(namespace, pods), seconds(freshReading))
		return r.byPod(ctx, fmt.Sprintf(form, newest), pods, now)
	}
	uses, err := read("sum by (pod, node) (%s)", metric.uses)
	if err != nil {
		return Values{}, err
	}
	devices, err := read("count by (pod, node) (max by (pod, node, uuid) (%s))", metric.uses) // containers of a pod may share a device
	if err != nil {
		return Values{}, err
	}
	holds := devices
	if metric.holds.Known() {
		if holds, err = read("sum by (pod, node) (max by (pod, node, uuid) (%s))", metric.holds); err != nil {
			return Values{}, err
		}
	}
	out := Values{Pods: map[string]Value{}}
	for _, pod := range pods {
		if v, ok := uses[pod.Name]; ok && devices[pod.Name] >= pod.GPUs {
			out.Pods[pod.Name] = Value{v, holds[pod.Name]}
		}
	}
	if len(out.Pods) == 0 {
		return out, fmt.Errorf("no node reports it of any of %d pods: GPUs before Hopper, and shared ones, may not tell", len(pods))
	}
	return out, nil
}

// scraped is what pods say of themselves.
func (r Reader) scraped(ctx context.Context, namespace string, pods []Pod, m v1alpha1.PodsMetric, now time.Time) (Values, error) {
	selector, err := matchers(m.Metric.Selector)
	if err != nil {
		return Values{}, err
	}
	said, err := r.byPod(ctx, fmt.Sprintf("sum by (pod, node) (last_over_time(%s{%s}[%s]))", m.Metric.Name, ofPods(namespace, pods)+selector, seconds(freshScrape)), pods, now)
	if err != nil {
		return Values{}, err
	}
	out := Values{Pods: map[string]Value{}}
	for _, pod := range pods {
		if v, ok := said[pod.Name]; ok {
			out.Pods[pod.Name] = Value{Uses: v}
		}
	}
	if len(out.Pods) == 0 {
		return out, fmt.Errorf("none of %d pods says it: is it in what the agents scrape (--scrape.metrics), and do the pods serve it?", len(pods))
	}
	return out, nil
}

// whole is a number that is not a pod's.
func (r Reader) whole(ctx context.Context, namespace string, m v1alpha1.ExternalMetric, now time.Time) (Values, error) {
	query := m.Query
	if m.Metric != nil {
		selector, err := matchers(m.Metric.Selector)
		if err != nil {
			return Values{}, err
		}
		query = fmt.Sprintf("sum(last_over_time(%s{namespace=%s%s}[%s]))", m.Metric.Name, strconv.Quote(namespace), selector, seconds(freshSeries))
	}
	answer, err := r.Ask(ctx, query, now)
	switch {
	case err != nil:
		return Values{}, err
	case len(answer) == 0:
		return Values{}, errors.New("the query is answered by no series")
	case len(answer) > 1:
		return Values{}, fmt.Errorf("the query is answered by %d series; it must be one: add them up, as in sum(…)", len(answer))
	}
	return Values{Whole: &answer[0].Value}, nil
}

// byPod is an answer by its label pod, of the nodes that the pods run on.
func (r Reader) byPod(ctx context.Context, query string, pods []Pod, now time.Time) (map[string]float64, error) {
	answer, err := r.Ask(ctx, query, now)
	if err != nil {
		return nil, err
	}
	nodes := make(map[string]string, len(pods))
	for _, pod := range pods {
		nodes[pod.Name] = pod.Node
	}
	out := make(map[string]float64, len(answer))
	for _, s := range answer {
		if pod := s.Labels["pod"]; nodes[pod] == s.Labels["node"] {
			out[pod] = s.Value
		}
	}
	return out, nil
}

// ofPods are the matchers of the pods' series.
func ofPods(namespace string, pods []Pod) string {
	names := make([]string, len(pods))
	for i, pod := range pods {
		names[i] = regexp.QuoteMeta(pod.Name)
	}
	return fmt.Sprintf("namespace=%s,pod=~%s", strconv.Quote(namespace), strconv.Quote(strings.Join(names, "|")))
}

// matchers are a selector's, each with a comma before it.
func matchers(s *metav1.LabelSelector) (string, error) {
	if s == nil {
		return "", nil
	}
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	requirements, _ := selector.Requirements()
	for _, r := range requirements {
		if !prometheusLabel.MatchString(r.Key()) {
			return "", fmt.Errorf("the selector's label %q cannot be one of a series: it must be letters, digits and _", r.Key())
		}
		out.WriteString("," + matcher(r))
	}
	return out.String(), nil
}

var prometheusLabel = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

func matcher(r labels.Requirement) string {
	var values []string
	for _, v := range r.ValuesUnsorted() {
		values = append(values, regexp.QuoteMeta(v))
	}
	any := strconv.Quote(strings.Join(values, "|"))
	switch r.Operator() {
	case selection.Exists:
		return r.Key() + `!=""`
	case selection.DoesNotExist:
		return r.Key() + `=""`
	case selection.NotIn, selection.NotEquals:
		return r.Key() + "!~" + any
	}
	return r.Key() + "=~" + any
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.0fs", d.Seconds()) }
