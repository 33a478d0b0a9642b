package controller

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foretide/foretide/aggregator/forecast"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

func TestACalendarIsWhatThePolicySays(t *testing.T) {
	spec := v1alpha1.AdvancedHorizontalPodAutoscalerSpec{TimeZone: "Europe/Berlin"}
	spec.Prediction.Days = []v1alpha1.SpecialDay{{Date: "2026-12-25", Like: "Sunday"}, {Date: "2026-12-24", Like: "Saturday"}}
	c := newCalendar(&spec)
	want := map[forecast.Date]time.Weekday{{Year: 2026, Month: 12, Day: 25}: time.Sunday, {Year: 2026, Month: 12, Day: 24}: time.Saturday}
	if d := cmp.Diff(want, c.Days); d != "" || c.Location.String() != "Europe/Berlin" || c.wrong != "" {
		t.Errorf("in %v, wrong is %q, days (-want +got):\n%s", c.Location, c.wrong, d)
	}
	if plain := newCalendar(&v1alpha1.AdvancedHorizontalPodAutoscalerSpec{}); plain.Location != time.UTC || plain.Days != nil || plain.wrong != "" {
		t.Errorf("without either: %+v", plain)
	}
}

func TestWhatIsWrongInACalendarIsToldAndTheRestHolds(t *testing.T) {
	w := newWorld(1, 0.20)
	w.demand = workday(days(14))
	p := policy(func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) {
		p.Spec.TimeZone = "Mars/Olympus"
		p.Spec.Prediction.Days = []v1alpha1.SpecialDay{
			{Date: "2026-12-25", Like: "Sunday"}, {Date: "2026-02-30", Like: "Sunday"}, {Date: "2026-05-01", Like: "holiday"},
		}
	})
	b := newBench(t, w, p)
	got := b.sync(p.Name, 0)
	expectCondition(t, got, v1alpha1.ConditionForecastReady, "True ForecastReady")
	for _, c := range got.Status.Conditions {
		if c.Type != v1alpha1.ConditionForecastReady {
			continue
		}
		for _, want := range []string{
			"seasonal from ",
			`spec.timeZone is "Mars/Olympus": it must be a name of the IANA time zone database, such as Europe/Berlin; it is taken for UTC`,
			`spec.prediction.days[1].date is "2026-02-30": it must be a day, such as 2026-12-25; it is left out`,
			`spec.prediction.days[2].like is "holiday": it must be one of Sunday, `,
		} {
			if !strings.Contains(c.Message, want) {
				t.Errorf("%q is not in: %s", want, c.Message)
			}
		}
	}
	c := newCalendar(&p.Spec)
	if c.Location != time.UTC || len(c.Days) != 1 {
		t.Errorf("what holds: %v, %v", c.Location, c.Days)
	}
}

func TestPoliciesWithDifferentCalendarsHaveForecastsOfTheirOwn(t *testing.T) {
	w := newWorld(1, 0.20)
	w.demand = workday(days(14))
	e := NewEvaluator(w, nil, w, nil)
	in := func(zone string, days ...v1alpha1.SpecialDay) {
		p := policy(named("in-"+zone, 0), func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) {
			p.Spec.TimeZone, p.Spec.Prediction.Days = zone, days
		})
		for second := range 3 {
			e.Evaluate(t.Context(), p, w.target, noon.Add(time.Duration(second)*time.Second))
		}
	}
	first, second := v1alpha1.SpecialDay{Date: "2026-12-25", Like: "Sunday"}, v1alpha1.SpecialDay{Date: "2026-12-26", Like: "Sunday"}
	for _, c := range []struct {
		do    func()
		looks int
		why   string
	}{
		{func() { in("UTC") }, 1, "the first"},
		{func() { in("Nowhere/AtAll") }, 1, "the same as UTC"},
		{func() { in("Europe/Berlin") }, 2, "another time zone"},
		{func() { in("Europe/Berlin", first, second) }, 3, "days that were added"},
		{func() { in("Europe/Berlin", second, first) }, 3, "the same days in another order"},
		{func() { in("Europe/Berlin", first) }, 4, "a day that was removed"},
	} {
		c.do()
		if len(w.reads) != c.looks {
			t.Errorf("%s: %d looks in all, want %d", c.why, len(w.reads), c.looks)
		}
	}
}
