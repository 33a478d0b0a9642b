// Package app is where the aggregator's rooms meet.
//
//	agents ─ gRPC ─► ingest ─► storage (durable, then acknowledged)
//	                    └────► live ─► controller ─► scale subresource
//	live ─► recorder ─► storage ─► forecast ─► controller ─► status, metrics, page
//	                       ├◄─────── ledger ◄─────┼─ (what was forecast, and how it compares with what came)
//	                       ├◄─────── diary ◄──────┘  (what was decided, and why)
//	                       └─► report ─► page, metricsapi
package app

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/foretide/foretide/aggregator/controller"
	"github.com/foretide/foretide/aggregator/external"
	"github.com/foretide/foretide/aggregator/ingest"
	"github.com/foretide/foretide/aggregator/query"
)

// Options are the flags of `aggregator serve`; each field's comment names its flag.
type Options struct {
	StoragePath       string        // storage.path
	RawRetention      time.Duration // storage.raw-retention
	RawMaxPercentage  float64       // storage.raw-max-percentage
	RawMaxBytes       int64         // storage.raw-max-bytes
	WorkloadRetention time.Duration // storage.workload-retention
	IngestAddress     string        // ingest.listen-address
	IngestTokenFile   string        // ingest.token-file
	ReportInterval    time.Duration // ingest.report-interval
	MaxReportInterval time.Duration // ingest.max-report-interval
	SamplesPerSecond  float64       // ingest.samples-per-second
	TLSCertFile       string        // tls.cert-file
	TLSKeyFile        string        // tls.key-file
	TLSNames          string        // tls.names
	WebAddress        string        // web.listen-address
	WebAHPANames      bool          // web.ahpa-names
	HealthAddress     string        // health.listen-address
	MetricsAPIAddress string        // metrics-api.listen-address
	QueryTimeout      time.Duration // query.timeout
	QueryMaxSamples   int           // query.max-samples
	QueryConcurrency  int           // query.max-concurrent
	QueryReceiver     bool          // query.remote-write-receiver
	QueryOwnNames     bool          // query.accept-own-names
	RemoteWriteURL    string        // remote-write.url
	RemoteWriteFile   string        // remote-write.config-file
	EngineURL         string        // engine.url
	EngineHTTPFile    string        // engine.http-config-file
	PeersURL          string        // peers.url
	PeersHTTPFile     string        // peers.http-config-file
	ForecastURL       string        // forecast.url
	ForecastHTTPFile  string        // forecast.http-config-file
	ForecastTimeout   time.Duration // forecast.timeout
	LiveWindow        time.Duration // live.window
	LiveStaleAfter    time.Duration // live.stale-after
	Kubernetes        bool          // kubernetes.enabled
	Kubeconfig        string        // kubernetes.kubeconfig
	Namespace         string        // kubernetes.namespace
	LeaderElection    bool          // kubernetes.leader-election
	SyncInterval      time.Duration // controller.sync-interval
	PlaceholderImage  string        // placeholders.image
	PoliciesPath      string        // policies.path
	LogLevel          slog.Level    // log.level

	// Version is shown in metrics and on the page; it is no flag.
	Version string
	// Listen opens the address that a flag names; nil listens on TCP. It is no flag.
	Listen func(flag, address string) (net.Listener, error)
}

// DefaultOptions are the options without any flag.
func DefaultOptions() Options {
	return Options{
		StoragePath:       "/var/lib/foretide",
		RawRetention:      7 * 24 * time.Hour,
		RawMaxPercentage:  60,
		WorkloadRetention: 90 * 24 * time.Hour,
		IngestAddress:     ":9500",
		ReportInterval:    time.Second,
		MaxReportInterval: 15 * time.Second,
		SamplesPerSecond:  ingest.DefaultSamplesPerSecond,
		WebAddress:        ":8443",
		HealthAddress:     ":8081",
		QueryTimeout:      query.DefaultTimeout,
		QueryMaxSamples:   query.DefaultMaxSamples,
		ForecastTimeout:   external.DefaultTimeout,
		LiveWindow:        10 * time.Second,
		LiveStaleAfter:    30 * time.Second,
		Kubernetes:        true,
		Namespace:         "foretide-system",
		LeaderElection:    true,
		SyncInterval:      2 * time.Second,
		PlaceholderImage:  controller.DefaultPlaceholderImage,
		Version:           "dev",
	}
}

// Register binds the options to their flags.
func (o *Options) Register(f *flag.FlagSet) {
	f.StringVar(&o.StoragePath, "storage.path", o.StoragePath, "`directory` of the history")
	f.DurationVar(&o.RawRetention, "storage.raw-retention", o.RawRetention, "how long readings of devices and pods are kept")
	f.Float64Var(&o.RawMaxPercentage, "storage.raw-max-percentage", o.RawMaxPercentage, "how much of the file system readings of devices and pods may take before the oldest go, in `percent`, 0 to 90; 0 is no limit")
	f.Int64Var(&o.RawMaxBytes, "storage.raw-max-bytes", o.RawMaxBytes, "how many `bytes` readings of devices and pods may take before the oldest go, instead of --storage.raw-max-percentage; 0 is no limit")
	f.DurationVar(&o.WorkloadRetention, "storage.workload-retention", o.WorkloadRetention, "how long the demand of workloads is kept; forecasts use up to 28 days of it")
	f.StringVar(&o.IngestAddress, "ingest.listen-address", o.IngestAddress, "`host:port` to take agents on (gRPC over TLS)")
	f.StringVar(&o.IngestTokenFile, "ingest.token-file", o.IngestTokenFile, "`file` with the token agents must present, for use outside Kubernetes; empty: their ServiceAccount tokens are reviewed by the API server")
	f.DurationVar(&o.ReportInterval, "ingest.report-interval", o.ReportInterval, "how often agents shall report as long as they are few, 1s to 1m")
	f.DurationVar(&o.MaxReportInterval, "ingest.max-report-interval", o.MaxReportInterval, "how seldom they may be asked to report when they are many, up to half of --live.stale-after")
	f.Float64Var(&o.SamplesPerSecond, "ingest.samples-per-second", o.SamplesPerSecond, "`values` all agents together shall send, 100 or more: beyond that they are asked to report less often. 20000 are 50 GB in 7 days")
	f.StringVar(&o.TLSCertFile, "tls.cert-file", o.TLSCertFile, "`file` with the serving certificate (PEM); empty: one is made and renewed here")
	f.StringVar(&o.TLSKeyFile, "tls.key-file", o.TLSKeyFile, "`file` with the key of the serving certificate (PEM)")
	f.StringVar(&o.TLSNames, "tls.names", o.TLSNames, "further DNS names or addresses of the certificate that is made here, as a comma-separated `list`")
	f.StringVar(&o.WebAddress, "web.listen-address", o.WebAddress, "`host:port` to serve the page and /metrics on: plain HTTP without a login on a loopback address, otherwise HTTPS for those who may get that path (Kubernetes RBAC, nonResourceURLs)")
	f.BoolVar(&o.WebAHPANames, "web.ahpa-names", o.WebAHPANames, "show policies at /metrics under the names of Alibaba Cloud's AHPA too (ahpa_requested_pods …, labels namespace and name): six series more for each")
	f.StringVar(&o.HealthAddress, "health.listen-address", o.HealthAddress, "`host:port` to serve /healthz and /readyz on (plain HTTP, no data)")
	f.StringVar(&o.MetricsAPIAddress, "metrics-api.listen-address", o.MetricsAPIAddress, "`host:port` to serve the aggregated API metrics.foretide.dev on, for the Kubernetes API server (TLS; deploy/components/metrics-api); empty: it is not served")
	f.DurationVar(&o.QueryTimeout, "query.timeout", o.QueryTimeout, "how long a PromQL request may take, waiting for its turn included")
	f.IntVar(&o.QueryMaxSamples, "query.max-samples", o.QueryMaxSamples, "how many `samples` a query may hold in memory, 16 bytes each")
	f.IntVar(&o.QueryConcurrency, "query.max-concurrent", o.QueryConcurrency, "how many `queries` run at a time, others wait; 0: one per core, at least 2")
	f.BoolVar(&o.QueryReceiver, "query.remote-write-receiver", o.QueryReceiver, "take remote writes (1.0 and 2.0) at /api/v1/write")
	f.BoolVar(&o.QueryOwnNames, "query.accept-own-names", o.QueryOwnNames, "take series whose names begin with foretide_ from remote writers, as another Foretide's are")
	f.StringVar(&o.RemoteWriteURL, "remote-write.url", o.RemoteWriteURL, "`URL` to send all of the project's own series on to (remote write 1.0), such as http://mimir/api/v1/push; empty: none")
	f.StringVar(&o.RemoteWriteFile, "remote-write.config-file", o.RemoteWriteFile, "`file` with Prometheus' own remote_write (and global.external_labels), for logins, 2.0, relabeling; instead of --remote-write.url")
	f.StringVar(&o.EngineURL, "engine.url", o.EngineURL, "`URL` of the engine that all shards write to, read with PromQL: decisions are made from it, for agents with --aggregator.copies; empty: this aggregator gets everything")
	f.StringVar(&o.EngineHTTPFile, "engine.http-config-file", o.EngineHTTPFile, "`file` with the HTTP client settings of Prometheus' configuration (basic_auth, tls_config, http_headers …) for --engine.url")
	f.StringVar(&o.PeersURL, "peers.url", o.PeersURL, "`URL` whose host stands for all replicas, or a comma-separated list of them: demand that was missed here is read from the others; empty: there are none")
	f.StringVar(&o.PeersHTTPFile, "peers.http-config-file", o.PeersHTTPFile, "`file` with HTTP client settings for --peers.url; empty: the pod's ServiceAccount, and the CA that is made here")
	f.StringVar(&o.ForecastURL, "forecast.url", o.ForecastURL, "`URL` of a forecaster that is asked for each forecast ahead of time, one task of JSON a request; ours stand in where it is late or wrong; empty: there is none")
	f.StringVar(&o.ForecastHTTPFile, "forecast.http-config-file", o.ForecastHTTPFile, "`file` with the HTTP client settings of Prometheus' configuration (basic_auth, tls_config, http_headers …) for --forecast.url")
	f.DurationVar(&o.ForecastTimeout, "forecast.timeout", o.ForecastTimeout, "how long one answer of --forecast.url may take, 100ms to 1m")
	f.DurationVar(&o.LiveWindow, "live.window", o.LiveWindow, "utilization is averaged over this long before it is acted on, 1s to 2m; a surge beyond its noise of the last hour counts sooner")
	f.DurationVar(&o.LiveStaleAfter, "live.stale-after", o.LiveStaleAfter, "telemetry older than this is unknown, which holds or raises replicas and never lowers them")
	f.BoolVar(&o.Kubernetes, "kubernetes.enabled", o.Kubernetes, "find policies and pods in Kubernetes, and scale; false: only observe, with policies from files")
	f.StringVar(&o.Kubeconfig, "kubernetes.kubeconfig", o.Kubeconfig, "kubeconfig `file`; empty: the pod's ServiceAccount")
	f.StringVar(&o.Namespace, "kubernetes.namespace", o.Namespace, "`name` of the aggregator's own namespace; $POD_NAMESPACE is taken where this flag is not given")
	f.BoolVar(&o.LeaderElection, "kubernetes.leader-election", o.LeaderElection, "only the holder of the Lease foretide-aggregator scales")
	f.DurationVar(&o.SyncInterval, "controller.sync-interval", o.SyncInterval, "how often each policy is decided anew, 500ms to 5m; with more than 1000 policies less often, 10s with 5000")
	f.StringVar(&o.PlaceholderImage, "placeholders.image", o.PlaceholderImage, "`image` that placeholder pods run (spec.placeholders): any that does nothing and is run by user 65535")
	f.StringVar(&o.PoliciesPath, "policies.path", o.PoliciesPath, "`path` of a file or directory of policies (YAML), with --kubernetes.enabled=false")
	f.Var((*level)(&o.LogLevel), "log.level", "lowest `level` to log: debug, info, warn or error")
}

// Validate returns every flag that is wrong, with its value and what is allowed.
func (o Options) Validate() error {
	var errs []error
	wrong := func(flag string, value any, allowed string) {
		errs = append(errs, fmt.Errorf("--%s is %q: it must be %s", flag, fmt.Sprint(value), allowed))
	}
	o.checkStorage(wrong)
	o.checkIntervals(wrong)
	o.checkQueries(wrong)
	o.checkAddresses(wrong)
	o.checkSources(wrong)
	return errors.Join(errs...)
}

func (o Options) checkStorage(wrong func(flag string, value any, allowed string)) {
	if o.StoragePath == "" {
		wrong("storage.path", o.StoragePath, "a directory")
	}
	if !(o.RawMaxPercentage >= 0 && o.RawMaxPercentage <= 90) {
		wrong("storage.raw-max-percentage", o.RawMaxPercentage, "0 to 90")
	}
	if o.RawRetention < minRetention {
		wrong("storage.raw-retention", o.RawRetention, "24h or more")
	}
	if o.WorkloadRetention < minRetention {
		wrong("storage.workload-retention", o.WorkloadRetention, "24h or more")
	}
	if o.RawMaxBytes < 0 {
		wrong("storage.raw-max-bytes", o.RawMaxBytes, "0 or more")
	}
}

func (o Options) checkIntervals(wrong func(flag string, value any, allowed string)) {
	if o.ReportInterval < time.Second || o.ReportInterval > maxReportInterval {
		wrong("ingest.report-interval", o.ReportInterval, "1s to 1m")
	}
	if o.MaxReportInterval < time.Second || o.MaxReportInterval > maxReportInterval {
		wrong("ingest.max-report-interval", o.MaxReportInterval, "1s to 1m")
	}
	if !(o.SamplesPerSecond >= 100 && o.SamplesPerSecond <= 1e9) {
		wrong("ingest.samples-per-second", o.SamplesPerSecond, "100 to 1e9")
	}
	if o.LiveWindow < time.Second || o.LiveWindow > maxLiveWindow {
		wrong("live.window", o.LiveWindow, "1s to 2m")
	}
	if o.LiveStaleAfter < min(2*o.longestReportInterval(), maxStaleAfter) || o.LiveStaleAfter > maxStaleAfter {
		wrong("live.stale-after", o.LiveStaleAfter, "two of the longest report intervals to 10m")
	}
	if o.ForecastTimeout < 100*time.Millisecond || o.ForecastTimeout > time.Minute {
		wrong("forecast.timeout", o.ForecastTimeout, "100ms to 1m")
	}
	if o.PlaceholderImage == "" {
		wrong("placeholders.image", o.PlaceholderImage, "the name of an image")
	}
	if o.SyncInterval < 500*time.Millisecond || o.SyncInterval > 5*time.Minute {
		wrong("controller.sync-interval", o.SyncInterval, "500ms to 5m")
	}
}

func (o Options) checkQueries(wrong func(flag string, value any, allowed string)) {
	if o.QueryTimeout < time.Second || o.QueryTimeout > 10*time.Minute {
		wrong("query.timeout", o.QueryTimeout, "1s to 10m")
	}
	if o.QueryMaxSamples < 1000 {
		wrong("query.max-samples", o.QueryMaxSamples, "1000 or more")
	}
	if o.QueryConcurrency < 0 {
		wrong("query.max-concurrent", o.QueryConcurrency, "0 or more")
	}
}

// longestReportInterval is what agents may be asked for when they are many.
func (o Options) longestReportInterval() time.Duration {
	return max(o.ReportInterval, o.MaxReportInterval)
}

// rawMaxPercentage gives way to a limit in bytes.
func (o Options) rawMaxPercentage() float64 {
	if o.RawMaxBytes > 0 {
		return 0
	}
	return o.RawMaxPercentage
}

func (o Options) checkAddresses(wrong func(flag string, value any, allowed string)) {
	if (o.TLSCertFile == "") != (o.TLSKeyFile == "") {
		wrong("tls.cert-file", o.TLSCertFile, "given together with --tls.key-file, or neither")
	}
	for _, a := range []struct{ flag, address string }{
		{"ingest.listen-address", o.IngestAddress}, {"web.listen-address", o.WebAddress}, {"health.listen-address", o.HealthAddress},
	} {
		if !isHostPort(a.address) {
			wrong(a.flag, a.address, "host:port or :port")
		}
	}
	if o.MetricsAPIAddress != "" && !isHostPort(o.MetricsAPIAddress) {
		wrong("metrics-api.listen-address", o.MetricsAPIAddress, "host:port or :port, or empty")
	}
	for _, u := range []struct{ flag, url string }{{"remote-write.url", o.RemoteWriteURL}, {"engine.url", o.EngineURL}, {"forecast.url", o.ForecastURL}} {
		if u.url != "" && !isURL(u.url) {
			wrong(u.flag, u.url, "a URL such as http://engine:9090")
		}
	}
	if o.PeersURL != "" && slices.ContainsFunc(splitList(o.PeersURL), func(text string) bool { return !isURL(text) }) {
		wrong("peers.url", o.PeersURL, "a URL such as https://replicas:8443, or a comma-separated list of them")
	}
	if o.RemoteWriteURL != "" && o.RemoteWriteFile != "" {
		wrong("remote-write.url", o.RemoteWriteURL, "empty, or given without --remote-write.config-file")
	}
}

// checkSources looks at where policies and the agents' identities come from.
func (o Options) checkSources(wrong func(flag string, value any, allowed string)) {
	if o.Kubernetes && o.PoliciesPath != "" {
		wrong("policies.path", o.PoliciesPath, "empty, or given with --kubernetes.enabled=false")
	}
	if !o.Kubernetes {
		if o.MetricsAPIAddress != "" {
			wrong("metrics-api.listen-address", o.MetricsAPIAddress, "empty, or given with --kubernetes.enabled")
		}
		if o.PoliciesPath == "" {
			wrong("policies.path", o.PoliciesPath, "a file or directory when --kubernetes.enabled=false")
		}
		if o.IngestTokenFile == "" {
			wrong("ingest.token-file", o.IngestTokenFile, "a file when --kubernetes.enabled=false: nobody else could say who the agents are")
		}
		if !loopback(o.WebAddress) {
			wrong("web.listen-address", o.WebAddress, "a loopback address when --kubernetes.enabled=false: nobody could say who may read")
		}
	}
}

// What the rooms take.
const (
	minRetention      = 24 * time.Hour   // aggregator/storage
	maxReportInterval = time.Minute      // agents report at least this often, whatever they are asked for
	maxLiveWindow     = 2 * time.Minute  // aggregator/live
	maxStaleAfter     = 10 * time.Minute // aggregator/live
)

func isHostPort(address string) bool {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16) // port 0 takes a free one
	return err == nil
}

func isURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// loopback reports whether an address can be reached from this host only.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
