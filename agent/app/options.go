package app

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/exporter-toolkit/web"

	"github.com/foretide/foretide/agent/kubelet"
	"github.com/foretide/foretide/agent/process"
	"github.com/foretide/foretide/agent/sampler"
	"github.com/foretide/foretide/agent/spool"
	"github.com/foretide/foretide/agent/stream"
)

// minInterval keeps the kubelet's rate limit (100 questions a second for all of its clients together) and the driver out of
// reach.
const minInterval = 100 * time.Millisecond

// The bounds of the scrape interval: servers are not to be busied by being asked, and demand of minutes ago is none.
const minScrapeInterval, maxScrapeInterval = time.Second, time.Minute

// minSpoolBytes is a few batches of the largest node; maxSpoolAge is a little less than how late an aggregator takes a batch.
const (
	minSpoolBytes = 1 << 20
	maxSpoolAge   = 110 * time.Minute
)

// Options is everything that can be set. Fields are named as the flags: --kubelet.socket-path is KubeletSocketPath.
type Options struct {
	// AggregatorAddress is a comma-separated list of host:port; every address that a host has is an aggregator. Empty sends nothing
	// and serves /metrics alone.
	AggregatorAddress string
	// AggregatorCAFile holds the authorities (PEM) that may have signed its certificate; empty trusts the system's.
	AggregatorCAFile string
	// AggregatorCopies is how many of the aggregators get this node's batches, chosen by its name; 0 is all.
	AggregatorCopies int
	// AggregatorServerName is the name in its certificate; empty takes the host of AggregatorAddress.
	AggregatorServerName string
	// AggregatorTokenFile holds the token to show it; empty shows none.
	AggregatorTokenFile string
	// DCGMAddress is where the DCGM host engine listens, and DCGMLibraryPath the libdcgm to load; empty looks in the usual places.
	DCGMAddress, DCGMLibraryPath string
	// DevicesSource is where the devices are read: nvml or dcgm.
	DevicesSource string
	// HealthListenAddress is where /healthz and /readyz are served.
	HealthListenAddress string
	// HostProcPath, HostPodLogsPath and HostContainerLogsPath are where the host's /proc, /var/log/pods and /var/log/containers are.
	HostProcPath, HostPodLogsPath, HostContainerLogsPath string
	// KubeletDRADrivers are the DRA drivers whose devices are GPUs.
	KubeletDRADrivers []string
	// KubeletHAMi has the annotation of HAMi's scheduler believed over the kubelet's device ids.
	KubeletHAMi bool
	// KubeletPodsSocketPath is the socket of the kubelet's Pods API.
	KubeletPodsSocketPath string
	// KubeletResourceNames are the extended resources that are GPUs; a name that ends in * stands for all that begin so.
	KubeletResourceNames []string
	// KubeletSocketPath is the kubelet's pod-resources socket.
	KubeletSocketPath string
	// NodeName is the Kubernetes node this is.
	NodeName string
	// NVMLLibraryPath is the NVML library to load; empty looks in the usual places.
	NVMLLibraryPath string
	// NVMLReleaseFile is the file that has the driver given back for as long as it exists; empty looks for none.
	NVMLReleaseFile string
	// SamplerInterval is the time between two samples, and the shortest between two batches.
	SamplerInterval time.Duration
	// ScrapeInterval is the time between two scrapes of an inference server; 0 scrapes none.
	ScrapeInterval time.Duration
	// ScrapeMetrics are the names of the metrics taken from inference servers; empty takes those of the servers that are known.
	ScrapeMetrics []string
	// SpoolPath is the folder of what no aggregator has acknowledged yet; empty keeps it in memory alone.
	SpoolPath string
	// SpoolMaxMemoryBytes and SpoolMaxDiskBytes bound it, SpoolMaxAge how old a batch may become.
	SpoolMaxMemoryBytes, SpoolMaxDiskBytes int
	SpoolMaxAge                            time.Duration
	// WebConfigFile is the exporter-toolkit's file of TLS and passwords for /metrics; empty serves it in the clear to everybody.
	WebConfigFile string
	// WebDCGMNames shows the devices under DCGM's names as well.
	WebDCGMNames bool
	// WebListenAddress is where /metrics is served.
	WebListenAddress string

	// Version is the agent's own; it is no flag.
	Version string
	// Listener and HealthListener are used instead of listening on the two addresses when they are set; they are no flags.
	Listener, HealthListener net.Listener
}

// DefaultOptions returns what holds when no flag is given. The node's name has no default here.
func DefaultOptions() Options {
	return Options{
		DCGMAddress:           "localhost:5555",
		DevicesSource:         sourceNVML,
		HealthListenAddress:   ":9401",
		HostProcPath:          process.DefaultProcRoot,
		HostPodLogsPath:       process.DefaultPodLogs,
		HostContainerLogsPath: process.DefaultContainerLogs,
		KubeletDRADrivers:     kubelet.DefaultDRADrivers(),
		KubeletPodsSocketPath: kubelet.DefaultPodsSocketPath,
		KubeletResourceNames:  kubelet.DefaultResourceNames(),
		KubeletSocketPath:     kubelet.DefaultSocketPath,
		NVMLReleaseFile:       "/run/foretide/release-driver",
		SamplerInterval:       time.Second,
		ScrapeInterval:        5 * time.Second,
		SpoolMaxMemoryBytes:   spool.DefaultMaxMemoryBytes,
		SpoolMaxDiskBytes:     spool.DefaultMaxDiskBytes,
		SpoolMaxAge:           spool.DefaultMaxAge,
		WebDCGMNames:          true,
		WebListenAddress:      ":9400",
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
	check(o.AggregatorAddress == "" || areAddresses(o.AggregatorAddress), "aggregator.address", o.AggregatorAddress,
		"it must be host:port, or a comma-separated list of them, or empty")
	check(o.AggregatorCopies >= 0, "aggregator.copies", o.AggregatorCopies, "it must be 1 or more, or 0 for all")
	check(o.DevicesSource == sourceNVML || o.DevicesSource == sourceDCGM, "devices.source", o.DevicesSource, "it must be nvml or dcgm")
	check(o.DevicesSource != sourceDCGM || o.DCGMAddress != "", "dcgm.address", o.DCGMAddress, "it must be host:port or unix:///path")
	check(o.HealthListener != nil || isHostPort(o.HealthListenAddress), "health.listen-address", o.HealthListenAddress, "it must be host:port or :port")
	check(o.HostProcPath != "", "host.proc-path", o.HostProcPath, "it must be a path")
	check(!slices.Contains(o.KubeletDRADrivers, ""), "kubelet.dra-drivers", o.KubeletDRADrivers, "none of the names may be empty")
	check(o.KubeletPodsSocketPath != "", "kubelet.pods-socket-path", o.KubeletPodsSocketPath, "it must be a path")
	check(len(o.KubeletResourceNames) > 0 && !slices.Contains(o.KubeletResourceNames, ""), "kubelet.resource-names",
		o.KubeletResourceNames, "it must be at least one name, none of them empty")
	check(o.KubeletSocketPath != "", "kubelet.socket-path", o.KubeletSocketPath, "it must be a path")
	check(o.NodeName != "", "node-name", o.NodeName, "it must be the name of the Kubernetes node")
	check(o.SamplerInterval >= minInterval && o.SamplerInterval <= sampler.MaxReportInterval, "sampler.interval", o.SamplerInterval,
		fmt.Sprintf("it must be from %v to %v", minInterval, sampler.MaxReportInterval))
	check(o.ScrapeInterval == 0 || o.ScrapeInterval >= minScrapeInterval && o.ScrapeInterval <= maxScrapeInterval, "scrape.interval", o.ScrapeInterval,
		fmt.Sprintf("it must be from %v to %v, or 0 to scrape nothing", minScrapeInterval, maxScrapeInterval))
	check(!slices.ContainsFunc(o.ScrapeMetrics, isNoForeignMetric), "scrape.metrics", o.ScrapeMetrics,
		"each must be a metric's name ([a-zA-Z_:][a-zA-Z0-9_:]*) that does not begin with foretide_")
	check(o.SpoolMaxMemoryBytes >= minSpoolBytes, "spool.max-memory-bytes", o.SpoolMaxMemoryBytes, fmt.Sprintf("it must be %d or more", minSpoolBytes))
	check(o.SpoolMaxDiskBytes >= minSpoolBytes, "spool.max-disk-bytes", o.SpoolMaxDiskBytes, fmt.Sprintf("it must be %d or more", minSpoolBytes))
	check(o.SpoolMaxAge >= time.Minute && o.SpoolMaxAge <= maxSpoolAge, "spool.max-age", o.SpoolMaxAge, fmt.Sprintf("it must be from 1m0s to %v", maxSpoolAge))
	if err := web.Validate(o.WebConfigFile); err != nil {
		check(false, "web.config-file", o.WebConfigFile, err.Error())
	}
	check(o.Listener != nil || isHostPort(o.WebListenAddress), "web.listen-address", o.WebListenAddress, "it must be host:port or :port")
	return errors.Join(wrong...)
}

var metricName = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*$`)

// isNoForeignMetric: the aggregator keeps what servers say under the servers' own names, beside its own.
func isNoForeignMetric(name string) bool {
	return !metricName.MatchString(name) || strings.HasPrefix(name, "foretide_")
}

func areAddresses(list string) bool {
	_, err := stream.ParseAddresses(list)
	return err == nil
}

func isHostPort(address string) bool {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16) // port 0 listens on a free one
	return err == nil
}
