// Package kubelet asks the kubelet of this node who holds which device, and what pods there are.
//
//	pod-resources socket → List → holdings
//	pods socket → WatchPods → pods: UID, owner, readiness, containers
package kubelet

import (
	"context"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"

	"github.com/foretide/foretide/pkg/telemetry"
)

// DefaultSocketPath is where the kubelet listens (kubernetes pkg/kubelet/apis/podresources/constants.go).
const DefaultSocketPath = "/var/lib/kubelet/pod-resources/kubelet.sock"

// maxAnswer is how long a question may stay unanswered before another is asked.
const maxAnswer = 10 * time.Second

// DefaultResourceNames are the extended resources of NVIDIA's device plugin: GPUs and MIG instances, whole and shared.
func DefaultResourceNames() []string {
	return []string{"nvidia.com/gpu", "nvidia.com/gpu.shared", "nvidia.com/mig-*"}
}

// DefaultDRADrivers is NVIDIA's driver of Dynamic Resource Allocation.
func DefaultDRADrivers() []string { return []string{"gpu.nvidia.com"} }

// Options configures a [Client].
type Options struct {
	// SocketPath is the kubelet's pod-resources socket; empty takes DefaultSocketPath.
	SocketPath string
	// ResourceNames are the extended resources whose devices are GPUs, such as nvidia.com/gpu. One that ends in * stands for
	// all that begin so. Nil takes DefaultResourceNames.
	ResourceNames []string
	// DRADrivers are the drivers of Dynamic Resource Allocation whose devices are GPUs, exactly. Nil takes DefaultDRADrivers.
	DRADrivers []string
}

// Client keeps one connection to the kubelet, made at the first call and again after the kubelet was restarted. It may be
// used from several goroutines.
type Client struct {
	socket string
	wanted wanted
	conn   *grpc.ClientConn
	api    podresources.PodResourcesListerClient
	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	mu   sync.Mutex
	open *question // nil while none is asked
}

// question is one List under way.
type question struct {
	done     chan struct{} // closed once the rest is set
	holdings []telemetry.Holding
	err      error
}

// New returns a client. The socket need not be there yet.
func New(o Options) (*Client, error) {
	if o.SocketPath == "" {
		o.SocketPath = DefaultSocketPath
	}
	if o.ResourceNames == nil {
		o.ResourceNames = DefaultResourceNames()
	}
	if o.DRADrivers == nil {
		o.DRADrivers = DefaultDRADrivers()
	}
	conn, err := dial(o.SocketPath)
	if err != nil {
		return nil, err
	}
	c := &Client{
		socket: o.SocketPath, wanted: wanted{resources: o.ResourceNames, drivers: o.DRADrivers},
		conn: conn, api: podresources.NewPodResourcesListerClient(conn),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c, nil
}

// Close gives the connection back.
func (c *Client) Close() error {
	c.cancel()
	return c.conn.Close()
}

// Holdings returns every device of the wanted resources and drivers that a container was given, with the id the kubelet has
// for it, sorted and each once. Pods that ended are among them for as long as the kubelet lists them. An error means that
// nothing is known.
//
// A kubelet that is slow is not asked a second time: a call that ends before the answer leaves the question open, and the
// next one takes its answer. Such an answer is at most ten seconds old.
func (c *Client) Holdings(ctx context.Context) ([]telemetry.Holding, error) {
	q := c.ask()
	select {
	case <-q.done:
		if q.err != nil {
			return nil, explain("list pod resources", c.socket, q.err)
		}
		return slices.Clone(q.holdings), nil // another caller may have the same answer
	case <-ctx.Done():
		return nil, explain("list pod resources", c.socket, ctx.Err())
	}
}

// ask returns the open question, a new one where there is none.
func (c *Client) ask() *question {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open != nil {
		return c.open
	}
	q := &question{done: make(chan struct{})}
	c.open = q
	go func() {
		defer close(q.done)
		ctx, cancel := context.WithTimeout(c.ctx, maxAnswer)
		defer cancel()
		var answer *podresources.ListPodResourcesResponse
		if answer, q.err = c.api.List(ctx, &podresources.ListPodResourcesRequest{}); q.err == nil {
			q.holdings = c.wanted.holdings(answer)
		}
		c.mu.Lock()
		c.open = nil
		c.mu.Unlock()
	}()
	return q
}
