package controller

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
	"github.com/foretide/foretide/pkg/cron"
)

// bounds are the fewest and the most replicas a policy allows, at any time.
type bounds struct {
	min, max int32 // where no window holds
	windows  []boundsWindow
	location *time.Location
}

// boundsWindow are bounds in the minutes of a mask between two moments, by the clock of a location.
type boundsWindow struct {
	path       string    // of the entry
	start, end time.Time // zero = open
	minutes    cron.Mask
	min, max   int32
}

// newBounds reads the bounds of a policy. What of them cannot be read holds at no time; wrong names it, with what is allowed.
func newBounds(spec *v1alpha1.AdvancedHorizontalPodAutoscalerSpec) (b bounds, wrong string) {
	b = bounds{min: *spec.MinReplicas, max: spec.MaxReplicas, location: time.UTC}
	if len(spec.InstanceBounds) == 0 {
		return b, ""
	}
	location, err := spec.Location()
	if err != nil {
		return b, err.Error()
	}
	b.location = location
	var troubles []string
	for i, window := range spec.InstanceBounds {
		start, early := moment(window.StartTime, location)
		end, late := moment(window.EndTime, location)
		if err := errors.Join(early, late); err != nil {
			troubles = append(troubles, fmt.Sprintf("spec.instanceBounds[%d] is from %q to %q: %v", i, window.StartTime, window.EndTime, err))
			continue
		}
		for k, c := range window.Bounds {
			minutes, err := cron.Parse(c.Cron)
			if err != nil {
				troubles = append(troubles, fmt.Sprintf("spec.instanceBounds[%d].bounds[%d].cron is %q: %v", i, k, c.Cron, err))
				continue
			}
			path := fmt.Sprintf("spec.instanceBounds[%d].bounds[%d] (%s)", i, k, c.Cron)
			b.windows = append(b.windows, boundsWindow{path, start, end, minutes, c.MinReplicas, c.MaxReplicas})
		}
	}
	return b, strings.Join(troubles, "; ")
}

// moment is a time by the clock of a location; zero where it is not given. The schema lets the thirtieth of February through.
func moment(text string, location *time.Location) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	return time.ParseInLocation(v1alpha1.TimeLayout, text, location)
}

// at returns the bounds that hold at a moment. Where several windows hold, the largest of each counts: no window takes away what
// another grants.
func (b bounds) at(now time.Time) (least, most int32) {
	here, found := now.In(b.location), false
	for _, w := range b.windows {
		if !w.holds(here) {
			continue
		}
		least, most, found = max(least, w.min), max(most, w.max), true
	}
	if !found {
		return b.min, b.max
	}
	return least, most
}

// holds tells whether a window does at a moment, by the clock of its location.
func (w boundsWindow) holds(at time.Time) bool {
	return !at.Before(w.start) && (w.end.IsZero() || at.Before(w.end)) && w.minutes.Has(at)
}

// ahead returns the bounds of now, with as many replicas at least as any minute until lead will ask for: they are there in time.
func (b bounds) ahead(now time.Time, lead time.Duration) (least, most int32) {
	least, most = b.at(now)
	if len(b.windows) == 0 {
		return least, most
	}
	for at := now.Truncate(time.Minute).Add(time.Minute); !at.After(now.Add(lead)); at = at.Add(time.Minute) {
		soon, _ := b.at(at)
		least = max(least, soon)
	}
	return least, max(least, most)
}

// boundsLook is how far ahead a change of the bounds is looked for.
const boundsLook = 24 * time.Hour

// changes is the first minute after now in which ahead says something else than it does now; zero when none does within boundsLook.
func (b bounds) changes(now time.Time, lead time.Duration) time.Time {
	if len(b.windows) == 0 {
		return time.Time{}
	}
	least, most := b.ahead(now, lead)
	first, reach := now.Truncate(time.Minute), int(lead/time.Minute)
	var mins, maxs []int32 // [minute from first] each is asked for once
	for minute := 1; minute <= int(boundsLook/time.Minute); minute++ {
		for i := len(mins); i <= minute+reach; i++ {
			low, high := b.at(first.Add(time.Duration(i) * time.Minute))
			mins, maxs = append(mins, low), append(maxs, high)
		}
		low := slices.Max(mins[minute : minute+reach+1])
		if low != least || max(low, maxs[minute]) != most {
			return first.Add(time.Duration(minute) * time.Minute)
		}
	}
	return time.Time{}
}

// nextChange is when bounds change next, which is looked for once and not at each sync.
type nextChange struct {
	lead      time.Duration
	at, again time.Time
}

// changeOfBounds is when the bounds of a policy change next; zero when that is not soon.
func (r *rules) changeOfBounds(now time.Time, lead time.Duration) time.Time {
	if n := &r.next; n.lead != lead || !now.Before(n.again) {
		n.lead, n.at, n.again = lead, r.bounds.changes(now, lead), now.Add(time.Hour)
		if !n.at.IsZero() {
			n.again = n.at
		}
	}
	return r.next.at
}

// sooner is the earlier of two moments, of which a zero one is none.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
