package controller

import (
	"fmt"
	"math"
	"time"

	"github.com/foretide/foretide/aggregator/scaling"
)

// The average over many seconds keeps noise out, and takes as long to tell of a step of load. The newest reports tell of it in two
// seconds, and of each burst as well. So they count for growing alone, and only as far as they go beyond what they went too far by of
// late:
//
//	busy GPUs to decide on = max(average, recent − the most by which recent exceeded, within the last hour, what the average came to)
//
// A load that goes to and fro each second, or a request that takes three, teaches that within minutes, and then counts as little as it
// does in the average alone; before there are minutes to learn from, the average decides alone. A rise that stays was no noise: the
// average came to it.

const (
	// surgeSlot is the grain of that memory. What the average came to is its maximum in the slot, the one before and the one after:
	// an average over the longest window there is, two minutes, has followed by then.
	surgeSlot = 2 * time.Minute
	// surgeSlots are those of an hour, and two without a verdict: the present one and the one before.
	surgeSlots = int64(time.Hour/surgeSlot) + 2
	// surgeRises is how long a surge may grow once it counts. Afterwards it counts as it is until the average has come to surgeConfirmed
	// of it, or is known to be noise: with more replicas some noise is larger, and must not be followed up and up.
	surgeRises     = 5 * time.Second
	surgeConfirmed = 0.8
)

// surges is what a policy remembers of the newest reports and of the average.
type surges struct {
	slots [surgeSlots]surgeSlotPeaks
	// level is the largest demand that counts by a surge that the average has not come to yet, began when it did first; 0 = there is none.
	level float64
	began time.Time
}

// surgeSlotPeaks are the largest of each within a slot, in busy GPUs.
type surgeSlotPeaks struct {
	number          int64 // of the slot, since the epoch; 0 = nothing was seen
	recent, average float64
}

// see remembers a look.
func (s *surges) see(now time.Time, recent, average float64) {
	number := slotOf(now)
	slot := &s.slots[number%surgeSlots]
	if slot.number != number {
		*slot = surgeSlotPeaks{number: number}
	}
	slot.recent, slot.average = max(slot.recent, recent), max(slot.average, average)
}

// noise is by how much the newest reports may say too much; false when nothing is known of that yet.
func (s *surges) noise(now time.Time) (noise float64, ok bool) {
	present := slotOf(now)
	for number := present - surgeSlots + 1; number <= present-2; number++ {
		slot := s.slots[number%surgeSlots]
		if slot.number != number {
			continue
		}
		came := slot.average
		for _, beside := range []int64{number - 1, number + 1} {
			if other := s.slots[beside%surgeSlots]; other.number == beside {
				came = max(came, other.average)
			}
		}
		noise, ok = max(noise, slot.recent-came), true
	}
	return noise, ok
}

func slotOf(now time.Time) int64 { return now.Unix() / int64(surgeSlot/time.Second) }

// raise lets a surge count in the load of a workload's pods, of which recent has what the newest reports say, NaN where they say
// nothing; why says so, "" when there is none. It never lowers anything.
func (s *surges) raise(pods []scaling.Pod, recent []float64, now time.Time) (why string) {
	var average, newest, rise float64
	for i, pod := range pods {
		if pod.State != scaling.Ready || !pod.Known {
			continue
		}
		if math.IsNaN(recent[i]) {
			recent[i] = pod.Uses
		}
		average, newest = average+pod.Uses, newest+recent[i]
		rise += max(0, recent[i]-pod.Uses)
	}
	noise, known := s.noise(now)
	s.see(now, newest, average)
	beyond := s.bounded(newest-noise, average, now) - average
	if !known || beyond <= 0 {
		return ""
	}
	for i := range pods {
		if pod := &pods[i]; pod.State == scaling.Ready && pod.Known {
			pod.Uses += beyond * max(0, recent[i]-pod.Uses) / rise
		}
	}
	return fmt.Sprintf("the newest reports say %.2f busy GPUs, the average %.2f, and noise explains %.2f", newest, average, noise)
}

// bounded returns as much of the demand that a surge asks for as may count beside an average.
func (s *surges) bounded(demand, average float64, now time.Time) float64 {
	if average >= surgeConfirmed*s.level || now.Sub(s.began) >= 2*surgeSlot {
		s.level, s.began = 0, now
	}
	if now.Sub(s.began) > surgeRises {
		return min(demand, s.level)
	}
	s.level = max(s.level, demand)
	return demand
}
