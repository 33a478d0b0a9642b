package app

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/foretide/foretide/agent/kubelet"
	"github.com/foretide/foretide/agent/sampler"
	"github.com/foretide/foretide/agent/spool"
)

// minInterval keeps the kubelet's rate limit (100 questions a second for all of its clients together) and the driver out of
// reach.
const minInterval = 100 * time.Millisecond

// Options is everything that can be set. Fields are named as the flags: --kubelet.socket-path is KubeletSocketPath.
type Options struct {
	// AggregatorAddress is host:port of the aggregator; empty sends nothing and serves /metrics alone.
	AggregatorAddress string
	// AggregatorCAFile holds the authorities (PEM) that may have signed its certificate; empty trusts the system's.
	AggregatorCAFile string
	// AggregatorServerName is the name in its certificate; empty takes the host of AggregatorAddress.
	AggregatorServerName string
	// AggregatorTokenFile holds the token to show it; empty shows none.
	AggregatorTokenFile string
	// KubeletSocketPath is the kubelet's pod-resources socket.
	KubeletSocketPath string
	// KubeletResourceNames are the extended resources that are GPUs.
	KubeletResourceNames []string
	// NodeName is the Kubernetes node this is.
	NodeName string
	// NVMLLibraryPath is the NVML library to load; empty looks in the usual places.
	NVMLLibraryPath string
	// SamplerInterval is the time between two samples, and the shortest between two batches.
	SamplerInterval time.Duration
	// SpoolMaxBatches is how many batches are kept while the aggregator cannot take them, spool.MaxBytes at most together.
	SpoolMaxBatches int
	// WebDCGMNames shows the devices under DCGM's names as well.
	WebDCGMNames bool
	// WebListenAddress is where /metrics, /healthz and /readyz are served.
	WebListenAddress string

	// Version is the agent's own; it is no flag.
	Version string
	// Listener is used instead of listening on WebListenAddress when it is set; it is no flag.
	Listener net.Listener
}

// DefaultOptions returns what holds when no flag is given. The node's name has no default here.
func DefaultOptions() Options {
	return Options{
		KubeletSocketPath:    kubelet.DefaultSocketPath,
		KubeletResourceNames: []string{"nvidia.com/gpu"},
		SamplerInterval:      time.Second,
		SpoolMaxBatches:      spool.DefaultMaxBatches,
		WebDCGMNames:         true,
		WebListenAddress:     ":9400",
	}
}

// Validate names every option that is wrong, with its value and what is allowed.
func (o Options) Validate() error {
	var wrong []error
	check := func(ok bool, name string, value any, allowed string) {
		if !ok {
			wrong = append(wrong, fmt.Errorf("--%s is %q: %s", name, fmt.Sprint(value), allowed))
		}
	}
	check(o.AggregatorAddress == "" || isHostPort(o.AggregatorAddress, true), "aggregator.address", o.AggregatorAddress, "it must be host:port, or empty")
	check(o.KubeletSocketPath != "", "kubelet.socket-path", o.KubeletSocketPath, "it must be a path")
	check(len(o.KubeletResourceNames) > 0 && !slices.Contains(o.KubeletResourceNames, ""), "kubelet.resource-names",
		o.KubeletResourceNames, "it must be at least one name, none of them empty")
	check(o.NodeName != "", "node-name", o.NodeName, "it must be the name of the Kubernetes node")
	check(o.SamplerInterval >= minInterval && o.SamplerInterval <= sampler.MaxReportInterval, "sampler.interval", o.SamplerInterval,
		fmt.Sprintf("it must be from %v to %v", minInterval, sampler.MaxReportInterval))
	check(o.SpoolMaxBatches >= 1, "spool.max-batches", o.SpoolMaxBatches, "it must be 1 or more")
	check(o.Listener != nil || isHostPort(o.WebListenAddress, false), "web.listen-address", o.WebListenAddress, "it must be host:port or :port")
	return errors.Join(wrong...)
}

func isHostPort(address string, needHost bool) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil || (needHost && host == "") {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && (n > 0 || !needHost) // port 0 listens on a free one
}
