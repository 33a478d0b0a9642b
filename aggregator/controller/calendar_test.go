package controller

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/foretide/foretide/aggregator/forecast"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

func TestACalendarIsWhatThePolicySays(t *testing.T) {
	spec := v1alpha1.AdvancedHorizontalPodAutoscalerSpec{TimeZone: "Europe/Berlin"}
	spec.Prediction.Days = []v1alpha1.SpecialDay{{Date: "2026-12-25", Like: "Sunday"}, {Date: "2026-12-24", Like: "Saturday"}}
	c := newCalendar(&spec, nil)
	want := map[forecast.Date]time.Weekday{{Year: 2026, Month: 12, Day: 25}: time.Sunday, {Year: 2026, Month: 12, Day: 24}: time.Saturday}
	if d := cmp.Diff(want, c.Days); d != "" || c.Location.String() != "Europe/Berlin" || c.wrong != "" {
		t.Errorf("in %v, wrong is %q, days (-want +got):\n%s", c.Location, c.wrong, d)
	}
	if plain := newCalendar(&v1alpha1.AdvancedHorizontalPodAutoscalerSpec{}, nil); plain.Location != time.UTC || plain.Days != nil || plain.wrong != "" {
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
	c := newCalendar(&p.Spec, nil)
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

// shelf has calendar files by "namespace/ConfigMap/key".
type shelf map[string]file

func (s shelf) Days(_ context.Context, namespace, configMap, key string, _ time.Time) ([]forecast.Date, string, error) {
	f, ok := s[namespace+"/"+configMap+"/"+key]
	if !ok {
		return nil, "", errors.New("it is not there")
	}
	if f.err != "" {
		return f.days, f.version, errors.New(f.err)
	}
	return f.days, f.version, nil
}

func TestOfDaysAndCalendarFilesTheFirstThatSpeaksOfADayCounts(t *testing.T) {
	christmas, eve, friday := forecast.Date{Year: 2026, Month: 12, Day: 25}, forecast.Date{Year: 2026, Month: 12, Day: 24}, forecast.Date{Year: 2026, Month: 11, Day: 27}
	e := NewEvaluator(nil, nil, nil, nil)
	e.Calendars = shelf{
		"default/holidays/calendar.ics": {days: []forecast.Date{christmas, eve}, version: "1"},
		"default/sales/black.ics":       {days: []forecast.Date{eve, friday}, version: "1", err: "event 3: it has no DTSTART"},
	}
	p := policy(func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) {
		p.Spec.Prediction.Days = []v1alpha1.SpecialDay{{Date: "2026-12-25", Like: "Saturday", Scale: 50}}
		p.Spec.Prediction.Calendars = []v1alpha1.Calendar{
			{ConfigMapName: "holidays", Key: "calendar.ics", Like: "Sunday"}, {ConfigMapName: "sales", Key: "black.ics", Scale: 250}, {ConfigMapName: "gone", Key: "x", Like: "Sunday"},
		}
	})
	c := newCalendar(&p.Spec, e.files(t.Context(), p, noon))
	if d := cmp.Diff(map[forecast.Date]time.Weekday{christmas: time.Saturday, eve: time.Sunday}, c.Days); d != "" {
		t.Errorf("days (-want +got):\n%s", d)
	}
	if d := cmp.Diff(map[forecast.Date]float64{christmas: 0.5, friday: 2.5}, c.Scales); d != "" {
		t.Errorf("scales (-want +got):\n%s", d)
	}
	const wrong = `spec.prediction.calendars[1], "black.ics" in ConfigMap "sales": event 3: it has no DTSTART; spec.prediction.calendars[2], "x" in ConfigMap "gone": it is not there`
	if c.wrong != wrong {
		t.Errorf("wrong is %s", c.wrong)
	}
	e.Calendars = nil
	if c := newCalendar(&p.Spec, e.files(t.Context(), p, noon)); c.Days[christmas] != time.Saturday || len(c.Days) != 1 || !strings.Contains(c.wrong, "there is no API server") {
		t.Errorf("without any: %v, %s", c.Days, c.wrong)
	}
}

func TestACalendarFileThatChangesIsSeenAndOneThatCannotBeReadStopsNothing(t *testing.T) {
	w := newWorld(1, 0.20)
	w.demand = workday(days(14))
	p := policy(func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) {
		p.Spec.Prediction.Calendars = []v1alpha1.Calendar{{ConfigMapName: "sales", Key: "calendar.ics", Scale: 300}}
	})
	b := newBench(t, w, p)
	files := shelf{}
	b.Evaluator.Calendars = files
	peak := func(after time.Duration) (gpus string, said string) {
		t.Helper()
		got := b.sync(p.Name, after)
		expectCondition(t, got, v1alpha1.ConditionForecastReady, "True ForecastReady")
		return got.Status.Forecast.PeakGPUs, meta.FindStatusCondition(got.Status.Conditions, v1alpha1.ConditionForecastReady).Message
	}
	plain, said := peak(0)
	if !strings.HasSuffix(said, `; spec.prediction.calendars[0], "calendar.ics" in ConfigMap "sales": it is not there`) {
		t.Errorf("of a file that is not there: %s", said)
	}
	files["default/sales/calendar.ics"] = file{days: []forecast.Date{forecast.DateOf(noon.AddDate(0, 0, 1))}, version: "1"} // tomorrow
	if gpus, said := peak(12 * time.Second); gpus != plain || strings.Contains(said, "sales") {
		t.Errorf("tomorrow's sale makes it %s instead of %s, and said is %s", gpus, plain, said)
	}
	looksAtAll := func() (n int) {
		for _, read := range w.reads {
			if read > 24*time.Hour {
				n++
			}
		}
		return n
	}
	looks := looksAtAll()
	files["default/sales/calendar.ics"] = file{days: []forecast.Date{forecast.DateOf(noon.AddDate(0, 0, 1)), forecast.DateOf(noon.AddDate(0, 0, 2))}, version: "1"}
	if peak(12 * time.Second); looksAtAll() != looks {
		t.Errorf("%d looks at the history for a day that came into view, want none", looksAtAll()-looks)
	}
	files["default/sales/calendar.ics"] = file{days: []forecast.Date{forecast.DateOf(noon)}, version: "2"} // today
	before, _ := strconv.ParseFloat(plain, 64)
	gpus, _ := peak(12 * time.Second)
	// What is known of today is a third of what is seen, so today's forecast is what it was, but for the level of the last hours.
	if now, _ := strconv.ParseFloat(gpus, 64); !(now > 0.9*before && now < 2.5*before) || looksAtAll() != looks+1 {
		t.Errorf("today's sale makes it %s instead of %s, with %d looks at the history", gpus, plain, looksAtAll()-looks)
	}
}
