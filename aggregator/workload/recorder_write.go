package workload

import (
	"context"
	"errors"
	"slices"
	"time"
)

const (
	// mostUnwritten bounds what waits for the store: some 9 MB, five and a half hours of three hundred workloads.
	mostUnwritten = 100_000
	// writeAtOnce is how much is written in one go, which takes a tenth of a second: the pods are still to be looked at in time.
	writeAtOnce = 10_000
)

// point is the demand of a workload over the minute that ended.
type point struct {
	id             ID
	end            time.Time
	busyGPUs, pods float64
}

// refusal is an error of the store that says: never. Any other says: not now.
type refusal interface{ Refusal() (class, reason string) }

// write brings the minutes that ended into the store, of each workload when it waits for nothing more.
func (r *Recorder) write(ctx context.Context) {
	for _, m := range r.minutes {
		if r.looked.Before(m.end) {
			continue
		}
		for id, demand := range m.demands {
			busyGPUs, pods, state := mean(demand)
			if state == sliceWaiting {
				continue
			}
			delete(m.demands, id)
			if state != sliceKnown || m.looks < slicesPerMinute {
				r.results.WithLabelValues("unknown").Inc()
				continue
			}
			r.unwritten = append(r.unwritten, point{id, m.end, busyGPUs, pods})
		}
	}
	r.minutes = slices.DeleteFunc(r.minutes, func(m *minute) bool { return len(m.demands) == 0 && !r.looked.Before(m.end) })
	err := r.store(ctx)
	if ctx.Err() == nil {
		r.report(err, r.bound())
	}
}

// store writes what waits, the oldest first, until the store can take no more now; the error is why. What it never takes is counted.
func (r *Recorder) store(ctx context.Context) error {
	var failure, refused error
	done, lost := 0, 0
	for _, p := range r.unwritten[:min(len(r.unwritten), writeAtOnce)] {
		err := r.opts.Append(ctx, p.id, p.end, p.busyGPUs, p.pods)
		var never refusal
		if err != nil && !errors.As(err, &never) {
			failure = err
			break
		}
		done++
		if err != nil {
			lost, refused = lost+1, err
		}
	}
	r.unwritten = slices.Delete(r.unwritten, 0, done)
	r.results.WithLabelValues("written").Add(float64(done - lost))
	r.results.WithLabelValues("failed").Add(float64(lost))
	if lost > 0 {
		r.opts.Logger.Error("demand is refused by the history and lost", "minutes", lost, "err", refused)
	}
	return failure
}

// bound drops the oldest of what waits when that is too much, and counts it.
func (r *Recorder) bound() (dropped int) {
	dropped = max(0, len(r.unwritten)-mostUnwritten)
	r.unwritten = slices.Delete(r.unwritten, 0, dropped)
	r.results.WithLabelValues("failed").Add(float64(dropped))
	return dropped
}

// report logs once that demand cannot be written, once that some of it is lost, and once that all of it is written.
func (r *Recorder) report(failure error, dropped int) {
	if failure != nil && !r.failing {
		r.failing = true
		r.opts.Logger.Warn("demand cannot be written to the history now; it is kept in memory and written later", "err", failure)
	}
	if dropped > 0 && !r.dropping {
		r.dropping = true
		r.opts.Logger.Error("more demand waits for the history than is kept; the oldest minutes are dropped", "kept", mostUnwritten, "err", failure)
	}
	if r.failing && len(r.unwritten) == 0 {
		r.failing, r.dropping = false, false
		r.opts.Logger.Info("all demand that waited is written to the history")
	}
}
