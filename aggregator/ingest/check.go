package ingest

import (
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
	seen := make(map[string]bool, len(b.Readings))
	for i, r := range b.Readings {
		where := fmt.Sprintf("readings[%d]", i)
		if seen[r.Device.UUID] {
			return classInvalid, fmt.Sprintf("%s.device.uuid %q is there twice: a device has one reading per batch", where, shorten(r.Device.UUID))
		}
		seen[r.Device.UUID] = true
		if reason := checkNames(where, "device.uuid", r.Device.UUID, "device.model", r.Device.Model); reason != "" {
			return classInvalid, reason
		}
		if reason := checkRatios(where, r.Values); reason != "" {
			return classInvalid, reason
		}
	}
	for i, u := range b.Usages {
		where := fmt.Sprintf("usages[%d]", i)
		reason := checkNames(where, "owner.namespace", u.Owner.Namespace, "owner.pod", u.Owner.Pod,
			"owner.container", u.Owner.Container, "device_uuid", u.DeviceUUID)
		if reason != "" {
			return classInvalid, reason
		}
		if reason := checkRatios(where, u.Values); reason != "" {
			return classInvalid, reason
		}
	}
	return "", ""
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
	for _, m := range []telemetry.Metric{telemetry.UtilizationMean, telemetry.UtilizationMax} {
		// A hair above 1 is rounding of a mean.
		if v, ok := values[m]; ok && v > 1+1e-9 {
			return fmt.Sprintf("%s: metric %d is %v: a utilization is a ratio of 0 to 1", where, m, v)
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
