// Package sampler is the tick: each interval it reads the devices, asks who holds them and has the samples attributed, folds
// what comes of it into a window, and hands a batch to the sink when the window is as long as the aggregator wants it.
//
//	devices + holdings → attribution → window → batch → sink
package sampler

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/foretide/foretide/pkg/problemlog"
	"github.com/foretide/foretide/pkg/telemetry"
)

// MaxReportInterval bounds the report interval that can be asked for.
const MaxReportInterval = time.Minute

// DeviceReader looks at every device once and names what it could not read.
type DeviceReader interface {
	Read(ctx context.Context, now time.Time) ([]telemetry.Sample, []string)
}

// HoldingLister says which containers were given which devices. An error means that nothing is known.
type HoldingLister interface {
	Holdings(ctx context.Context) ([]telemetry.Holding, error)
}

// Attributed is who used what of one look at the devices. Energy is that since the look before.
type Attributed struct {
	Readings []telemetry.Reading
	Usages   []telemetry.Usage
	Problems []string
}

// Sink takes finished batches; their session and sequence are not set. It must not keep the caller waiting.
type Sink interface {
	Put(telemetry.Batch)
}

// Options configures a [Sampler]. Every field down to Logger must be set.
type Options struct {
	Node string
	// Interval is the time between two samples.
	Interval time.Duration
	Devices  DeviceReader
	Holdings HoldingLister
	// Attribute says who used what of the samples.
	Attribute func([]telemetry.Sample, []telemetry.Holding) Attributed
	Sink      Sink
	Logger    *slog.Logger
	// Pods says what is known of the pods that have usages, and Workload what inference servers said of themselves; nil adds nothing.
	Pods     func([]telemetry.Usage) []telemetry.Pod
	Workload func(now time.Time) []telemetry.WorkloadValue
	// Observe is told how long each tick took.
	Observe func(time.Duration)
	// Random draws from [0, 1); nil is math/rand's.
	Random func() float64
}

// Status is where the sampler stands.
type Status struct {
	// Began is when the last tick began; zero before the first.
	Began time.Time
	// Ticks counts the ticks that are done.
	Ticks uint64
	// OwnersKnown tells whether the last question to the kubelet was answered, Answered when one was last; zero before the first.
	OwnersKnown bool
	Answered    time.Time
	// Holders counts the containers that hold devices, as the kubelet told last; 0 when that is not known.
	Holders int
	// Problems counts what the last tick found wrong.
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
	// wanted is the report interval the open window was looked at with last; first, when it is not 0, ends this window earlier.
	wanted, first time.Duration
	closed        time.Duration
	log           *problemlog.Log

	holdings    []telemetry.Holding
	holdingsAge time.Duration // when they were told
	ledger      ledger
}

// New returns a sampler that reports each interval until told otherwise.
func New(o Options) *Sampler {
	if o.Observe == nil {
		o.Observe = func(time.Duration) {}
	}
	if o.Pods == nil {
		o.Pods = func([]telemetry.Usage) []telemetry.Pod { return nil }
	}
	if o.Workload == nil {
		o.Workload = func(time.Time) []telemetry.WorkloadValue { return nil }
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	s := &Sampler{o: o, log: problemlog.New(o.Logger), ledger: newLedger()}
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

	samples, problems := s.readDevices(ctx, now)
	holdings, answered, trouble := s.askHoldings(ctx, at.elapsed)
	problems = append(problems, trouble...)
	seen := s.attribute(samples, holdings, at.elapsed)
	problems = append(problems, seen.Problems...)
	s.fold(at, seen, holdings, problems)
	s.log.Update(problems, at.elapsed)

	status.Ticks++
	status.OwnersKnown, status.Holders, status.Problems = answered, holders(holdings), len(problems)
	if answered {
		status.Answered = now
	}
	s.status.Store(&status)
	s.o.Observe(time.Since(now))
}

// readShare is the part of the interval that reading the devices may take: a driver that does not answer in one of them shall not
// make the batch of the others late.
const readShare = 0.6

func (s *Sampler) readDevices(ctx context.Context, now time.Time) ([]telemetry.Sample, []string) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(readShare*float64(s.o.Interval)))
	defer cancel()
	return s.o.Devices.Read(ctx, now)
}

// askHoldings returns the holdings to use for a sample taken now: nil when they are not known. One question may go unanswered;
// then the answer before is used.
func (s *Sampler) askHoldings(ctx context.Context, now time.Duration) (holdings []telemetry.Holding, answered bool, problems []string) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Interval/2)
	defer cancel()
	told, err := s.o.Holdings.Holdings(ctx)
	if err != nil {
		if now-s.holdingsAge >= s.o.Interval*3/2 {
			s.holdings = nil
		}
		return s.holdings, false, []string{fmt.Sprintf("kubelet: %v", err)}
	}
	if told == nil {
		told = []telemetry.Holding{}
	}
	s.holdings, s.holdingsAge = told, now
	return told, true, nil
}

// attribute has the samples attributed, and puts totals in place of the energy of one interval.
func (s *Sampler) attribute(samples []telemetry.Sample, holdings []telemetry.Holding, now time.Duration) Attributed {
	counters := s.ledger.increases(samples)
	var seen Attributed
	if holdings != nil {
		seen = s.o.Attribute(samples, holdings)
	} else {
		for _, sample := range samples {
			seen.Readings = append(seen.Readings, sample.Reading)
		}
	}
	s.ledger.totals(seen, counters, now)
	return seen
}

// holders counts the owners, each once.
func holders(holdings []telemetry.Holding) int {
	different := make(map[telemetry.Owner]bool, len(holdings))
	for _, h := range holdings {
		different[h.Owner] = true
	}
	return len(different)
}

// fold adds the sample to the open window, after closing one that it does not belong to: because devices changed hands, or
// because there was no sample for a while.
func (s *Sampler) fold(at instant, seen Attributed, holdings []telemetry.Holding, problems []string) {
	if s.open != nil && (!s.open.sameHoldings(holdings) || s.gap(s.open.newest.elapsed, at.elapsed)) {
		s.close()
	}
	if s.open == nil {
		opened := s.closed
		if s.gap(opened, at.elapsed) {
			opened = at.elapsed - s.o.Interval
		}
		s.open = newWindow(opened, holdings)
	}
	s.open.add(at, seen, problems)
	// Half an interval early is closer than half an interval late.
	if at.elapsed-s.open.opened >= s.length()-s.o.Interval/2 {
		s.close()
	}
}

// length is how long the open window shall be. The first after a longer interval was asked for ends anywhere within it: agents that
// are told so at the same moment shall not report at the same moments ever after.
func (s *Sampler) length() time.Duration {
	wanted := s.ReportInterval()
	if wanted > s.wanted && s.wanted > 0 {
		s.first = max(s.o.Interval, time.Duration(s.o.Random()*float64(wanted)))
	}
	s.wanted = wanted
	if s.first > 0 {
		return min(s.first, wanted)
	}
	return wanted
}

// gap reports whether so much time passed that a sample does not speak for all of it.
func (s *Sampler) gap(from, to time.Duration) bool { return to-from > 2*s.o.Interval }

// close hands the open window, if there is one, to the sink. It ends with its last sample.
func (s *Sampler) close() {
	w := s.open
	if w == nil {
		return
	}
	s.open, s.closed, s.first = nil, w.newest.elapsed, 0
	b := telemetry.Batch{Node: s.o.Node, OwnersKnown: w.holdings != nil, Readings: w.readings(), Usages: w.usages(),
		Workload: s.o.Workload(w.newest.wall), Problems: w.allProblems()}
	b.Pods = s.o.Pods(b.Usages)
	b.Start, b.End = s.timeline.window(w.opened, w.newest)
	s.o.Sink.Put(b)
}
