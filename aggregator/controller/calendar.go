package controller

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/foretide/foretide/aggregator/forecast"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// calendar is what a policy says of the days of its workload. What in it cannot be is left out and told: the rest holds.
type calendar struct {
	forecast.Calendar
	zone  string // as the policy has them
	days  []v1alpha1.SpecialDay
	id    string // the same for the same calendar
	wrong string // a sentence, empty when nothing is
}

func newCalendar(spec *v1alpha1.AdvancedHorizontalPodAutoscalerSpec) *calendar {
	p := spec.Prediction
	c := &calendar{zone: spec.TimeZone, days: slices.Clone(p.Days)}
	var wrong []string
	location, err := spec.Location()
	if err != nil {
		wrong, location = append(wrong, err.Error()+"; it is taken for UTC"), time.UTC
	}
	c.Location = location
	id := []string{location.String()}
	for i := range p.Days {
		at, like, err := p.Day(i)
		if err != nil {
			wrong = append(wrong, err.Error()+"; it is left out")
			continue
		}
		if c.Days == nil {
			c.Days = make(map[forecast.Date]time.Weekday)
		}
		year, month, day := at.Date()
		c.Days[forecast.Date{Year: year, Month: month, Day: day}] = like
		id = append(id, fmt.Sprint(p.Days[i].Date, like))
	}
	slices.Sort(id[1:])
	c.id, c.wrong = strings.Join(id, " "), strings.Join(wrong, "; ")
	return c
}

// of tells whether it is still the policy's.
func (c *calendar) of(spec *v1alpha1.AdvancedHorizontalPodAutoscalerSpec) bool {
	return c != nil && c.zone == spec.TimeZone && slices.Equal(c.days, spec.Prediction.Days)
}
