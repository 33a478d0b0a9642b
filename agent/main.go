// Command agent reads the GPUs of a Kubernetes node, says which pod uses them how much, and sends that to the aggregator.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/foretide/foretide/agent/app"
)

// gcPercent trades processor time for memory, both of which the agent needs on every node: with 64 pods a collection after 80 per cent of
// garbage costs 0.7 MiB more than one after 40, and a sixth of the processor time less. $GOGC overrides it.
const gcPercent = 80

// maxProcs is how many threads run Go at a time. The work of a second is done in a few milliseconds; more of them would wake each other,
// and each has caches of its own, of which a node of 128 cores would have 128. $GOMAXPROCS overrides it.
const maxProcs = 1

// version is set by the linker.
var version = "dev"

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run returns the exit code: 0 after a stop, 1 when the agent could not run, 2 when the flags are wrong.
func run(args []string, out, errOut io.Writer) int {
	c := newCommand()
	err := c.flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		c.help(out)
		return 0
	case err == nil && c.flags.NArg() > 0:
		err = fmt.Errorf("argument %q: there are only flags", c.flags.Arg(0))
	}
	var level slog.Level
	if err == nil {
		level, err = parseLevel(c.logLevel)
	}
	if err != nil {
		fmt.Fprintf(errOut, "%v\nagent --help lists the flags.\n", err)
		return 2
	}
	if c.version {
		fmt.Fprintln(out, version)
		return 0
	}
	if err := c.options.Validate(); err != nil {
		fmt.Fprintln(errOut, err)
		return 2
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(maxProcs)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	logger := slog.New(slog.NewTextHandler(errOut, &slog.HandlerOptions{Level: level}))
	err = app.Run(ctx, c.options, logger)
	if errors.Is(err, app.ErrAgain) {
		logger.Info("agent begins anew", "reason", err)
		err = syscall.Exec("/proc/self/exe", os.Args, os.Environ()) // returns only when it failed
	}
	if err != nil {
		logger.Error("agent ends", "error", err)
		return 1
	}
	return 0
}

// command is the flags and where they go.
type command struct {
	flags    *flag.FlagSet
	options  app.Options
	logLevel string
	version  bool
}

func newCommand() *command {
	c := &command{flags: flag.NewFlagSet("agent", flag.ContinueOnError), options: app.DefaultOptions()}
	c.flags.SetOutput(io.Discard)
	o, f := &c.options, c.flags
	o.Version = version
	o.NodeName = nodeName()
	f.StringVar(&o.AggregatorAddress, "aggregator.address", o.AggregatorAddress, "`host:port` of the aggregator, or a comma-separated list; every address a host has is a replica, and each gets everything; empty sends nothing and only serves /metrics")
	f.StringVar(&o.AggregatorCAFile, "aggregator.ca-file", o.AggregatorCAFile, "`file` with the authorities (PEM) to trust for the aggregator's certificate, read at each connection; empty trusts the system's")
	f.IntVar(&o.AggregatorCopies, "aggregator.copies", o.AggregatorCopies, "to how many of the replicas this node's batches go, a `number` chosen by rendezvous hashing of its name; 0: to all. With it N aggregators share the nodes, and each needs --engine.url")
	f.StringVar(&o.AggregatorServerName, "aggregator.server-name", o.AggregatorServerName, "`name` the aggregator's certificate must have; empty takes the host of --aggregator.address")
	f.StringVar(&o.AggregatorTokenFile, "aggregator.token-file", o.AggregatorTokenFile, "`file` with the bearer token to show the aggregator, read at each connection; empty shows none")
	f.StringVar(&o.DCGMAddress, "dcgm.address", o.DCGMAddress, "`address` of the DCGM host engine, as host:port or unix:///path, for --devices.source=dcgm")
	f.StringVar(&o.DCGMLibraryPath, "dcgm.library-path", o.DCGMLibraryPath, "`path` of libdcgm.so.4; empty looks in the usual places")
	f.StringVar(&o.DevicesSource, "devices.source", o.DevicesSource, "`where` the devices are read: nvml, or dcgm for a host engine, which has profiling metrics of GPUs before Hopper but cannot tell the pods that share a GPU apart")
	f.StringVar(&o.HealthListenAddress, "health.listen-address", o.HealthListenAddress, "`host:port` to serve /healthz and /readyz on, in the clear")
	f.StringVar(&o.HostContainerLogsPath, "host.container-logs-path", o.HostContainerLogsPath, "`folder` of the host's container logs; names in it tell whose a process is where the kubelet has no Pods API")
	f.StringVar(&o.HostPodLogsPath, "host.pod-logs-path", o.HostPodLogsPath, "`folder` of the host's pod logs, for the same")
	f.StringVar(&o.HostProcPath, "host.proc-path", o.HostProcPath, "`folder` of the host's /proc; the agent's own is the host's in a pod with hostPID")
	f.Var((*list)(&o.KubeletDRADrivers), "kubelet.dra-drivers", "DRA drivers whose devices are GPUs, as a comma-separated `list`")
	f.BoolVar(&o.KubeletHAMi, "kubelet.hami", o.KubeletHAMi, "believe HAMi's annotation on pods over the kubelet's device ids; only where HAMi's scheduler runs, for whoever may create pods can write it")
	f.StringVar(&o.KubeletPodsSocketPath, "kubelet.pods-socket-path", o.KubeletPodsSocketPath, "`path` of the socket of the kubelet's Pods API; a kubelet without it is no error")
	f.Var((*list)(&o.KubeletResourceNames), "kubelet.resource-names", "extended resources that are GPUs, as a comma-separated `list`; a name that ends in * stands for all that begin so")
	f.StringVar(&o.KubeletSocketPath, "kubelet.socket-path", o.KubeletSocketPath, "`path` of the kubelet's pod-resources socket")
	f.StringVar(&c.logLevel, "log.level", "info", "lowest `level` to log: debug, info, warn or error")
	f.StringVar(&o.NodeName, "node-name", o.NodeName, "`name` of the Kubernetes node (default $NODE_NAME, else the host name)")
	f.StringVar(&o.NVMLLibraryPath, "nvml.library-path", o.NVMLLibraryPath, "`path` of libnvidia-ml.so.1; empty looks in the usual places")
	f.StringVar(&o.NVMLReleaseFile, "nvml.release-file", o.NVMLReleaseFile, "while this `file` exists NVML is given back, so that the driver can be unloaded; empty looks for none")
	f.DurationVar(&o.SamplerInterval, "sampler.interval", o.SamplerInterval, "`time` between two samples, 100ms to 1m")
	f.DurationVar(&o.ScrapeInterval, "scrape.interval", o.ScrapeInterval, "`time` between two scrapes of an inference server on this node, 1s to 1m; 0 scrapes none")
	f.Var((*list)(&o.ScrapeMetrics), "scrape.metrics", "names of the metrics to take from inference servers, as a comma-separated `list`; empty takes those of vLLM, Triton, TGI and SGLang")
	f.DurationVar(&o.SpoolMaxAge, "spool.max-age", o.SpoolMaxAge, "how old a batch may become that an aggregator has not acknowledged, 1m to 1h50m; older ones are dropped and counted")
	f.IntVar(&o.SpoolMaxDiskBytes, "spool.max-disk-bytes", o.SpoolMaxDiskBytes, "how many `bytes` the files in --spool.path may have; the oldest batches are dropped and counted")
	f.IntVar(&o.SpoolMaxMemoryBytes, "spool.max-memory-bytes", o.SpoolMaxMemoryBytes, "how many `bytes` of batches may be in memory alone, without --spool.path or while its disk is full")
	f.StringVar(&o.SpoolPath, "spool.path", o.SpoolPath, "`folder` for batches that are not acknowledged, which then outlive the agent; empty keeps them in memory")
	f.BoolVar(&c.version, "version", false, "print the version and exit")
	f.StringVar(&o.WebConfigFile, "web.config-file", o.WebConfigFile, "`file` with TLS and passwords for /metrics, in the form of Prometheus' exporter-toolkit; empty serves it in the clear to everybody")
	f.BoolVar(&o.WebDCGMNames, "web.dcgm-names", o.WebDCGMNames, "show the devices under DCGM's names as well; false leaves the DCGM_* series out, for nodes where dcgm-exporter runs too")
	f.StringVar(&o.WebListenAddress, "web.listen-address", o.WebListenAddress, "`host:port` to serve /metrics on")
	return c
}

// help prints every flag with its default. The node's name depends on the host, so it is told in words.
func (c *command) help(out io.Writer) {
	fmt.Fprintln(out, "Usage: agent [flags]\n\nReads the GPUs of this node, says which pod uses them how much, and sends that to the aggregator.")
	c.flags.VisitAll(func(f *flag.Flag) {
		value, usage := flag.UnquoteUsage(f)
		fmt.Fprintf(out, "\n  --%s", f.Name)
		if value != "" {
			fmt.Fprintf(out, " %s", value)
		}
		if f.DefValue != "" && f.DefValue != "false" && f.Name != "node-name" {
			fmt.Fprintf(out, " (default %s)", f.DefValue)
		}
		fmt.Fprintf(out, "\n        %s\n", usage)
	})
}

func nodeName() string {
	if name := os.Getenv("NODE_NAME"); name != "" {
		return name
	}
	name, err := os.Hostname()
	if err != nil {
		return "" // then the flag must be given
	}
	return strings.ToLower(name) // as the kubelet does
}

func parseLevel(text string) (slog.Level, error) {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	level, ok := levels[text]
	if !ok {
		return 0, fmt.Errorf("--log.level is %q: it must be debug, info, warn or error", text)
	}
	return level, nil
}

// list is a comma-separated flag.
type list []string

// String implements flag.Value.
func (l *list) String() string { return strings.Join(*l, ",") }

// Set implements flag.Value.
func (l *list) Set(text string) error {
	*l = nil
	if text != "" {
		*l = strings.Split(text, ",")
	}
	return nil
}
