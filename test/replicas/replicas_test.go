//go:build replicas

// Package replicas shows what several shipped aggregators make of the same agents: two replicas of which one is away for a while, and
// three shards with one engine. The aggregators and the engine are processes of their own; the agents are the shipped agent's spool and
// stream with made-up GPUs.
//
//	batch → spool (on disk) → stream ─┬→ replica, replica → the same answers, the same decisions
//	                                  └→ one of three shards → remote write → VictoriaMetrics → the same decisions
package replicas

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/foretide/foretide/test/swarm/shipped"
)

var (
	away     = flag.Duration("away", 45*time.Second, "how long a replica is away")
	binaries = flag.String("binaries", "../../bin", "folder of the aggregator")
)

// The workload, whose pods' names begin with its own, and what is decided for it.
const (
	namespace = "default"
	workload  = "bert"
	policy    = `apiVersion: autoscaling.foretide.dev/v1alpha1
kind: AdvancedHorizontalPodAutoscaler
metadata: {name: bert, namespace: default}
spec:
  scaleStrategy: observer
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: bert}
  metrics:
  - type: Resource
    resource: {name: gpu, target: {type: Utilization, averageUtilization: 50}}
  minReplicas: 1
  maxReplicas: 200
  stabilizationWindowSeconds: 0
`
)

// target is the policy's.
const target = 0.5

// aggregator is a shipped one with its flags.
type aggregator struct {
	*shipped.Aggregator
	t     *testing.T
	name  string
	flags []string
}

func newAggregator(t *testing.T, name string) *aggregator {
	t.Helper()
	a, err := shipped.NewAggregator(filepath.Join(*binaries, "aggregator"), t.TempDir(), "")
	if err == nil {
		err = os.WriteFile(filepath.Join(a.Dir, "policy.yaml"), []byte(policy), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Stop(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if t.Failed() {
			t.Logf("the end of the log of %s:\n%s", name, a.LogTail(4000))
		}
	})
	return &aggregator{Aggregator: a, t: t, name: name}
}

func (a *aggregator) start() {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), 2*time.Minute)
	defer cancel()
	if err := errors.Join(a.Start(a.flags...), a.Ready(ctx)); err != nil {
		a.t.Fatalf("%s: %v", a.name, err)
	}
}

func (a *aggregator) kill() {
	a.t.Helper()
	if err := a.Kill(); err != nil {
		a.t.Fatalf("%s: %v", a.name, err)
	}
}

// authorities writes all of the aggregators' into one file, once they are ready.
func authorities(t *testing.T, all ...*aggregator) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.crt")
	var bundle []byte
	for _, a := range all {
		pem, err := os.ReadFile(a.CAFile())
		if err != nil {
			t.Fatal(err)
		}
		bundle = append(bundle, pem...)
	}
	if err := os.WriteFile(file, bundle, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// metrics is what /metrics says, by series as it is written there; nil when the aggregator does not answer.
func (a *aggregator) metrics() map[string]float64 {
	ctx, cancel := context.WithTimeout(a.t.Context(), 10*time.Second)
	defer cancel()
	page, err := a.Metrics(ctx)
	if err != nil {
		return nil
	}
	out := map[string]float64{}
	for line := range strings.Lines(page) {
		series, value, ok := strings.Cut(strings.TrimSpace(line), "} ")
		if v, err := strconv.ParseFloat(value, 64); ok && err == nil {
			out[series+"}"] = v
		}
	}
	return out
}

// decision is what one aggregator has decided for the workload.
type decision struct {
	desired, current, reactive float64
	// proactive is absent as long as the forecast does not act.
	proactive       float64
	proactiveKnown  bool
	demand          float64
	demandKnown, ok bool
}

func (a *aggregator) decision() (d decision) {
	all := a.metrics()
	of := func(name string) (float64, bool) {
		v, ok := all["foretide_policy_"+name+`{namespace="`+namespace+`",policy="`+workload+`"}`]
		return v, ok
	}
	d.desired, d.ok = of("desired_replicas")
	d.current, _ = of("current_replicas")
	d.reactive, _ = of("reactive_replicas")
	d.proactive, d.proactiveKnown = of("proactive_replicas")
	d.demand, d.demandKnown = all[`foretide_workload_demand_gpus{kind="Deployment",name="`+workload+`",namespace="`+namespace+`"}`]
	return d
}

// same reports whether two decide the same for the same reasons.
func (d decision) same(other decision) bool {
	return d.likewise(other) && d.proactive == other.proactive && d.proactiveKnown == other.proactiveKnown
}

// likewise reports whether two decide the same. Their forecasts may differ as their histories do.
func (d decision) likewise(other decision) bool {
	return d.ok && other.ok && d.desired == other.desired && d.reactive == other.reactive
}

// eventually looks again and again whether other processes have come so far, and returns how long that took.
func eventually(t *testing.T, what string, within time.Duration, so func() (ok bool, state string)) time.Duration {
	t.Helper()
	begin := time.Now()
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	for {
		ok, state := so()
		switch {
		case ok:
			return time.Since(begin)
		case time.Since(begin) > within:
			t.Fatalf("not yet after %v: %s; %s", within, what, state)
		}
		select {
		case <-ticker.C:
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
}
