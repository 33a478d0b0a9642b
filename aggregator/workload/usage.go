package workload

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/client-go/rest"
)

const (
	// keepUsage is how long the usage of a namespace's pods is used again: the metrics API has news every 15 s.
	keepUsage = 10 * time.Second
	// freshUsage is how old it may be.
	freshUsage = 2 * time.Minute
	// forgetUsage is how long a namespace that nobody asks for is remembered.
	forgetUsage = 10 * time.Minute
)

// Usage is what one pod uses: cores of CPU and bytes of memory.
type Usage struct{ CPU, Memory float64 }

// Usages reads what pods use of CPU and memory from the cluster's metrics API (metrics-server).
type Usages struct {
	client rest.Interface

	mu    sync.Mutex
	known map[string]*namespaceUsage
	swept time.Time
}

type namespaceUsage struct {
	asked time.Time // guarded by that of Usages

	mu   sync.Mutex
	at   time.Time
	pods map[string]Usage
	err  error
}

// NewUsages returns Usages over the API server that client speaks to.
func NewUsages(client rest.Interface) *Usages {
	return &Usages{client: client, known: map[string]*namespaceUsage{}}
}

// Of returns what the pods of a namespace use, by name; those whose usage is not known, or old, are absent.
func (u *Usages) Of(ctx context.Context, namespace string, now time.Time) (map[string]Usage, error) {
	n := u.namespace(namespace, now)
	n.mu.Lock()
	defer n.mu.Unlock()
	if age := now.Sub(n.at); age < 0 || age >= keepUsage {
		n.pods, n.err = u.read(ctx, namespace, now)
		if n.at = now; ctx.Err() != nil { // the next caller tries
			n.at = time.Time{}
		}
	}
	return n.pods, n.err
}

// namespace is that of a name; those that nobody asks for any more go.
func (u *Usages) namespace(name string, now time.Time) *namespaceUsage {
	u.mu.Lock()
	defer u.mu.Unlock()
	if now.Sub(u.swept) > forgetUsage {
		maps.DeleteFunc(u.known, func(_ string, n *namespaceUsage) bool { return now.Sub(n.asked) > forgetUsage })
		u.swept = now
	}
	n := u.known[name]
	if n == nil {
		n = &namespaceUsage{}
		u.known[name] = n
	}
	n.asked = now
	return n
}

// podMetrics is what is used of a PodMetricsList (metrics.k8s.io/v1beta1).
type podMetrics struct {
	Items []struct {
		Metadata   struct{ Name string }
		Timestamp  time.Time
		Containers []struct {
			Usage struct{ CPU, Memory resource.Quantity }
		}
	}
}

func (u *Usages) read(ctx context.Context, namespace string, now time.Time) (map[string]Usage, error) {
	body, err := u.client.Get().AbsPath("/apis/metrics.k8s.io/v1beta1/namespaces", namespace, "pods").Do(ctx).Raw()
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("the cluster has no metrics API: install metrics-server, or leave cpu and memory out of the policy")
	}
	if err != nil {
		return nil, fmt.Errorf("metrics API: %w", err)
	}
	var list podMetrics
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, fmt.Errorf("metrics API: %w", err)
	}
	out := make(map[string]Usage, len(list.Items))
	for _, item := range list.Items {
		if now.Sub(item.Timestamp) > freshUsage || len(item.Containers) == 0 {
			continue
		}
		var sum Usage
		for _, c := range item.Containers {
			sum.CPU += c.Usage.CPU.AsApproximateFloat64()
			sum.Memory += c.Usage.Memory.AsApproximateFloat64()
		}
		out[item.Metadata.Name] = sum
	}
	return out, nil
}
