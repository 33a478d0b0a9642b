package sampler

import (
	"cmp"
	"fmt"
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
		f.values.add(u.Values, w.devices[u.DeviceUUID].samples)
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
		out = append(out, telemetry.Reading{Device: d.device, Values: d.values.values(nil), Unattributed: d.unattributed.values(nil)})
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
		out = append(out, telemetry.Usage{Owner: key.owner, DeviceUUID: key.uuid, Attribution: f.attribution, Values: f.values.values(w.devices[key.uuid])})
	}
	slices.SortFunc(out, func(a, b telemetry.Usage) int {
		return cmp.Or(cmp.Compare(w.devices[a.DeviceUUID].device.Index, w.devices[b.DeviceUUID].device.Index), cmp.Compare(a.DeviceUUID, b.DeviceUUID),
			cmp.Compare(a.Owner.Namespace, b.Owner.Namespace), cmp.Compare(a.Owner.Pod, b.Owner.Pod), cmp.Compare(a.Owner.Container, b.Owner.Container))
	})
	return out
}

// values folds each metric as the catalogue says. On, for a usage, is the device: an owner that was not there in some of the
// samples that were divided used nothing in those, so that the usages still add up.
func (f fold) values(on *deviceFold) telemetry.Values {
	if len(f) == 0 {
		return nil
	}
	out := make(telemetry.Values, len(f))
	for m, c := range f {
		d := m.Definition()
		samples, left := c.samples, false
		if on != nil && d.Split.Sums() {
			rest := on.unattributed[m]
			samples, left = max(samples, rest.samples), rest.at > c.at
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
