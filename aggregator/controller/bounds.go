package controller

import (
	"errors"
	"fmt"
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
			b.windows = append(b.windows, boundsWindow{start, end, minutes, c.MinReplicas, c.MaxReplicas})
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
		if now.Before(w.start) || !w.end.IsZero() && !now.Before(w.end) || !w.minutes.Has(here) {
			continue
		}
		least, most, found = max(least, w.min), max(most, w.max), true
	}
	if !found {
		return b.min, b.max
	}
	return least, most
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
