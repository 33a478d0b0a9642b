// Package metric reads what policies name besides how busy GPUs are.
//
//	gpu-memory, gpu-sm-active, gpu-tensor-active ─► PromQL over what agents read ───┐
//	Pods ────────────────────────────────────────► PromQL over what agents scrape ──┼─► Values: by pod, or of the whole
//	External ────────────────────────────────────► PromQL, one number ──────────────┤
//	cpu, memory ─────────────────────────────────► the metrics API, beside requests ┘
//
// What is not known, or older than a minute or so, is absent, which is not 0.
package metric

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// Pod is one of the pods of whom a metric is read.
type Pod struct {
	Name string
	// Node is where it runs, empty before: what another node says of a pod of that name is of one that was there.
	Node string
	// GPUs is how many devices it asks for; CPU and Memory are the cores and bytes that it requests. 0 is none.
	GPUs, CPU, Memory float64
}

// Value is what one pod has of a metric: how much it uses, and of how much at most (0 where there is no such).
type Value struct{ Uses, Holds float64 }

// Values is a metric as it was read.
type Values struct {
	// Pods has it by the name of the pod; one that is not in it is unknown.
	Pods map[string]Value
	// Whole is its value where it is not a pod's.
	Whole *float64
}

// Sample is one series of the answer to a query.
type Sample struct {
	Labels map[string]string
	Value  float64
}

// Usage is what one pod uses: cores of CPU and bytes of memory.
type Usage struct{ CPU, Memory float64 }

// Reader reads metrics.
type Reader struct {
	// Ask answers a PromQL query at a moment.
	Ask func(ctx context.Context, query string, at time.Time) ([]Sample, error)
	// Usage is what the pods of a namespace use of CPU and memory, by name; nil where there is no metrics API.
	Usage func(ctx context.Context, namespace string, now time.Time) (map[string]Usage, error)
}

// Read returns a metric of a workload's pods now. An error says why nothing of it is known.
func (r Reader) Read(ctx context.Context, namespace string, pods []Pod, spec v1alpha1.MetricSpec, now time.Time) (Values, error) {
	switch {
	case spec.External != nil:
		return r.whole(ctx, namespace, *spec.External, now)
	case len(pods) == 0:
		return Values{}, nil
	case spec.Pods != nil:
		return r.scraped(ctx, namespace, pods, *spec.Pods, now)
	case spec.Resource == nil:
		return Values{}, errors.New("the policy does not say which metric")
	case spec.Is(v1alpha1.ResourceCPU), spec.Is(v1alpha1.ResourceMemory):
		return r.used(ctx, namespace, pods, spec.Resource.Name, now)
	}
	return r.ofGPUs(ctx, namespace, pods, spec.Resource.Name, now)
}

// used is what pods use of CPU and memory, and what they request of it.
func (r Reader) used(ctx context.Context, namespace string, pods []Pod, name v1alpha1.ResourceName, now time.Time) (Values, error) {
	if r.Usage == nil {
		return Values{}, fmt.Errorf("%s is read from the metrics API of a cluster, and there is none here", name)
	}
	used, err := r.Usage(ctx, namespace, now)
	if err != nil {
		return Values{}, err
	}
	out := Values{Pods: map[string]Value{}}
	for _, pod := range pods {
		u, ok := used[pod.Name]
		switch {
		case !ok:
		case name == v1alpha1.ResourceCPU:
			out.Pods[pod.Name] = Value{u.CPU, pod.CPU}
		default:
			out.Pods[pod.Name] = Value{u.Memory, pod.Memory}
		}
	}
	return out, nil
}
