// Package scrape asks the inference servers on this node how busy they are: their queues are a better signal of demand than
// the use of their GPUs.
//
//	pods → targets → pages → values by pod
//
// A server is not trusted: what it answers is bounded in time and size, read a line at a time, and believed only if all of it
// can be read. What it asks for, such as to look elsewhere, is not done.
package scrape

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/foretide/foretide/pkg/problemlog"
	"github.com/foretide/foretide/pkg/telemetry"
)

const (
	// keptIntervals is how many intervals a value is told on after it was read.
	keptIntervals = 3
	// emptyEvery is how often a pod is asked whose page had nothing that is wanted: many pods have a page, few are servers.
	emptyEvery = time.Minute
)

// Options configures a [Scraper]. Pods and Logger must be set; for the others zero means what is said.
type Options struct {
	// Interval is the time between two scrapes of a pod: 5 s.
	Interval time.Duration
	// Timeout bounds one scrape: 2 s, and no more than half of Interval.
	Timeout time.Duration
	// MaxBytes bounds one page: 4 MiB.
	MaxBytes int64
	// MaxTargets bounds the pods that are scraped: 64.
	MaxTargets int
	// Parallel bounds the scrapes at one time: 4.
	Parallel int
	// Allow lists the names of the samples to read; nil takes those of [Definitions]. Names that need quotes are never found.
	Allow []string
	// Pods returns the pods of this node. It must not keep the caller waiting.
	Pods   func() []PodView
	Logger *slog.Logger
	// Now is the clock; nil takes the system's.
	Now func() time.Time
}

// Stats is how the scraper is doing.
type Stats struct {
	// Targets are the pods that are scraped.
	Targets int
	// Scrapes counts those that succeeded and those that failed.
	Scrapes uint64
	// Failures counts those that failed; every one of [Reasons] is there.
	Failures map[Reason]uint64
	// Postponed counts scrapes that were not begun because there was no time left in their interval.
	Postponed uint64
	// LeftOut counts values that were not used because a series was negative, infinite or not a number.
	LeftOut uint64
	// Repeated counts series that were on their page a second time.
	Repeated uint64
	// LastPass is how long it took to ask all targets once; zero before the first time.
	LastPass time.Duration
}

// Scraper holds what each pod said last.
type Scraper struct {
	o     Options
	pages []*page // one for each scrape at one time; only Run uses them
	log   *problemlog.Log
	began time.Time

	mu       sync.Mutex
	watches  map[Target]*watch
	problems []string
	stats    Stats
}

// watch is what is known of one target.
type watch struct {
	Target
	ready    bool // the pod is
	client   *client
	tried    time.Time // when it was asked last; zero before
	answered time.Time // when it last answered properly; zero before
	failed   *failure  // nil when it did the last time
	empty    bool      // nothing on its page was wanted
	values   []telemetry.WorkloadValue
}

// New returns a scraper that Run sets going.
func New(o Options) *Scraper {
	o.Interval = cmp.Or(max(o.Interval, 0), 5*time.Second)
	o.Timeout = min(cmp.Or(max(o.Timeout, 0), 2*time.Second), o.Interval/2)
	o.MaxBytes = cmp.Or(max(o.MaxBytes, 0), 4<<20)
	o.MaxTargets = cmp.Or(max(o.MaxTargets, 0), 64)
	o.Parallel = cmp.Or(max(o.Parallel, 0), 4)
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Scraper{o: o, watches: map[Target]*watch{}, stats: Stats{Failures: map[Reason]uint64{}}}
	s.log, s.began = problemlog.New(o.Logger), o.Now()
	for _, r := range Reasons() {
		s.stats.Failures[r] = 0
	}
	names := wanted(o.Allow)
	for range o.Parallel {
		s.pages = append(s.pages, newPage(names))
	}
	return s
}

// Run scrapes each interval until ctx ends.
func (s *Scraper) Run(ctx context.Context) {
	ticker := time.NewTicker(s.o.Interval)
	defer ticker.Stop()
	for {
		s.pass(ctx)
		select {
		case <-ctx.Done():
			s.follow(nil)
			return
		case <-ticker.C:
		}
	}
}

// Values returns what the pods said, by namespace, pod and name: of each pod that is still there the newest values, unless
// they are older than three intervals. It may be called at any time.
func (s *Scraper) Values(now time.Time) []telemetry.WorkloadValue {
	s.mu.Lock()
	defer s.mu.Unlock()
	var values []telemetry.WorkloadValue
	for _, w := range s.watches {
		if !w.answered.IsZero() && now.Sub(w.answered) <= keptIntervals*s.o.Interval {
			values = append(values, w.values...)
		}
	}
	slices.SortFunc(values, func(a, b telemetry.WorkloadValue) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Pod, b.Pod), cmp.Compare(a.Name, b.Name))
	})
	return values
}

// Problems returns what was wrong the last time, in alphabetical order. It may be called at any time.
func (s *Scraper) Problems() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.problems)
}

// Stats may be called at any time.
func (s *Scraper) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.stats
	stats.Targets = len(s.watches)
	stats.Failures = maps.Clone(s.stats.Failures)
	return stats
}
