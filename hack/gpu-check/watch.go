package main

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/foretide/foretide/agent/attribution"
	"github.com/foretide/foretide/agent/nvml"
	"github.com/foretide/foretide/pkg/telemetry"
)

const (
	// interval is the agent's own between two looks.
	interval = time.Second
	// firstLookIn is longer: nvmlInit takes seconds for each GPU where persistence mode is off.
	firstLookIn = time.Minute
	// Names, among the latencies, of a reading of all devices.
	firstLook = "all devices, the first reading, with nvmlInit"
	wholeLook = "all devices, one reading"
)

// watch looks at the devices as the agent does: its readers, then its attribution.
type watch struct {
	reader    *nvml.Reader
	latencies *latencies
	// owners are those of the load's processes, by PID, and holders those that hold a device, by UUID. Both are made up.
	owners  map[int]telemetry.Owner
	holders map[string][]telemetry.Owner
	// counters are the devices' energy, joules by UUID, at the last look.
	counters map[string]float64
	problems []string // each once
}

func newWatch(libraryPath string) *watch {
	l := newLatencies()
	return &watch{reader: nvml.New(nvml.Options{LibraryPath: libraryPath, Observe: l.observe}), latencies: l,
		owners: map[int]telemetry.Owner{}, holders: map[string][]telemetry.Owner{}, counters: map[string]float64{}}
}

// begin opens NVML and looks for the first time.
func (w *watch) begin(ctx context.Context) []telemetry.Sample {
	return w.read(ctx, firstLookIn, firstLook)
}

// look returns one sample for each device.
func (w *watch) look(ctx context.Context) []telemetry.Sample { return w.read(ctx, interval, wholeLook) }

func (w *watch) read(ctx context.Context, timeout time.Duration, name string) []telemetry.Sample {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	began := time.Now()
	samples, problems := w.reader.Read(ctx, began)
	w.latencies.observe(name, time.Since(began))
	w.note(problems)
	return samples
}

// drawn puts in place of each sample's energy counter what was drawn since the last look, as attribution wants it.
func (w *watch) drawn(samples []telemetry.Sample) {
	for _, s := range samples {
		now, measured := s.Values[telemetry.Energy]
		if !measured {
			continue
		}
		before, known := w.counters[s.Device.UUID]
		w.counters[s.Device.UUID] = now
		if known && now >= before {
			s.Values[telemetry.Energy] = now - before
		} else {
			delete(s.Values, telemetry.Energy)
		}
	}
}

func (w *watch) attribute(samples []telemetry.Sample) attribution.Output {
	out := attribution.Attribute(attribution.Input{Samples: samples, Owners: w.holders, OwnerOf: func(pid int) (telemetry.Owner, attribution.Of) {
		if owner, ours := w.owners[pid]; ours {
			return owner, attribution.OfPod
		}
		return telemetry.Owner{}, attribution.OfHost
	}})
	w.note(out.Problems)
	return out
}

func (w *watch) note(problems []string) {
	for _, p := range problems {
		if !slices.Contains(w.problems, p) {
			w.problems = append(w.problems, p)
		}
	}
}

// warmUp looks until everything that needs an earlier look has one: rates, the performance monitor, processes, energy. Each look
// is shown to seen.
func (w *watch) warmUp(ctx context.Context, looks int, seen func([]telemetry.Sample)) error {
	return every(ctx, looks, func() {
		samples := w.look(ctx)
		seen(samples)
		w.drawn(samples)
	})
}

// measure looks so many times and returns what it saw.
func (w *watch) measure(ctx context.Context, looks int) (*measurement, error) {
	m := &measurement{counters: maps.Clone(w.counters)}
	err := every(ctx, looks, func() {
		samples := w.look(ctx)
		for _, s := range samples {
			m.device(s.Device.UUID).read(s, w.holders[s.Device.UUID], w.owners)
		}
		w.drawn(samples)
		m.attributed(w.attribute(samples))
	})
	return m, err
}

// every calls look so many times, once each interval.
func every(ctx context.Context, times int, look func()) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for range times {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
			look()
		}
	}
	return nil
}
