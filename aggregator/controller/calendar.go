package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/foretide/foretide/aggregator/forecast"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// Calendars knows the days in the calendar files that policies name.
type Calendars interface {
	// Days are the days in a file of a ConfigMap that may matter to a forecast made now, and a version that is another whenever
	// the file is. The days that could be read are given beside an error, which says what is wrong in words. It may wait for the
	// API server, but not each time.
	Days(ctx context.Context, namespace, configMap, key string, now time.Time) (days []forecast.Date, version string, err error)
}

var errNoCalendars = errors.New("there is no API server to read it from")

// file is what a calendar file said when it was last asked for.
type file struct {
	days    []forecast.Date
	version string
	err     string
}

func (f file) same(other file) bool {
	return f.version == other.version && f.err == other.err && slices.Equal(f.days, other.days)
}

// files reads the calendar files of a policy.
func (e *Evaluator) files(ctx context.Context, policy *v1alpha1.AdvancedHorizontalPodAutoscaler, now time.Time) []file {
	named := policy.Spec.Prediction.Calendars
	if len(named) == 0 {
		return nil
	}
	out := make([]file, len(named))
	for i, c := range named {
		err := errNoCalendars
		if e.Calendars != nil {
			out[i].days, out[i].version, err = e.Calendars.Days(ctx, policy.Namespace, c.ConfigMapName, c.Key, now)
		}
		if err != nil {
			out[i].err = err.Error()
		}
	}
	return out
}

// calendar is what a policy says of the days of its workload. What in it cannot be is left out and told: the rest holds.
type calendar struct {
	forecast.Calendar
	zone  string // as the policy has them
	days  []v1alpha1.SpecialDay
	named []v1alpha1.Calendar
	files []file // of those that are named
	id    string // the same for the same calendar
	wrong string // a sentence, empty when nothing is
}

func newCalendar(spec *v1alpha1.AdvancedHorizontalPodAutoscalerSpec, files []file) *calendar {
	p := spec.Prediction
	c := &calendar{zone: spec.TimeZone, days: slices.Clone(p.Days), named: slices.Clone(p.Calendars), files: files}
	var wrong []string
	location, err := spec.Location()
	if err != nil {
		wrong, location = append(wrong, err.Error()+"; it is taken for UTC"), time.UTC
	}
	c.Location = location
	id := []string{location.String()}
	said := map[forecast.Date]bool{}
	for i := range p.Days {
		at, err := p.Day(i)
		if err != nil {
			wrong = append(wrong, err.Error()+"; it is left out")
			continue
		}
		c.put(forecast.DateOf(at), p.Days[i].Kind(), said)
		id = append(id, p.Days[i].Date+nameOf(p.Days[i].Kind()))
	}
	slices.Sort(id[1:])
	for i, f := range files {
		if err := p.Calendar(i); err != nil {
			wrong = append(wrong, err.Error()+"; it is left out")
			continue
		}
		if f.err != "" {
			wrong = append(wrong, fmt.Sprintf("spec.prediction.calendars[%d], %q in ConfigMap %q: %s", i, p.Calendars[i].Key, p.Calendars[i].ConfigMapName, f.err))
		}
		for _, date := range f.days {
			c.put(date, p.Calendars[i].Kind(), said)
		}
		// Not its days: which of them matter changes with time, and what is known of the workload stays.
		id = append(id, p.Calendars[i].ConfigMapName+"/"+p.Calendars[i].Key+"@"+f.version+nameOf(p.Calendars[i].Kind()))
	}
	c.id, c.wrong = strings.Join(id, " "), strings.Join(wrong, "; ")
	return c
}

// put takes what is first said of a day.
func (c *calendar) put(date forecast.Date, kind v1alpha1.DayKind, said map[forecast.Date]bool) {
	if said[date] {
		return
	}
	said[date] = true
	if like, ok := kind.Weekday(); ok {
		if c.Days == nil {
			c.Days = make(map[forecast.Date]time.Weekday)
		}
		c.Days[date] = like
	}
	if kind.Scale > 0 {
		if c.Scales == nil {
			c.Scales = make(map[forecast.Date]float64)
		}
		c.Scales[date] = float64(kind.Scale) / 100
	}
}

// nameOf is a kind of day in an id.
func nameOf(k v1alpha1.DayKind) string {
	if k.Scale > 0 {
		return fmt.Sprintf("%s*%d%%", k.Like, k.Scale)
	}
	return string(k.Like)
}

// of tells whether it is still the policy's.
func (c *calendar) of(spec *v1alpha1.AdvancedHorizontalPodAutoscalerSpec, files []file) bool {
	return c != nil && c.zone == spec.TimeZone && slices.Equal(c.days, spec.Prediction.Days) && slices.Equal(c.named, spec.Prediction.Calendars) &&
		slices.EqualFunc(c.files, files, file.same)
}
