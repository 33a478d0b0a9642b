package ingest

import (
	"cmp"
	"fmt"
	"time"

	"github.com/foretide/foretide/pkg/telemetry"
)

// Classes of refusals made here; the appender has its own.
const (
	classInvalid = "invalid"
	classFuture  = "future"
)

const (
	// maxAhead is how far a node's clock may be ahead of the one here.
	maxAhead = 5 * time.Minute
	// maxWindow bounds what one batch may stand for.
	maxWindow = time.Hour
	// maxNameBytes is the longest name of a Kubernetes object (a DNS subdomain, RFC 1123) and more than any UUID has.
	maxNameBytes = 253
	// maxPods and maxWorkload bound what a node may say beyond its GPUs: more pods, and more servers with more metrics, than
	// any node runs.
	maxPods, maxWorkload = 4096, 10_000
	// maxRatio is a hair above 1, for the rounding of a mean.
	maxRatio = 1 + 1e-9
)

// check looks at what the wire format allows and the words do not. Both results are empty when the batch is good.
func check(b telemetry.Batch, now time.Time) (class, reason string) {
	if ahead := b.End.Sub(now); ahead > maxAhead {
		return classFuture, fmt.Sprintf("window ends at %s, %v ahead of the aggregator's clock: at most %v is taken; look at the node's clock",
			b.End.UTC().Format(time.RFC3339), ahead.Round(time.Second), maxAhead)
	}
	if length := b.End.Sub(b.Start); length > maxWindow {
		return classInvalid, fmt.Sprintf("window is %v long: at most %v is taken", length, maxWindow)
	}
	if !b.OwnersKnown && len(b.Usages) > 0 {
		return classInvalid, fmt.Sprintf("owners_known is false, yet there are %d usages: there must be none", len(b.Usages))
	}
	for _, reason := range []string{checkReadings(b.Readings), checkUsages(b.Usages), checkPods(b.Pods), checkWorkload(b.Workload)} {
		if reason != "" {
			return classInvalid, reason
		}
	}
	return "", ""
}

func checkReadings(readings []telemetry.Reading) (reason string) {
	seen := make(map[string]bool, len(readings))
	for i, r := range readings {
		where, d := fmt.Sprintf("readings[%d]", i), r.Device
		if seen[d.UUID] {
			return fmt.Sprintf("%s.device.uuid %q is there twice: a device has one reading per batch", where, shorten(d.UUID))
		}
		seen[d.UUID] = true
		reason := cmp.Or(
			checkNames(where, "device.uuid", d.UUID, "device.model", d.Model, "device.pci_bus_id", d.PCIBusID,
				"device.mig.parent_uuid", d.MIG.ParentUUID, "device.mig.profile", d.MIG.Profile),
			checkRatios(where, r.Values), checkRatios(where+".unattributed", r.Unattributed))
		if reason != "" {
			return reason
		}
		if share := d.MIG.Share; !(share >= 0 && share <= maxRatio) { // nor NaN
			return fmt.Sprintf("%s.device.mig.share is %v: it is a ratio of 0 to 1", where, share)
		}
	}
	return ""
}

func checkUsages(usages []telemetry.Usage) (reason string) {
	for i, u := range usages {
		where := fmt.Sprintf("usages[%d]", i)
		reason := cmp.Or(
			checkNames(where, "owner.namespace", u.Owner.Namespace, "owner.pod", u.Owner.Pod, "owner.container", u.Owner.Container,
				"device_uuid", u.DeviceUUID, "attribution", string(u.Attribution)),
			checkRatios(where, u.Values))
		if reason != "" {
			return reason
		}
	}
	return ""
}

func checkPods(pods []telemetry.Pod) (reason string) {
	if len(pods) > maxPods {
		return fmt.Sprintf("there are %d pods: at most %d are taken", len(pods), maxPods)
	}
	for i, p := range pods {
		reason := checkNames(fmt.Sprintf("pods[%d]", i), "namespace", p.Namespace, "name", p.Name, "uid", p.UID,
			"controller_kind", p.ControllerKind, "controller_name", p.ControllerName)
		if reason != "" {
			return reason
		}
	}
	return ""
}

func checkWorkload(values []telemetry.WorkloadValue) (reason string) {
	if len(values) > maxWorkload {
		return fmt.Sprintf("there are %d workload values: at most %d are taken; let the agent scrape fewer metrics", len(values), maxWorkload)
	}
	for i, v := range values {
		if reason := checkNames(fmt.Sprintf("workload[%d]", i), "namespace", v.Namespace, "pod", v.Pod, "name", v.Name); reason != "" {
			return reason
		}
	}
	return ""
}

// checkNames takes pairs of field and value.
func checkNames(where string, pairs ...string) string {
	for i := 0; i < len(pairs); i += 2 {
		if len(pairs[i+1]) > maxNameBytes {
			return fmt.Sprintf("%s.%s %q has %d bytes: at most %d are allowed",
				where, pairs[i], shorten(pairs[i+1]), len(pairs[i+1]), maxNameBytes)
		}
	}
	return ""
}

func checkRatios(where string, values telemetry.Values) string {
	for _, d := range telemetry.Catalogue() {
		if v := values[d.Metric]; d.Metric.IsRatio() && v > maxRatio {
			return fmt.Sprintf("%s: metric %d is %v: %s is a ratio of 0 to 1", where, d.Metric, v, d.Name)
		}
	}
	return ""
}

// shorten keeps a wrong name readable in an error.
func shorten(name string) string {
	if len(name) > 64 {
		return name[:61] + "..."
	}
	return name
}
