package sampler

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/foretide/foretide/pkg/telemetry"
)

// maxProblems bounds what one batch says is wrong.
const maxProblems = 32

// window folds the samples of one stretch of time in which the same containers held the same devices.
type window struct {
	opened  time.Duration
	newest  instant // of the last sample
	devices map[string]*deviceFold
	used    map[account]*usageFold
	// holdings is nil when they are not known.
	holdings []telemetry.Holding
	problems []string
	more     map[string]bool // problems there was no room for
}

type deviceFold struct {
	device               telemetry.Device
	values, unattributed fold
	samples              int
}

type usageFold struct {
	attribution telemetry.Attribution
	values      fold
	samples     int // in which the owner was there, whatever was known of it
}

// fold is the samples of some metrics.
type fold map[telemetry.Metric]cell

type cell struct {
	sum, largest, last float64
	samples            int
	// at is which of the device's samples the last one is.
	at int
}

func newWindow(opened time.Duration, holdings []telemetry.Holding) *window {
	return &window{opened: opened, devices: map[string]*deviceFold{}, used: map[account]*usageFold{}, holdings: holdings, more: map[string]bool{}}
}

func (w *window) add(at instant, seen Attributed, problems []string) {
	w.newest = at
	for _, r := range seen.Readings {
		d := w.devices[r.Device.UUID]
		if d == nil {
			d = &deviceFold{values: make(fold, len(r.Values)), unattributed: make(fold, len(r.Unattributed))}
			w.devices[r.Device.UUID] = d
		}
		d.device = r.Device
		d.samples++
		d.values.add(r.Values, d.samples)
		d.unattributed.add(r.Unattributed, d.samples)
	}
	for _, u := range seen.Usages {
		key := account{u.Owner, u.DeviceUUID}
		f := w.used[key]
		if f == nil {
			f = &usageFold{values: make(fold, len(u.Values))}
			w.used[key] = f
		}
		f.attribution = u.Attribution
		f.samples++
		at := 0
		if d := w.devices[u.DeviceUUID]; d != nil { // it may be one that was not read
			at = d.samples
		}
		f.values.add(u.Values, at)
	}
	for _, p := range problems {
		w.problem(p)
	}
}

func (f fold) add(values telemetry.Values, at int) {
	for m, v := range values {
		c := f[m]
		if c.samples == 0 {
			c.largest = v
		}
		f[m] = cell{c.sum + v, max(c.largest, v), v, c.samples + 1, at}
	}
}

func (w *window) problem(text string) {
	switch {
	case slices.Contains(w.problems, text):
	case len(w.problems) < maxProblems:
		w.problems = append(w.problems, text)
	default:
		w.more[text] = true
	}
}

// readings returns what every device did over the window, by index, a GPU before its MIG instances.
func (w *window) readings() []telemetry.Reading {
	out := make([]telemetry.Reading, 0, len(w.devices))
	for _, d := range w.devices {
		out = append(out, telemetry.Reading{Device: d.device, Values: d.values.values(none, 0), Unattributed: d.unattributed.values(none, 0)})
	}
	slices.SortFunc(out, func(a, b telemetry.Reading) int {
		return cmp.Or(cmp.Compare(a.Device.Index, b.Device.Index), cmp.Compare(a.Device.MIG.ParentUUID, b.Device.MIG.ParentUUID),
			cmp.Compare(a.Device.UUID, b.Device.UUID))
	})
	return out
}

// usages returns what every owner used over the window, by device in the order of the readings.
func (w *window) usages() []telemetry.Usage {
	var out []telemetry.Usage
	for key, f := range w.used {
		out = append(out, telemetry.Usage{Owner: key.owner, DeviceUUID: key.uuid, Attribution: f.attribution, Values: f.values.values(w.restOf(key.uuid), f.samples)})
	}
	slices.SortFunc(out, func(a, b telemetry.Usage) int {
		return cmp.Or(cmp.Compare(w.index(a.DeviceUUID), w.index(b.DeviceUUID)), cmp.Compare(a.DeviceUUID, b.DeviceUUID),
			cmp.Compare(a.Owner.Namespace, b.Owner.Namespace), cmp.Compare(a.Owner.Pod, b.Owner.Pod), cmp.Compare(a.Owner.Container, b.Owner.Container))
	})
	return out
}

// restOf returns, by metric, what nobody had of what a usage of the device is a part of: of the device, or of the GPU where a MIG instance's
// part is charged to that.
func (w *window) restOf(uuid string) func(telemetry.Definition) cell {
	on := w.devices[uuid]
	if on == nil { // it was not read
		return none
	}
	gpu := w.devices[on.device.MIG.ParentUUID]
	return func(d telemetry.Definition) cell {
		if gpu != nil && d.Split == telemetry.SplitTime {
			return gpu.unattributed[d.Metric]
		}
		return on.unattributed[d.Metric]
	}
}

// none is the rest of what is no part of anything.
func none(telemetry.Definition) cell { return cell{} }

// index is that of a device; one that was not read comes last.
func (w *window) index(uuid string) int {
	if d := w.devices[uuid]; d != nil {
		return d.device.Index
	}
	return math.MaxInt
}

// values folds each metric as the catalogue says. For a usage, restOf tells what nobody had, and present in how many samples the owner was
// there: in divided samples in which it was not it used nothing, so that the usages still add up; those in which it was, and the metric is not
// known, say nothing.
func (f fold) values(restOf func(telemetry.Definition) cell, present int) telemetry.Values {
	if len(f) == 0 {
		return nil
	}
	out := make(telemetry.Values, len(f))
	for m, c := range f {
		d := m.Definition()
		samples, left := c.samples, false
		if d.Split.Sums() {
			rest := restOf(d)
			left = rest.at > c.at
			if d.Split != telemetry.SplitProcess || present <= c.samples {
				samples = max(samples, rest.samples)
			}
		}
		switch {
		case d.Fold == telemetry.FoldMean:
			out[m] = c.sum / float64(samples)
		case d.Fold == telemetry.FoldMax:
			out[m] = c.largest
		case left && d.Kind == telemetry.Gauge: // it had gone by the last sample
			out[m] = 0
		default:
			out[m] = c.last
		}
	}
	return out
}

func (w *window) allProblems() []string {
	if len(w.more) > 0 {
		return append(w.problems, fmt.Sprintf("and %d more", len(w.more)))
	}
	return w.problems
}

// sameHoldings reports whether the sample may be folded into the window. Not known is not the same as none.
func (w *window) sameHoldings(holdings []telemetry.Holding) bool {
	return (w.holdings == nil) == (holdings == nil) && slices.Equal(w.holdings, holdings)
}
