package sampler

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/foretide/foretide/pkg/telemetry"
)

// maxProblems bounds what one batch says is wrong.
const maxProblems = 32

// window folds the samples of one stretch of time in which the same owners held the same devices.
type window struct {
	opened  time.Duration
	newest  instant // of the last sample
	devices map[string]*fold
	// owners is nil when they are not known.
	owners   map[string][]telemetry.Owner
	problems []string
	more     int // problems there was no room for
}

// fold is one device over a window.
type fold struct {
	device telemetry.Device
	last   telemetry.Values
	// Utilization of the samples that had one.
	sum, max float64
	samples  int
}

func newWindow(opened time.Duration, owners map[string][]telemetry.Owner) *window {
	return &window{opened: opened, devices: map[string]*fold{}, owners: owners}
}

func (w *window) add(at instant, readings []telemetry.Reading, problems []string) {
	w.newest = at
	for _, r := range readings {
		f := w.devices[r.Device.UUID]
		if f == nil {
			f = &fold{last: telemetry.Values{}}
			w.devices[r.Device.UUID] = f
		}
		f.add(r)
	}
	for _, p := range problems {
		w.problem(p)
	}
}

func (w *window) problem(text string) {
	switch {
	case slices.Contains(w.problems, text):
	case len(w.problems) < maxProblems:
		w.problems = append(w.problems, text)
	default:
		w.more++
	}
}

func (f *fold) add(r telemetry.Reading) {
	f.device = r.Device
	for metric, v := range r.Values {
		if metric != telemetry.UtilizationMean {
			f.last[metric] = v
			continue
		}
		f.sum += v
		f.max = max(f.max, v)
		f.samples++
	}
}

// readings returns what every device did over the window, by index: utilization as mean and largest sample, everything
// else as it was last.
func (w *window) readings() []telemetry.Reading {
	out := make([]telemetry.Reading, 0, len(w.devices))
	for _, f := range w.devices {
		values := maps.Clone(f.last)
		if f.samples > 0 {
			values[telemetry.UtilizationMean] = f.sum / float64(f.samples)
			values[telemetry.UtilizationMax] = f.max
		}
		out = append(out, telemetry.Reading{Device: f.device, Values: values})
	}
	slices.SortFunc(out, func(a, b telemetry.Reading) int {
		return cmp.Or(cmp.Compare(a.Device.Index, b.Device.Index), cmp.Compare(a.Device.UUID, b.Device.UUID))
	})
	return out
}

func (w *window) allProblems() []string {
	if w.more > 0 {
		return append(w.problems, fmt.Sprintf("and %d more", w.more))
	}
	return w.problems
}

// sameOwners reports whether the sample may be folded into the window. Unknown owners are not the same as no owners.
func (w *window) sameOwners(owners map[string][]telemetry.Owner) bool {
	return (w.owners == nil) == (owners == nil) && maps.EqualFunc(w.owners, owners, slices.Equal)
}
