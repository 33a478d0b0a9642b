package app

import (
	"bytes"
	"errors"
	"flag"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"
)

func TestDefaultsAreValid(t *testing.T) {
	if err := DefaultOptions().Validate(); err != nil {
		t.Error(err)
	}
}

func TestEachWrongFlagIsNamedWithItsValueAndWhatIsAllowed(t *testing.T) {
	outside := func(o *Options) {
		o.Kubernetes, o.PoliciesPath, o.IngestTokenFile, o.WebAddress = false, "policies", "token", "127.0.0.1:8443"
	}
	cases := []struct {
		change func(*Options)
		want   string
	}{
		{func(o *Options) { o.StoragePath = "" }, `--storage.path is "": it must be a directory`},
		{func(o *Options) { o.RawRetention = 23 * time.Hour }, `--storage.raw-retention is "23h0m0s": it must be 24h or more`},
		{func(o *Options) { o.WorkloadRetention = time.Hour }, `--storage.workload-retention is "1h0m0s": it must be 24h or more`},
		{func(o *Options) { o.RawMaxPercentage = -1 }, `--storage.raw-max-percentage is "-1": it must be 0 to 90`},
		{func(o *Options) { o.RawMaxPercentage = math.NaN() }, `--storage.raw-max-percentage is "NaN": it must be 0 to 90`},
		{func(o *Options) { o.IngestAddress = "9500" }, `--ingest.listen-address is "9500": it must be host:port or :port`},
		{func(o *Options) { o.WebAddress = ":https-alt" }, `--web.listen-address is ":https-alt": it must be host:port or :port`},
		{func(o *Options) { o.HealthAddress = ":70000" }, `--health.listen-address is ":70000": it must be host:port or :port`},
		{func(o *Options) { o.ReportInterval = 999 * time.Millisecond }, `--ingest.report-interval is "999ms": it must be 1s to 1m`},
		{func(o *Options) { o.ReportInterval, o.LiveStaleAfter = 61*time.Second, 5*time.Minute }, `--ingest.report-interval is "1m1s": it must be 1s to 1m`},
		{func(o *Options) { o.MaxReportInterval = 0 }, `--ingest.max-report-interval is "0s": it must be 1s to 1m`},
		{func(o *Options) { o.MaxReportInterval = 16 * time.Second }, `--live.stale-after is "30s": it must be two of the longest report intervals to 10m`},
		{func(o *Options) { o.SamplesPerSecond = math.NaN() }, `--ingest.samples-per-second is "NaN": it must be 100 to 1e9`},
		{func(o *Options) { o.RawMaxBytes = -1 }, `--storage.raw-max-bytes is "-1": it must be 0 or more`},
		{func(o *Options) { o.QueryTimeout = 0 }, `--query.timeout is "0s": it must be 1s to 10m`},
		{func(o *Options) { o.QueryMaxSamples = 1 }, `--query.max-samples is "1": it must be 1000 or more`},
		{func(o *Options) { o.QueryConcurrency = -1 }, `--query.max-concurrent is "-1": it must be 0 or more`},
		{func(o *Options) { o.EngineURL = "mimir:9090" }, `--engine.url is "mimir:9090": it must be a URL such as http://engine:9090`},
		{func(o *Options) { o.ForecastURL = "model:8080" }, `--forecast.url is "model:8080": it must be a URL such as http://engine:9090`},
		{func(o *Options) { o.ForecastTimeout = 0 }, `--forecast.timeout is "0s": it must be 100ms to 1m`},
		{func(o *Options) { o.PeersURL = "ftp://a" }, `--peers.url is "ftp://a": it must be a URL such as https://replicas:8443, or a comma-separated list of them`},
		{func(o *Options) { o.PeersURL = "http://a:1,b:1" }, `--peers.url is "http://a:1,b:1": it must be a URL such as https://replicas:8443, or a comma-separated list of them`},
		{func(o *Options) { o.RemoteWriteURL, o.RemoteWriteFile = "http://a", "b" }, `--remote-write.url is "http://a": it must be empty, or given without --remote-write.config-file`},
		{func(o *Options) { o.TLSCertFile = "tls.crt" }, `--tls.cert-file is "tls.crt": it must be given together with --tls.key-file, or neither`},
		{func(o *Options) { o.TLSKeyFile = "tls.key" }, `--tls.cert-file is "": it must be given together with --tls.key-file, or neither`},
		{func(o *Options) { o.LiveWindow = 0 }, `--live.window is "0s": it must be 1s to 2m`},
		{func(o *Options) { o.LiveWindow = 121 * time.Second }, `--live.window is "2m1s": it must be 1s to 2m`},
		{func(o *Options) { o.ReportInterval = 16 * time.Second }, `--live.stale-after is "30s": it must be two of the longest report intervals to 10m`},
		{func(o *Options) { o.LiveStaleAfter = 11 * time.Minute }, `--live.stale-after is "11m0s": it must be two of the longest report intervals to 10m`},
		{func(o *Options) { o.SyncInterval = time.Millisecond }, `--controller.sync-interval is "1ms": it must be 500ms to 5m`},
		{func(o *Options) { o.SyncInterval = time.Hour }, `--controller.sync-interval is "1h0m0s": it must be 500ms to 5m`},
		{func(o *Options) { o.PoliciesPath = "policies" }, `--policies.path is "policies": it must be empty, or given with --kubernetes.enabled=false`},
		{func(o *Options) { outside(o); o.PoliciesPath = "" }, `--policies.path is "": it must be a file or directory when --kubernetes.enabled=false`},
		{func(o *Options) { outside(o); o.IngestTokenFile = "" }, `--ingest.token-file is "": it must be a file when --kubernetes.enabled=false: nobody else could say who the agents are`},
		{func(o *Options) { outside(o); o.WebAddress = ":8443" }, `--web.listen-address is ":8443": it must be a loopback address when --kubernetes.enabled=false: nobody could say who may read`},
	}
	for _, c := range cases {
		o := DefaultOptions()
		c.change(&o)
		if err := o.Validate(); err == nil || err.Error() != c.want {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
	}
	o := DefaultOptions()
	outside(&o)
	o.PeersURL = "http://127.0.0.1:8443, https://replicas:8443"
	if err := o.Validate(); err != nil {
		t.Errorf("outside Kubernetes: %v", err)
	}
	o.StoragePath, o.LiveWindow, o.HealthAddress = "", 0, ""
	if err := o.Validate(); err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("three wrong flags are not three lines: %v", err)
	}
}

func TestOnlyAddressesOfThisHostAreLoopback(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:8443": true, "127.9.9.9:0": true, "[::1]:8443": true, "localhost:8443": true,
		":8443": false, "0.0.0.0:8443": false, "[::]:8443": false, "192.168.0.1:8443": false, "example.org:8443": false,
		"localhost.example.org:8443": false, "127.0.0.1": false, "": false,
	} {
		if got := loopback(address); got != want {
			t.Errorf("loopback(%q) = %v", address, got)
		}
	}
}

func TestFlagsSetTheOptions(t *testing.T) {
	o := DefaultOptions()
	f := flag.NewFlagSet("aggregator serve", flag.ContinueOnError)
	o.Register(f)
	args := []string{"--storage.path=/history", "--live.window=20s", "--kubernetes.enabled=false", "--log.level=WARN"}
	if err := Parse(f, "", args, nil); err != nil {
		t.Fatal(err)
	}
	if o.StoragePath != "/history" || o.LiveWindow != 20*time.Second || o.Kubernetes || o.LogLevel != slog.LevelWarn {
		t.Errorf("%+v", o)
	}
}

func TestWrongFlagsAreNamed(t *testing.T) {
	for arg, want := range map[string]string{
		"--log.level=loud": `invalid value "loud" for flag -log.level: it must be debug, info, warn or error (aggregator serve --help lists the flags)`,
		"--no-such-flag":   `flag provided but not defined: -no-such-flag (aggregator serve --help lists the flags)`,
		"import":           `argument "import": there are only flags (aggregator serve --help lists the flags)`,
	} {
		var o Options
		f := flag.NewFlagSet("aggregator serve", flag.ContinueOnError)
		o.Register(f)
		var out bytes.Buffer
		if err := Parse(f, "", []string{arg}, &out); err == nil || err.Error() != want || errors.Is(err, flag.ErrHelp) || out.Len() > 0 {
			t.Errorf("%s: error %v, output %q", arg, err, out.String())
		}
	}
}
