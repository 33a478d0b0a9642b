package ingest

import (
	"testing"
	"time"
)

func TestPaceFollowsTheLoadAndComesBack(t *testing.T) {
	now := start
	p := newPace(PaceOptions{Shortest: time.Second, Longest: 15 * time.Second, SamplesPerSecond: 20_000}, now)
	look := func(busy float64) time.Duration {
		now = now.Add(lookEvery)
		p.worked(time.Duration(busy * 2 * float64(lookEvery)))
		p.look(now, 2)
		return p.Interval()
	}
	expect := func(what string, busy float64, want time.Duration) {
		t.Helper()
		if got := look(busy); got != want {
			t.Errorf("%s: interval %v, want %v", what, got, want)
		}
	}
	expect("nobody is there", 0, time.Second)
	p.resize(15_000)
	expect("a small cluster", 0.01, time.Second)
	p.resize(85_000)
	expect("100,000 values in a round", 0.1, 5*time.Second)
	p.resize(5_000)
	expect("a few pods more change nothing", 0.1, 5*time.Second)
	p.resize(4_000_000)
	expect("more than the longest interval allows", 0.3, 15*time.Second)
	p.resize(-4_090_000)
	expect("they went", 0.05, time.Second)

	for range 60 {
		look(0.9)
	}
	for range 100 {
		look(0.5)
	}
	expect("neither busy nor restful", 0.5, 15*time.Second)
	for range 150 {
		look(0.05)
	}
	expect("restful again", 0.05, time.Second)
}

// Agents hear of an interval when they report, and those that heard of it in the same second report in the same second.
func TestPaceSettlesWhereTheWritersHaveRoom(t *testing.T) {
	const agents = 1000
	for _, c := range []struct {
		perSecond int // frames that the writer can store
		together  bool
		atMost    time.Duration
	}{{50, true, 15 * time.Second}, {200, true, 15 * time.Second}, {500, true, 6 * time.Second}, {800, true, 5 * time.Second},
		{200, false, 14 * time.Second}, {500, false, 6 * time.Second}, {800, false, 5 * time.Second}, {10_000, false, time.Second}} {
		p := newPace(PaceOptions{}.withDefaults(), start)
		due := make([]time.Duration, agents)
		for i := range due {
			if !c.together {
				due[i] = time.Duration(i) * 15 * time.Second / agents
			}
		}
		waiting, settled := 0, time.Duration(0)
		for second := 1; second <= 600; second++ {
			passed := time.Duration(second) * time.Second
			for i := range due {
				for ; due[i] < passed; due[i] += p.Interval() {
					waiting++
				}
			}
			stored := min(waiting, c.perSecond)
			waiting -= stored
			p.worked(time.Duration(stored) * time.Second / time.Duration(c.perSecond))
			p.look(start.Add(passed), 1)
			if second == 120 {
				settled = p.Interval()
			}
			if got := p.Interval(); second > 120 && got != settled || second == 600 && got > c.atMost {
				t.Errorf("%+v: after %v the interval is %v and was %v; want it to stay", c, passed, got, settled)
				break
			}
		}
	}
}

func TestPaceStaysWithinItsBounds(t *testing.T) {
	for _, c := range []struct{ shortest, longest time.Duration }{{time.Second, time.Second}, {5 * time.Second, 20 * time.Second}} {
		p := newPace(PaceOptions{Shortest: c.shortest, Longest: c.longest, SamplesPerSecond: 1}, start)
		for i, round := range []int{0, 1, 1000, -1001} {
			p.resize(round)
			for j := range 5 {
				p.worked(time.Duration(j) * time.Second)
				p.look(start.Add(time.Duration(5*i+j+1)*time.Second), 1)
				if got := p.Interval(); got < c.shortest || got > c.longest {
					t.Errorf("interval %v: want %v to %v", got, c.shortest, c.longest)
				}
			}
		}
	}
}
