package live

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/foretide/foretide/pkg/telemetry"
)

// plan says which of a frame's values are a pod's. It is made once for each layout and never changed.
type plan struct {
	layout  *telemetry.Layout
	pods    []listing // by name
	devices []held    // pod by pod, of each by UUID
	places  []uint32  // what the spans of devices are of
}

// listing is a pod that holds devices: first to end (exclusive) of the plan's.
type listing struct {
	podName
	first, end uint32
}

// held is one device as one pod holds it. Several containers of a pod may use the same device; each has a part of it. A span is
// empty where the pod's value is not known.
type held struct {
	uuid                                 string
	utilization, memoryUsed, memoryTotal span
}

// span is from first to end (exclusive) of the plan's places, each of which is an index of a frame's values.
type span struct{ first, end uint32 }

func newPlan(l *telemetry.Layout) *plan {
	p := &plan{layout: l}
	utilization, used, total := placesOf(l)
	byOwner := make([]uint32, len(l.Uses))
	for i := range byOwner {
		byOwner[i] = uint32(i)
	}
	slices.SortFunc(byOwner, func(i, j uint32) int {
		a, b := &l.Uses[i], &l.Uses[j]
		return cmp.Or(nameOf(a).compare(nameOf(b)), strings.Compare(a.DeviceUUID, b.DeviceUUID), cmp.Compare(i, j))
	})
	for len(byOwner) > 0 {
		u := &l.Uses[byOwner[0]]
		n := 1
		for n < len(byOwner) && nameOf(&l.Uses[byOwner[n]]) == nameOf(u) && l.Uses[byOwner[n]].DeviceUUID == u.DeviceUUID {
			n++
		}
		if last := len(p.pods) - 1; last < 0 || p.pods[last].podName != nameOf(u) {
			p.pods = append(p.pods, listing{podName: nameOf(u), first: uint32(len(p.devices))})
		}
		// Parts add up, and with one of them unknown so is the sum. Of what there is the pod sees as much as any of its containers.
		p.devices = append(p.devices, held{u.DeviceUUID, p.all(utilization, byOwner[:n]), p.all(used, byOwner[:n]), p.some(total, byOwner[:n])})
		p.pods[len(p.pods)-1].end = uint32(len(p.devices))
		byOwner = byOwner[n:]
	}
	return p
}

func nameOf(u *telemetry.Use) podName { return podName{u.Owner.Namespace, u.Owner.Pod} }

func (n podName) compare(o podName) int {
	return cmp.Or(strings.Compare(n.namespace, o.namespace), strings.Compare(n.name, o.name))
}

// nowhere stands for the place of a value that is not there.
const nowhere = math.MaxUint32

// placesOf returns where each use has the three metrics that matter here.
func placesOf(l *telemetry.Layout) (utilization, memoryUsed, memoryTotal []uint32) {
	all := make([]uint32, 3*len(l.Uses))
	for i := range all {
		all[i] = nowhere
	}
	n := len(l.Uses)
	of := map[telemetry.Metric][]uint32{
		telemetry.UtilizationMean: all[:n], telemetry.MemoryUsed: all[n : 2*n], telemetry.MemoryTotal: all[2*n:],
	}
	at := uint32(0)
	for i := range l.Columns {
		c := &l.Columns[i]
		if places := of[c.Metric]; c.Kind == telemetry.UsageColumn && places != nil {
			for j, slot := range c.Slots {
				places[slot] = at + uint32(j)
			}
		}
		at += uint32(len(c.Slots))
	}
	return of[telemetry.UtilizationMean], of[telemetry.MemoryUsed], of[telemetry.MemoryTotal]
}

// all is where the uses have a metric; empty unless each of them has it.
func (p *plan) all(places, uses []uint32) span {
	out := p.some(places, uses)
	if int(out.end-out.first) < len(uses) {
		return span{}
	}
	return out
}

// some is where those of the uses that have a metric have it.
func (p *plan) some(places, uses []uint32) span {
	first := uint32(len(p.places))
	for _, use := range uses {
		if places[use] != nowhere {
			p.places = append(p.places, places[use])
		}
	}
	return span{first, uint32(len(p.places))}
}

// find is the pod's place among the plan's; false when it is not listed.
func (p *plan) find(name podName) (int, bool) {
	return slices.BinarySearchFunc(p.pods, name, func(l listing, name podName) int { return l.compare(name) })
}

// of returns the devices the pod holds and where among the plan's they begin; none when it is not listed.
func (p *plan) of(name podName) (devices []held, first uint32) {
	i, listed := p.find(name)
	if !listed {
		return nil, 0
	}
	l := p.pods[i]
	return p.devices[l.first:l.end], l.first
}

// utilization returns that of each of the plan's devices; NaN where it is not known.
func (p *plan) utilization(values []float64) []float64 {
	out := make([]float64, len(p.devices))
	for i := range p.devices {
		out[i] = p.sum(values, p.devices[i].utilization)
	}
	return out
}

// sum adds up what is in a span; NaN of none.
func (p *plan) sum(values []float64, s span) float64 {
	if s.first == s.end {
		return math.NaN()
	}
	sum := 0.0
	for _, place := range p.places[s.first:s.end] {
		sum += values[place]
	}
	return sum
}

// largest of what is in a span; NaN of none.
func (p *plan) largest(values []float64, s span) float64 {
	largest := math.NaN()
	for i, place := range p.places[s.first:s.end] {
		if i == 0 || values[place] > largest {
			largest = values[place]
		}
	}
	return largest
}
