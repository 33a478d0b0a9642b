package app

import (
	"strings"
	"testing"
	"time"
)

func TestDefaultsNeedTheNodesNameAlone(t *testing.T) {
	o := DefaultOptions()
	if err := o.Validate(); err == nil || err.Error() != `--node-name is "": it must be the name of the Kubernetes node` {
		t.Errorf("error = %v", err)
	}
	o.NodeName = "node-1"
	if err := o.Validate(); err != nil {
		t.Error(err)
	}
}

func TestEveryWrongOptionIsNamed(t *testing.T) {
	err := Options{AggregatorAddress: ":9500", AggregatorCopies: -1, SamplerInterval: time.Hour, WebListenAddress: "x"}.Validate()
	for _, want := range []string{
		`--aggregator.address is ":9500": it must be host:port`,
		`--kubelet.socket-path is "": it must be a path`,
		`--kubelet.resource-names is "[]": it must be at least one`,
		`--node-name is ""`,
		`--sampler.interval is "1h0m0s": it must be from 100ms to 1m0s`,
		`--aggregator.copies is "-1": it must be 1 or more, or 0`,
		`--spool.max-memory-bytes is "0": it must be 1048576 or more`,
		`--spool.max-disk-bytes is "0": it must be 1048576 or more`,
		`--spool.max-age is "0s": it must be from 1m0s to 1h50m0s`,
		`--web.listen-address is "x": it must be host:port or :port`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error = %v; want one with %q", err, want)
		}
	}
}

func TestAddresses(t *testing.T) {
	for address, want := range map[string]bool{"a:1": true, "[::1]:9500": true, "10.0.0.1:65535": true, "a:1, b:2": true, "a:1,": false,
		"a": false, "a:": false, "a:0": false, "a:65536": false, "a:x": false, ":1": false} {
		if got := areAddresses(address); got != want {
			t.Errorf("%q = %v", address, got)
		}
	}
	for address, want := range map[string]bool{":9400": true, "127.0.0.1:0": true, "9400": false} {
		if got := isHostPort(address); got != want {
			t.Errorf("listen on %q = %v", address, got)
		}
	}
}
