// Package kubelet asks the kubelet of this node who holds which device.
//
//	pod-resources socket → List → owners by device UUID
package kubelet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"

	"github.com/foretide/foretide/pkg/telemetry"
)

// DefaultSocketPath is where the kubelet listens (kubernetes pkg/kubelet/apis/podresources/constants.go).
const DefaultSocketPath = "/var/lib/kubelet/pod-resources/kubelet.sock"

// maxMessage bounds an answer. The kubelet's own client allows 16 MiB (kubernetes
// pkg/kubelet/apis/podresources/constants.go): gRPC's 4 MiB are too few for a node with very many pods.
const maxMessage = 16 << 20

// Options configures a [Client].
type Options struct {
	// SocketPath is the kubelet's pod-resources socket.
	SocketPath string
	// ResourceNames are the extended resources whose devices are GPUs, such as nvidia.com/gpu.
	ResourceNames []string
}

// Client keeps one connection to the kubelet, made at the first call and again after the kubelet was restarted.
type Client struct {
	socket    string
	resources []string
	conn      *grpc.ClientConn
	api       podresources.PodResourcesListerClient
}

// New returns a client. The socket need not be there yet.
func New(o Options) (*Client, error) {
	c := &Client{socket: o.SocketPath, resources: o.ResourceNames}
	conn, err := grpc.NewClient("passthrough:///kubelet",
		grpc.WithTransportCredentials(insecure.NewCredentials()), // a unix socket that belongs to root
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", o.SocketPath)
		}),
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
		grpc.WithReadBufferSize(4<<10), grpc.WithWriteBufferSize(4<<10),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: time.Second,
		}),
	)
	if err != nil {
		return nil, fmt.Errorf("kubelet socket %q: %w", o.SocketPath, err)
	}
	c.conn, c.api = conn, podresources.NewPodResourcesListerClient(conn)
	return c, nil
}

// Close gives the connection back.
func (c *Client) Close() error { return c.conn.Close() }

// Owners returns who holds each device, by device UUID. More than one owner, in alphabetical order, means that the device
// is shared. Devices of the named resources that are not whole, exclusive GPUs are left out; a problem per resource counts
// them. An error means that nothing is known.
func (c *Client) Owners(ctx context.Context) (map[string][]telemetry.Owner, []string, error) {
	answer, err := c.api.List(ctx, &podresources.ListPodResourcesRequest{})
	if err != nil {
		return nil, nil, c.explain(err)
	}
	owners, problems := c.owners(answer)
	return owners, problems, nil
}

func (c *Client) owners(answer *podresources.ListPodResourcesResponse) (map[string][]telemetry.Owner, []string) {
	owners := map[string][]telemetry.Owner{}
	strange := map[string]int{} // by resource
	for _, pod := range answer.GetPodResources() {
		for _, container := range pod.GetContainers() {
			owner := telemetry.Owner{Namespace: pod.GetNamespace(), Pod: pod.GetName(), Container: container.GetName()}
			for _, devices := range container.GetDevices() {
				if !slices.Contains(c.resources, devices.GetResourceName()) {
					continue
				}
				for _, id := range devices.GetDeviceIds() {
					if !isWholeGPU(id) {
						strange[devices.GetResourceName()]++
						continue
					}
					if !slices.Contains(owners[id], owner) {
						owners[id] = append(owners[id], owner)
					}
				}
			}
		}
	}
	for _, holders := range owners { // the kubelet lists pods in no order
		slices.SortFunc(holders, func(a, b telemetry.Owner) int {
			return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Pod, b.Pod), cmp.Compare(a.Container, b.Container))
		})
	}
	return owners, notUnderstood(strange)
}

// notUnderstood makes one problem per resource: a node may have hundreds of shares of its GPUs.
func notUnderstood(devices map[string]int) []string {
	var problems []string
	for _, resource := range slices.Sorted(maps.Keys(devices)) {
		what := fmt.Sprintf("%d devices have", devices[resource])
		if devices[resource] == 1 {
			what = "1 device has"
		}
		problems = append(problems, fmt.Sprintf("kubelet: %s: %s an id that is not understood (want GPU-<uuid>): not attributed", resource, what))
	}
	return problems
}

// isWholeGPU tells NVIDIA's device plugin's id of a GPU from the other forms it and others use: MIG-…, GPU-…::3 (a share),
// nvidia0 (k8s-device-plugin internal/rm/devices.go).
func isWholeGPU(id string) bool {
	return strings.HasPrefix(id, "GPU-") && !strings.Contains(id, "::")
}

// explain adds to gRPC's words what the user can do.
func (c *Client) explain(err error) error {
	if _, stat := os.Stat(c.socket); errors.Is(stat, fs.ErrNotExist) {
		return fmt.Errorf("socket %s does not exist: the kubelet is not running, or its directory is not mounted", c.socket)
	}
	switch status.Code(err) {
	case codes.DeadlineExceeded:
		return fmt.Errorf("list pod resources at %s: no answer in time", c.socket)
	case codes.ResourceExhausted:
		return fmt.Errorf("list pod resources at %s: %w (other clients use up the kubelet's rate limit)", c.socket, err)
	}
	return fmt.Errorf("list pod resources at %s: %w", c.socket, err)
}
