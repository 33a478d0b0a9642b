package ingest

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/foretide/foretide/pkg/telemetry"
)

// good is a batch with something in every place.
func good() telemetry.Batch {
	return telemetry.Batch{
		Node: "node-a", Session: "s1", Sequence: 1, Start: start.Add(-time.Second), End: start, OwnersKnown: true,
		Readings: []telemetry.Reading{{
			Device: telemetry.Device{UUID: "MIG-0", MIG: telemetry.MIG{ParentUUID: "GPU-0", Profile: "1g.10gb", Share: 1}},
			Values: telemetry.Values{}, Unattributed: telemetry.Values{},
		}},
		Usages: []telemetry.Usage{{Owner: telemetry.Owner{Namespace: "default", Pod: "p", Container: "c"}, DeviceUUID: "MIG-0",
			Attribution: telemetry.AttributionMIG, Values: telemetry.Values{}}},
		Pods:     []telemetry.Pod{{Namespace: "default", Name: "p"}},
		Workload: []telemetry.WorkloadValue{{Namespace: "default", Pod: "p", Name: "vllm:num_requests_waiting", Value: 3}},
	}
}

func checkBatch(b telemetry.Batch) (reason string) {
	var framer telemetry.Framer
	return new(checker).check(framer.Frame(b))
}

func TestEveryRatioIsAtMostOneWhereverItStands(t *testing.T) {
	for _, row := range telemetry.Catalogue() {
		for where, in := range map[string]func(telemetry.Batch) telemetry.Values{
			"devices[0]":              func(b telemetry.Batch) telemetry.Values { return b.Readings[0].Values },
			"unattributed devices[0]": func(b telemetry.Batch) telemetry.Values { return b.Readings[0].Unattributed },
			"uses[0]":                 func(b telemetry.Batch) telemetry.Values { return b.Usages[0].Values },
		} {
			b := good()
			in(b)[row.Metric] = 1 + 1e-7
			if reason := checkBatch(b); reason != "" {
				t.Errorf("%s rounded up to 1 in %s is refused: %s", row.Name, where, reason)
			}
			in(b)[row.Metric] = 1.001
			reason := checkBatch(b)
			if wrong := strings.HasSuffix(row.Name, "_ratio"); wrong != (reason != "") || wrong && !strings.Contains(reason, " of "+where+" is") {
				t.Errorf("%s of 1.001 in %s: reason %q", row.Name, where, reason)
			}
		}
	}
}

func TestWhatIsTooMuchOrTooLongIsNamed(t *testing.T) {
	long := strings.Repeat("x", maxNameBytes+1)
	for want, change := range map[string]func(*telemetry.Batch){
		"there are 4097 pods: at most 4096":                             func(b *telemetry.Batch) { b.Pods = slices.Repeat(b.Pods, maxPods+1) },
		"columns[1000] is the name number 1001: at most 1000 are taken": func(b *telemetry.Batch) { b.Workload = names(maxNames + 1) },
		"there are 4097 sources: at most 4096":                          func(b *telemetry.Batch) { b.Workload = servers(maxPods + 1) },
		"pods[0].namespace ":                                            func(b *telemetry.Batch) { b.Pods[0].Namespace = long },
		"pods[0].name ":                                                 func(b *telemetry.Batch) { b.Pods[0].Name = long },
		"pods[0].uid ":                                                  func(b *telemetry.Batch) { b.Pods[0].UID = long },
		"pods[0].controller_kind ":                                      func(b *telemetry.Batch) { b.Pods[0].ControllerKind = long },
		"pods[0].controller_name ":                                      func(b *telemetry.Batch) { b.Pods[0].ControllerName = long },
		"sources[0].namespace ":                                         func(b *telemetry.Batch) { b.Workload[0].Namespace = long },
		"sources[0].pod ":                                               func(b *telemetry.Batch) { b.Workload[0].Pod = long },
		"columns[0].name ":                                              func(b *telemetry.Batch) { b.Workload[0].Name = long },
		"devices[0].pci_bus_id ":                                        func(b *telemetry.Batch) { b.Readings[0].Device.PCIBusID = long },
		"devices[0].mig.parent_uuid ":                                   func(b *telemetry.Batch) { b.Readings[0].Device.MIG.ParentUUID = long },
		"devices[0].mig.profile ":                                       func(b *telemetry.Batch) { b.Readings[0].Device.MIG.Profile = long },
		"devices[0].mig.share is 1.5: it is":                            func(b *telemetry.Batch) { b.Readings[0].Device.MIG.Share = 1.5 },
		"devices[0].mig.share is NaN: it is":                            func(b *telemetry.Batch) { b.Readings[0].Device.MIG.Share = math.NaN() },
		`uses[1] is of "default/p/c" on "MIG-0", as is one before`:      func(b *telemetry.Batch) { b.Usages = slices.Repeat(b.Usages, 2) },
		"uses[0].attribution ":                                          func(b *telemetry.Batch) { b.Usages[0].Attribution = telemetry.Attribution(long) },
	} {
		b := good()
		if reason := checkBatch(b); reason != "" {
			t.Fatalf("the good batch is refused: %s", reason)
		}
		change(&b)
		if reason := checkBatch(b); !strings.HasPrefix(reason, want) {
			t.Errorf("reason %q: want %s…", reason, want)
		}
	}
	b := good()
	b.Pods, b.Workload = slices.Repeat(b.Pods, maxPods), names(maxNames)
	if reason := checkBatch(b); reason != "" {
		t.Errorf("as much as is allowed is refused: %s", reason)
	}
}

// names is a server that says many things, servers are many that say one.
func names(n int) (out []telemetry.WorkloadValue) {
	for i := range n {
		out = append(out, telemetry.WorkloadValue{Namespace: "default", Pod: "p", Name: fmt.Sprintf("metric_%04d", i)})
	}
	return out
}

func servers(n int) (out []telemetry.WorkloadValue) {
	for i := range n {
		out = append(out, telemetry.WorkloadValue{Namespace: "default", Pod: fmt.Sprint(i), Name: "metric"})
	}
	return out
}
