package ingest

import (
	"cmp"
	"fmt"
	"math"
	"time"

	"github.com/foretide/foretide/pkg/telemetry"
)

// classInvalid is of refusals for what a frame says; the appender has classes of its own.
const classInvalid = "invalid"

const (
	// maxWindow bounds what one frame may stand for.
	maxWindow = time.Hour
	// maxNameBytes is the longest name of a Kubernetes object (a DNS subdomain, RFC 1123) and more than any UUID has.
	maxNameBytes = 253
	// maxPods and maxNames bound what a node may say beyond its GPUs: more pods, and more metrics of their servers, than any
	// node has.
	maxPods, maxNames = 4096, 1000
	// maxRatio is a hair above 1, for the rounding of a mean.
	maxRatio = 1 + 1e-9
)

// checker looks at what the wire allows and the words do not. A layout that was good once is not looked at again.
type checker struct{ good *telemetry.Layout }

// check says what is wrong with the frame; nothing when it is good.
func (c *checker) check(f telemetry.Frame) (reason string) {
	if length := f.End.Sub(f.Start); length > maxWindow {
		return fmt.Sprintf("window is %v long: at most %v is taken", length, maxWindow)
	}
	if !f.OwnersKnown && len(f.Layout.Uses) > 0 {
		return fmt.Sprintf("owners_known is false, yet there are %d uses: there must be none", len(f.Layout.Uses))
	}
	if f.Layout != c.good {
		if reason := checkLayout(f.Layout); reason != "" {
			return reason
		}
		c.good = f.Layout
	}
	return checkValues(f)
}

func checkLayout(l *telemetry.Layout) string {
	return cmp.Or(checkDevices(l.Devices), checkUses(l.Uses), checkPods(l.Pods), checkSources(l.Sources), checkColumns(l.Columns))
}

func checkDevices(devices []telemetry.Device) string {
	seen := make(map[string]bool, len(devices))
	for i, d := range devices {
		where := fmt.Sprintf("devices[%d]", i)
		if seen[d.UUID] {
			return fmt.Sprintf("%s.uuid %q is there twice: a device has one reading per frame", where, shorten(d.UUID))
		}
		seen[d.UUID] = true
		if reason := checkNames(where, "uuid", d.UUID, "model", d.Model, "pci_bus_id", d.PCIBusID,
			"mig.parent_uuid", d.MIG.ParentUUID, "mig.profile", d.MIG.Profile); reason != "" {
			return reason
		}
		if share := d.MIG.Share; !(share >= 0 && share <= maxRatio) { // nor NaN
			return fmt.Sprintf("%s.mig.share is %v: it is a ratio of 0 to 1", where, share)
		}
	}
	return ""
}

func checkUses(uses []telemetry.Use) string {
	type holding struct {
		owner telemetry.Owner
		uuid  string
	}
	seen := make(map[holding]bool, len(uses))
	for i, u := range uses {
		key := holding{u.Owner, u.DeviceUUID}
		if seen[key] {
			return fmt.Sprintf("uses[%d] is of %q on %q, as is one before: an owner has one usage of a device per frame",
				i, shorten(u.Owner.Namespace+"/"+u.Owner.Pod+"/"+u.Owner.Container), shorten(u.DeviceUUID))
		}
		seen[key] = true
		if reason := checkNames(fmt.Sprintf("uses[%d]", i), "namespace", u.Owner.Namespace, "pod", u.Owner.Pod, "container", u.Owner.Container,
			"device_uuid", u.DeviceUUID, "attribution", string(u.Attribution)); reason != "" {
			return reason
		}
	}
	return ""
}

func checkPods(pods []telemetry.Pod) string {
	if len(pods) > maxPods {
		return fmt.Sprintf("there are %d pods: at most %d are taken", len(pods), maxPods)
	}
	for i, p := range pods {
		if reason := checkNames(fmt.Sprintf("pods[%d]", i), "namespace", p.Namespace, "name", p.Name, "uid", p.UID,
			"controller_kind", p.ControllerKind, "controller_name", p.ControllerName); reason != "" {
			return reason
		}
	}
	return ""
}

func checkSources(sources []telemetry.PodName) string {
	if len(sources) > maxPods {
		return fmt.Sprintf("there are %d sources: at most %d are taken", len(sources), maxPods)
	}
	for i, s := range sources {
		if reason := checkNames(fmt.Sprintf("sources[%d]", i), "namespace", s.Namespace, "pod", s.Pod); reason != "" {
			return reason
		}
	}
	return ""
}

func checkColumns(columns []telemetry.Column) string {
	type column struct {
		kind   telemetry.ColumnKind
		metric telemetry.Metric
		name   string
	}
	seen, names := make(map[column]bool, len(columns)), 0
	for i, c := range columns {
		key := column{c.Kind, c.Metric, c.Name}
		if seen[key] {
			return fmt.Sprintf("columns[%d] is of kind %d and metric %d %q, as is one before: there is one of each", i, c.Kind, c.Metric, shorten(c.Name))
		}
		seen[key] = true
		if c.Kind != telemetry.WorkloadColumn {
			continue
		}
		if names++; names > maxNames {
			return fmt.Sprintf("columns[%d] is the name number %d: at most %d are taken; let the agent scrape fewer metrics", i, names, maxNames)
		}
		if reason := checkNames(fmt.Sprintf("columns[%d]", i), "name", c.Name); reason != "" {
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

// checkValues: what was measured is a finite number of 0 or more, and a ratio is not above 1. What a server says of itself may be
// below 0.
func checkValues(f telemetry.Frame) (reason string) {
	f.Each(func(c *telemetry.Column, values []float64) {
		least, most := 0.0, math.MaxFloat64
		if c.Kind == telemetry.WorkloadColumn {
			least = -math.MaxFloat64
		} else if c.Metric.IsRatio() {
			most = maxRatio
		}
		for i, v := range values {
			if v >= least && v <= most { // nor NaN
				continue
			}
			if reason == "" {
				reason = describe(c, c.Slots[i], v)
			}
		}
	})
	return reason
}

func describe(c *telemetry.Column, slot uint32, v float64) string {
	switch {
	case c.Kind == telemetry.WorkloadColumn:
		return fmt.Sprintf("%s of sources[%d] is %v: it must be a finite number", c.Name, slot, v)
	case c.Metric.IsRatio() && v > maxRatio:
		return fmt.Sprintf("metric %d of %s[%d] is %v: %s is a ratio of 0 to 1", c.Metric, kindNames[c.Kind], slot, v, c.Metric.Definition().Name)
	}
	return fmt.Sprintf("metric %d of %s[%d] is %v: it must be a finite number of 0 or more", c.Metric, kindNames[c.Kind], slot, v)
}

var kindNames = map[telemetry.ColumnKind]string{telemetry.ReadingColumn: "devices", telemetry.UnattributedColumn: "unattributed devices", telemetry.UsageColumn: "uses"}

// shorten keeps a wrong name readable in an error.
func shorten(name string) string {
	if len(name) > 64 {
		return name[:61] + "..."
	}
	return name
}
