// Package attribution says how much of each device each owner used. It is pure: no clock, no I/O.
//
//	holdings + devices → owners          (resolve.go: every form of device id)
//	samples + owners + processes → usages and what is unattributed
//
// What is given to owners and what is not always adds up to the reading: nothing is counted twice, nothing is made up.
package attribution

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/foretide/foretide/pkg/telemetry"
)

// Of says whose a process is.
type Of uint8

const (
	// OfUnknown means: it ended meanwhile, or the agent does not see the host's processes.
	OfUnknown Of = iota
	// OfHost means: it is a process of no pod.
	OfHost
	// OfPod means: it is a process of a pod.
	OfPod
)

// Input is one look at all devices of a node.
type Input struct {
	Samples []telemetry.Sample
	// Owners says who holds each device, by UUID, and Lost who holds what is no device of this node, by its id: see [Resolve].
	Owners, Lost map[string][]telemetry.Owner
	// OwnerOf says whose a process is, by PID.
	OwnerOf func(pid int) (telemetry.Owner, Of)
}

// Output is what the owners used. Energy, in input and output, is that of the time since the sample before.
type Output struct {
	// Readings are the samples' with [telemetry.Reading.Unattributed] filled in.
	Readings []telemetry.Reading
	Usages   []telemetry.Usage
	// Problems name what could not be told.
	Problems []string
}

// Attribute returns what every owner used of the devices, ordered as the samples are.
//
//	holders of the device | the driver says what each process used | usage
//	one                   | yes | the reading, less what processes of other pods and of no pod used
//	one                   | no  | the reading
//	several               | yes | what the owner's own processes used; 0 when there are none
//	several               | no  | none of the metric, unless the reading is 0; a problem when it is utilization
//	any, the device unread | -  | none of any metric, and a problem
//	any                   | yes | what processes of pods that do not hold it used, as well
//
// A holder of whom no process is known has an unknown part, not 0, where there are processes that may be its own.
// Processes of no pod, and what no process accounts for, are unattributed. Where processes used more in sum than the device, which
// is measured over slightly other times, each is scaled down alike. Power and energy follow utilization. What a MIG instance draws
// is not measured: its owners get of the GPU's power what its utilization is of the whole GPU, by its share of the compute slices.
func Attribute(in Input) Output {
	var out Output
	read := make(map[string]int, len(in.Samples))
	for i, s := range in.Samples {
		read[s.Device.UUID] = i
		d := divide(s, in.Owners[s.Device.UUID], in.OwnerOf)
		out.Readings = append(out.Readings, telemetry.Reading{Device: s.Device, Values: s.Values, Unattributed: d.rest})
		out.Usages = append(out.Usages, d.usages()...)
		out.Problems = append(out.Problems, d.problems...)
	}
	chargeInstances(&out, read)
	for _, uuid := range slices.Sorted(maps.Keys(in.Owners)) {
		if _, ok := read[uuid]; !ok && len(in.Owners[uuid]) > 0 {
			out.Problems = append(out.Problems, fmt.Sprintf("attribution: device %s of %s was not read", uuid, names(in.Owners[uuid])))
			out.Usages = append(out.Usages, unknown(uuid, in.Owners[uuid])...)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(in.Lost)) {
		out.Usages = append(out.Usages, unknown(id, in.Lost[id])...)
	}
	return out
}

// unknown says that the owners hold a device of which nothing is known: a pod that has another device as well is not to be taken for one
// that has only that.
func unknown(device string, owners []telemetry.Owner) []telemetry.Usage {
	usages := make([]telemetry.Usage, len(owners))
	for i, o := range owners {
		usages[i] = telemetry.Usage{Owner: o, DeviceUUID: device, Attribution: telemetry.AttributionUnknown}
	}
	return usages
}

// chargeInstances gives the owners of MIG instances their part of what the GPU drew.
func chargeInstances(out *Output, read map[string]int) {
	for i := range out.Usages {
		u := &out.Usages[i]
		if _, ok := read[u.DeviceUUID]; !ok {
			continue
		}
		part := out.Readings[read[u.DeviceUUID]].Device.MIG
		parent, known := read[part.ParentUUID]
		busy, measured := u.Values[telemetry.UtilizationMean]
		if !known || !measured || part.Share == 0 {
			continue
		}
		whole := &out.Readings[parent]
		for _, m := range []telemetry.Metric{telemetry.Power, telemetry.Energy} {
			drawn, measured := whole.Values[m]
			if !measured {
				continue
			}
			v := min(drawn*busy*part.Share, whole.Unattributed[m])
			u.Values[m] = v
			whole.Unattributed[m] -= v
		}
	}
}

func sortOwners(owners []telemetry.Owner) {
	slices.SortFunc(owners, func(a, b telemetry.Owner) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Pod, b.Pod), cmp.Compare(a.Container, b.Container))
	})
}
