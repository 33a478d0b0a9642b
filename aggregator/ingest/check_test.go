package ingest

import (
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

func TestEveryRatioIsAtMostOneWhereverItStands(t *testing.T) {
	for _, row := range telemetry.Catalogue() {
		for where, in := range map[string]func(telemetry.Batch) telemetry.Values{
			"readings[0]:":              func(b telemetry.Batch) telemetry.Values { return b.Readings[0].Values },
			"readings[0].unattributed:": func(b telemetry.Batch) telemetry.Values { return b.Readings[0].Unattributed },
			"usages[0]:":                func(b telemetry.Batch) telemetry.Values { return b.Usages[0].Values },
		} {
			b := good()
			in(b)[row.Metric] = 1 + 1e-10
			if class, reason := check(b, start); class != "" {
				t.Errorf("%s rounded up to 1 in %s is refused: %s", row.Name, where, reason)
			}
			in(b)[row.Metric] = 1.001
			class, reason := check(b, start)
			if wrong := strings.HasSuffix(row.Name, "_ratio"); wrong != (class == classInvalid) || wrong && !strings.HasPrefix(reason, where) {
				t.Errorf("%s of 1.001 in %s: class %q, reason %q", row.Name, where, class, reason)
			}
		}
	}
}

func TestWhatIsTooMuchOrTooLongIsNamed(t *testing.T) {
	long := strings.Repeat("x", maxNameBytes+1)
	for want, change := range map[string]func(*telemetry.Batch){
		"there are 4097 pods: at most 4096":              func(b *telemetry.Batch) { b.Pods = slices.Repeat(b.Pods, maxPods+1) },
		"there are 10001 workload values: at most 10000": func(b *telemetry.Batch) { b.Workload = slices.Repeat(b.Workload, maxWorkload+1) },
		"pods[0].namespace ":                             func(b *telemetry.Batch) { b.Pods[0].Namespace = long },
		"pods[0].name ":                                  func(b *telemetry.Batch) { b.Pods[0].Name = long },
		"pods[0].uid ":                                   func(b *telemetry.Batch) { b.Pods[0].UID = long },
		"pods[0].controller_kind ":                       func(b *telemetry.Batch) { b.Pods[0].ControllerKind = long },
		"pods[0].controller_name ":                       func(b *telemetry.Batch) { b.Pods[0].ControllerName = long },
		"workload[0].namespace ":                         func(b *telemetry.Batch) { b.Workload[0].Namespace = long },
		"workload[0].pod ":                               func(b *telemetry.Batch) { b.Workload[0].Pod = long },
		"workload[0].name ":                              func(b *telemetry.Batch) { b.Workload[0].Name = long },
		"readings[0].device.pci_bus_id ":                 func(b *telemetry.Batch) { b.Readings[0].Device.PCIBusID = long },
		"readings[0].device.mig.parent_uuid ":            func(b *telemetry.Batch) { b.Readings[0].Device.MIG.ParentUUID = long },
		"readings[0].device.mig.profile ":                func(b *telemetry.Batch) { b.Readings[0].Device.MIG.Profile = long },
		"readings[0].device.mig.share is 1.5: it is":     func(b *telemetry.Batch) { b.Readings[0].Device.MIG.Share = 1.5 },
		"readings[0].device.mig.share is NaN: it is":     func(b *telemetry.Batch) { b.Readings[0].Device.MIG.Share = math.NaN() },
		"usages[0].attribution ":                         func(b *telemetry.Batch) { b.Usages[0].Attribution = telemetry.Attribution(long) },
	} {
		b := good()
		if class, reason := check(b, start); class != "" {
			t.Fatalf("the good batch is refused: %s", reason)
		}
		change(&b)
		if class, reason := check(b, start); class != classInvalid || !strings.HasPrefix(reason, want) {
			t.Errorf("class %q, reason %q: want %s…", class, reason, want)
		}
	}
	b := good()
	b.Pods, b.Workload = slices.Repeat(b.Pods, maxPods), slices.Repeat(b.Workload, maxWorkload)
	if class, reason := check(b, start); class != "" {
		t.Errorf("as much as is allowed is refused: %s", reason)
	}
}
