// Package sampler is the tick: each interval it reads the devices and asks who holds them, folds the samples into a window,
// and hands a batch to the sink when the window is as long as the aggregator wants it.
//
//	devices + owners → window → attribution → batch → sink
package sampler

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/foretide/foretide/pkg/telemetry"
)

// MaxReportInterval bounds the report interval that can be asked for.
const MaxReportInterval = time.Minute

// DeviceReader reads every device once and names what it could not read.
type DeviceReader interface {
	Read(ctx context.Context, now time.Time) ([]telemetry.Reading, []string)
}

// OwnerLister says who holds each device, by UUID. An error means that nothing is known.
type OwnerLister interface {
	Owners(ctx context.Context) (map[string][]telemetry.Owner, []string, error)
}

// Sink takes finished batches; their session and sequence are not set. It must not keep the caller waiting.
type Sink interface {
	Put(telemetry.Batch)
}

// Options configures a [Sampler]. Every field but Observe must be set.
type Options struct {
	Node string
	// Interval is the time between two samples.
	Interval time.Duration
	Devices  DeviceReader
	Owners   OwnerLister
	// Attribute turns readings and owners into usages and problems.
	Attribute func([]telemetry.Reading, map[string][]telemetry.Owner) ([]telemetry.Usage, []string)
	Sink      Sink
	Logger    *slog.Logger
	// Observe is told how long each tick took.
	Observe func(time.Duration)
}

// Status is where the sampler stands.
type Status struct {
	// Began is when the last tick began; zero before the first.
	Began time.Time
	// Ticks counts the ticks that are done.
	Ticks uint64
	// OwnersKnown tells whether the last question to the kubelet was answered.
	OwnersKnown bool
	// Holders counts the containers that hold devices, as the kubelet told last; 0 when that is not known.
	Holders int
	// Problems counts what the last tick found wrong, and what the last window could not attribute.
	Problems int
}

// Sampler holds the window that is being filled.
type Sampler struct {
	o      Options
	report atomic.Int64 // wanted length of a window
	status atomic.Pointer[Status]

	epoch    time.Time // of the clock that only goes on
	timeline timeline
	open     *window // nil between two windows
	closed   time.Duration
	log      problemLog

	owners    map[string][]telemetry.Owner
	ownersAge time.Duration // when they were told

	unattributed int // problems of attribution in the last window
}

// New returns a sampler that reports each interval until told otherwise.
func New(o Options) *Sampler {
	if o.Observe == nil {
		o.Observe = func(time.Duration) {}
	}
	s := &Sampler{o: o, log: problemLog{o.Logger, map[string]time.Duration{}}}
	s.SetReportInterval(o.Interval)
	s.status.Store(&Status{})
	return s
}

// SetReportInterval sets how long windows shall be, within [interval, MaxReportInterval]. It may be called at any time.
func (s *Sampler) SetReportInterval(d time.Duration) {
	s.report.Store(int64(max(min(d, MaxReportInterval), s.o.Interval)))
}

// ReportInterval returns how long windows shall be. One ends earlier when devices change hands. It may be called at any time.
func (s *Sampler) ReportInterval() time.Duration { return time.Duration(s.report.Load()) }

// Status may be called at any time, also while a tick is stuck.
func (s *Sampler) Status() Status { return *s.status.Load() }

// Run ticks until ctx ends, then hands over what the open window holds.
func (s *Sampler) Run(ctx context.Context) {
	ticker := time.NewTicker(s.o.Interval)
	defer ticker.Stop()
	for {
		s.Tick(ctx, time.Now())
		select {
		case <-ctx.Done():
			s.close()
			return
		case <-ticker.C:
		}
	}
}

// Tick takes one sample. It is called by Run; tests call it with a clock of their own.
func (s *Sampler) Tick(ctx context.Context, now time.Time) {
	if s.epoch.IsZero() {
		s.epoch = now
		s.closed = -s.o.Interval // the first sample speaks for the interval before it
	}
	at := instant{now, now.Sub(s.epoch)}
	status := s.Status()
	status.Began = now
	begun := status
	s.status.Store(&begun)

	readings, problems := s.readDevices(ctx, now)
	owners, known, trouble := s.askOwners(ctx, at.elapsed)
	problems = append(problems, trouble...)
	s.fold(at, readings, owners, problems)
	s.log.update(problems, at.elapsed)

	status.Ticks++
	status.OwnersKnown, status.Holders, status.Problems = known, holders(owners), len(problems)+s.unattributed
	s.status.Store(&status)
	s.o.Observe(time.Since(now))
}

func (s *Sampler) readDevices(ctx context.Context, now time.Time) ([]telemetry.Reading, []string) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Interval)
	defer cancel()
	return s.o.Devices.Read(ctx, now)
}

// askOwners returns the owners to use for a sample taken now: nil when they are not known. One question may go unanswered;
// then the answer before is used.
func (s *Sampler) askOwners(ctx context.Context, now time.Duration) (owners map[string][]telemetry.Owner, answered bool, problems []string) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Interval/2)
	defer cancel()
	told, problems, err := s.o.Owners.Owners(ctx)
	if err != nil {
		if now-s.ownersAge >= s.o.Interval*3/2 {
			s.owners = nil
		}
		return s.owners, false, []string{fmt.Sprintf("kubelet: %v", err)}
	}
	if told == nil {
		told = map[string][]telemetry.Owner{}
	}
	s.owners, s.ownersAge = told, now
	return told, true, problems
}

// holders counts the owners, each once.
func holders(owners map[string][]telemetry.Owner) int {
	different := map[telemetry.Owner]bool{}
	for _, together := range owners {
		for _, o := range together {
			different[o] = true
		}
	}
	return len(different)
}

// fold adds the sample to the open window, after closing one that it does not belong to: because devices changed hands, or
// because there was no sample for a while.
func (s *Sampler) fold(at instant, readings []telemetry.Reading, owners map[string][]telemetry.Owner, problems []string) {
	if s.open != nil && (!s.open.sameOwners(owners) || s.gap(s.open.newest.elapsed, at.elapsed)) {
		s.close()
	}
	if s.open == nil {
		opened := s.closed
		if s.gap(opened, at.elapsed) {
			opened = at.elapsed - s.o.Interval
		}
		s.open = newWindow(opened, owners)
	}
	s.open.add(at, readings, problems)
	// Half an interval early is closer than half an interval late.
	if at.elapsed-s.open.opened >= s.ReportInterval()-s.o.Interval/2 {
		s.close()
	}
}

// gap reports whether so much time passed that a sample does not speak for all of it.
func (s *Sampler) gap(from, to time.Duration) bool { return to-from > 2*s.o.Interval }

// close hands the open window, if there is one, to the sink. It ends with its last sample.
func (s *Sampler) close() {
	w := s.open
	if w == nil {
		return
	}
	s.open, s.closed, s.unattributed = nil, w.newest.elapsed, 0
	b := telemetry.Batch{Node: s.o.Node, OwnersKnown: w.owners != nil, Readings: w.readings()}
	b.Start, b.End = s.timeline.window(w.opened, w.newest)
	if b.OwnersKnown {
		var trouble []string
		b.Usages, trouble = s.o.Attribute(b.Readings, w.owners)
		for _, p := range trouble {
			w.problem(p)
		}
		s.unattributed = len(trouble)
		s.log.update(trouble, w.newest.elapsed)
	}
	b.Problems = w.allProblems()
	s.o.Sink.Put(b)
}
