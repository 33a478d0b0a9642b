package ingest

import (
	"math"
	"sync"
	"time"
)

// PaceOptions bounds how often agents report.
type PaceOptions struct {
	// Shortest and Longest bound the report interval.
	Shortest, Longest time.Duration
	// SamplesPerSecond is how many values all agents together shall send, as long as Longest allows.
	SamplesPerSecond float64
}

// DefaultSamplesPerSecond is a hundredth of a core for the store, and 50 GB in a week: about 300 GPUs that report each second.
const DefaultSamplesPerSecond = 20_000

func (o PaceOptions) withDefaults() PaceOptions {
	if o.Shortest == 0 {
		o.Shortest = time.Second
	}
	if o.Longest == 0 {
		o.Longest = max(15*time.Second, o.Shortest)
	}
	if o.SamplesPerSecond == 0 {
		o.SamplesPerSecond = DefaultSamplesPerSecond
	}
	return o
}

// pace is the report interval that suits the load: as short as it may be in a small cluster, longer the more values there are
// to a round of all agents, and the busier the writers are; it comes back down.
type pace struct {
	opts PaceOptions

	mu       sync.Mutex
	round    int // values of one frame of each stream
	stretch  float64
	interval time.Duration
	// busy is the writers' time at work since from. Before that agents are still hearing of the interval.
	busy time.Duration
	from time.Time
}

const (
	// lookEvery is how often the load is looked at: after a start all agents come at once.
	lookEvery = time.Second
	// relax is by how much intervals come back in each second of restful writers, at most.
	relax = 0.95
	// tooBusy and restful are the shares of the writers' time above which intervals are stretched, and below which they come back;
	// aim is what either is meant to come to.
	tooBusy, aim, restful = 0.6, 0.45, 0.3
	// changeBy keeps the interval from following every pod: it changes when it is off by more.
	changeBy = 0.2
)

func newPace(o PaceOptions, now time.Time) *pace {
	return &pace{opts: o, stretch: 1, from: now, interval: o.Shortest}
}

// resize tells that a stream's frames have more or fewer values than they had.
func (p *pace) resize(by int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.round += by
}

// worked tells how long a writer was at work on a group.
func (p *pace) worked(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy += d
}

// Interval is what agents are asked for now, in whole seconds where it is more than one.
func (p *pace) Interval() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.interval
}

// look takes stock of so many writers.
func (p *pace) look(now time.Time, writers int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.restretch(now, writers)
	wanted := p.stretch * float64(p.round) / p.opts.SamplesPerSecond
	wanted = min(max(wanted, p.stretch*p.opts.Shortest.Seconds(), p.opts.Shortest.Seconds()), p.opts.Longest.Seconds())
	have := p.interval.Seconds()
	if wanted > have*(1+changeBy) || wanted < have*(1-changeBy) || wanted == p.opts.Shortest.Seconds() || wanted == p.opts.Longest.Seconds() {
		p.change(now, wholeSeconds(wanted))
	}
}

// restretch goes by the load over a whole interval: agents that were told it in the same second report in the same second.
func (p *pace) restretch(now time.Time, writers int) {
	passed := now.Sub(p.from)
	if passed < 0 {
		p.busy = 0
	}
	if passed < p.interval {
		return
	}
	load := p.busy.Seconds() / passed.Seconds() / float64(writers)
	p.from, p.busy = now, 0
	switch {
	case load > tooBusy:
		p.stretch = min(p.stretch*load/aim, p.opts.Longest.Seconds()/p.opts.Shortest.Seconds())
	case load < restful:
		p.stretch = max(1, p.stretch*max(load/aim, math.Pow(relax, passed.Seconds())))
	}
}

// change gives the agents the time of the old interval to hear of the new one.
func (p *pace) change(now time.Time, interval time.Duration) {
	if interval != p.interval {
		p.from, p.busy = now.Add(p.interval), 0
	}
	p.interval = interval
}

func wholeSeconds(s float64) time.Duration {
	d := time.Duration(s * float64(time.Second))
	if d <= time.Second {
		return d
	}
	return (d + time.Second - 1).Truncate(time.Second)
}
