package app

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/foretide/foretide/aggregator/simulate"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// setting is one of each of a policy's knobs, in the order in which they are turned.
type setting [4]int32

// What the knobs are, and what is tried of each; what the policy has, and what fits its pods' startup, come to that.
const (
	knobTarget        = iota // utilization, percent
	knobQuantile             // of the forecast, percent
	knobLead                 // scaleUpForward, seconds
	knobStabilization        // seconds
)

var (
	triedTargets        = []int32{30, 40, 50, 60, 65, 70, 75, 80, 85, 90, 95}
	triedQuantiles      = []int32{50, 60, 70, 80, 90, 95, 99}
	triedLeads          = []float64{0, 0.5, 1, 1.25, 1.5, 2, 3} // of what nine in ten pods take to start
	triedStabilizations = []int32{0, 60, 120, 300, 600, 900}
)

func (s setting) String() string {
	return fmt.Sprintf("target %d %%, quantile %d, scaleUpForward %d, stabilization %d s", s[knobTarget], s[knobQuantile], s[knobLead], s[knobStabilization])
}

// search looks for the cheapest setting that is short no longer than is allowed.
type search struct {
	policy *v1alpha1.AdvancedHorizontalPodAutoscaler
	leg    leg
	most   time.Duration // that it may be short
	tries  int           // that are allowed
	steps  [4][]int32    // what is tried of each knob, the least first
	known  map[setting]simulate.Result
	bar    *progress
}

// Tune is `aggregator tune`: it looks for the settings of a policy that cost least while work waits no longer than is allowed, on the first half
// of a flight, and prints the policy with them and what they did on the other half.
func Tune(ctx context.Context, args []string, out, log io.Writer) error {
	f := flag.NewFlagSet("aggregator tune", flag.ContinueOnError)
	var o flightFlags
	o.register(f, "a third of it")
	most := f.Float64("most-short", 5, "`minutes` a day for which work may wait")
	tries := f.Int("tries", 40, "`number` of settings that are tried at most")
	if err := Parse(f, "Looks for the target, quantile, lead time and stabilization of a policy that cost least while work waits no longer than is allowed, on one half of a "+
		"recorded load, and prints the policy with them and what they did on the other half.", args, out); err != nil {
		return err
	}
	if !(*most >= 0 && *most <= 1440) {
		return fmt.Errorf("--most-short is %v: it must be 0 to 1440, minutes a day", *most)
	}
	if *tries < 1 || *tries > 10000 {
		return fmt.Errorf("--tries is %d: it must be 1 to 10000", *tries)
	}
	flight, err := o.read(ctx, func(all time.Duration) time.Duration { return (all / 3).Round(time.Hour) })
	if err != nil {
		return err
	}
	middle := flight.flown + (len(flight.offered)-flight.flown)/2
	middle -= middle % int(time.Minute/o.step)
	s := newSearch(flight, flight.part(flight.flown, middle), *most, *tries)
	s.bar = newProgress(log, time.Duration(*tries)*s.leg.length())
	found, err := s.run(ctx)
	s.bar.end()
	if err != nil {
		return err
	}
	if r := s.known[found]; r.Short > s.most {
		return fmt.Errorf("--most-short is %v: of %d settings none was so good; the least short was so for %.1f min a day (%s). Allow more, or give it more replicas or pods that start sooner",
			*most, len(s.known), aDay(r.Short, s.leg), found)
	}
	return s.tell(ctx, flight, flight.part(middle, len(flight.offered)), found, out, log)
}

// aDay is how many minutes of each day that is.
func aDay(short time.Duration, l leg) float64 {
	return short.Minutes() / (l.length().Hours() / 24)
}

// newSearch begins with the policy as it is.
func newSearch(f *flight, l leg, mostADay float64, tries int) *search {
	s := &search{policy: f.policy, leg: l, tries: tries, known: map[setting]simulate.Result{}}
	s.most = time.Duration(mostADay * l.length().Hours() / 24 * float64(time.Minute))
	startup := f.startup(0.9).Seconds()
	var leads []int32
	for _, part := range triedLeads {
		leads = append(leads, int32(min(3600, math.Ceil(part*startup/15)*15)))
	}
	own := settingOf(f.policy)
	for knob, tried := range [][]int32{triedTargets, triedQuantiles, leads, triedStabilizations} {
		all := append(slices.Clone(tried), own[knob])
		slices.Sort(all)
		s.steps[knob] = slices.Compact(all)
	}
	return s
}

// run tries a coarse grid of targets and quantiles, and from the best of it on turns one knob after the other for as long as that helps.
func (s *search) run(ctx context.Context) (best setting, err error) {
	best = settingOf(s.policy)
	grid := []setting{best}
	targets, quantiles := s.steps[knobTarget], s.steps[knobQuantile]
	for _, target := range []int{len(targets) / 4, len(targets) / 2, 3 * len(targets) / 4, len(targets) - 1} {
		for _, quantile := range []int{0, len(quantiles) / 2, len(quantiles) - 1} {
			next := best
			next[knobTarget], next[knobQuantile] = targets[target], quantiles[quantile]
			grid = append(grid, next)
		}
	}
	if best, err = s.best(ctx, grid); err != nil {
		return best, err
	}
	for turned := true; turned; {
		turned = false
		for knob := range s.steps {
			for {
				better, err := s.best(ctx, append([]setting{best}, s.neighbours(best, knob)...))
				if err != nil {
					return best, err
				}
				if better == best {
					break
				}
				best, turned = better, true
			}
		}
	}
	return best, nil
}

// neighbours are the settings with a knob turned one step down and up.
func (s *search) neighbours(of setting, knob int) (out []setting) {
	at := slices.Index(s.steps[knob], of[knob])
	for _, i := range []int{at - 1, at + 1} {
		if i >= 0 && i < len(s.steps[knob]) {
			next := of
			next[knob] = s.steps[knob][i]
			out = append(out, next)
		}
	}
	return out
}

// best tries settings as far as that is allowed, and returns the first that none of the others is better than.
func (s *search) best(ctx context.Context, all []setting) (setting, error) {
	if err := s.try(ctx, all); err != nil {
		return all[0], err
	}
	best := all[0]
	for _, next := range all[1:] {
		if r, ok := s.known[next]; ok && s.better(r, s.known[best]) {
			best = next
		}
	}
	return best, nil
}

// better is cheaper among those that are short no longer than is allowed, and less short among the others.
func (s *search) better(a, b simulate.Result) bool {
	if over := max(a.Short, s.most) - max(b.Short, s.most); over != 0 {
		return over < 0
	}
	return a.GPUHours < b.GPUHours
}

// try flies settings that are not known yet, as many at a time as there are processors.
func (s *search) try(ctx context.Context, all []setting) error {
	var fresh []setting
	for _, next := range all {
		if _, ok := s.known[next]; !ok && !slices.Contains(fresh, next) && len(s.known)+len(fresh) < s.tries {
			fresh = append(fresh, next)
		}
	}
	results, errs := make([]simulate.Result, len(fresh)), make([]error, len(fresh))
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex // of the bar
		places = make(chan struct{}, runtime.GOMAXPROCS(0))
	)
	for i, next := range fresh {
		wg.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			results[i], errs[i] = s.leg.fly(ctx, next.with(s.policy), func(done time.Duration) {
				mu.Lock()
				defer mu.Unlock()
				s.bar.add(done, next.String())
			}, nil)
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return errs[slices.IndexFunc(errs, func(err error) bool { return err != nil })]
	}
	for i, next := range fresh {
		s.known[next] = results[i]
	}
	return nil
}
