package scaling

import (
	"testing"
	"time"
)

// at decides for replicas of one GPU that are all as busy as given.
func at(p gpuPolicy, w *Window, current int32, percent float64, now time.Time) Decision {
	pods := many(Ready, int(current))
	for i := range pods {
		pods[i].Uses, pods[i].Known = percent/100, true
	}
	return decide(p, gpu{Current: current, Pods: pods, GPUsPerPod: 1}, w, now)
}

func TestLimitsCountFromTheBeginningOfTheirPeriod(t *testing.T) {
	p := policy(10)
	p.Up.Limits = []Limit{{Value: 3, Period: time.Minute}}
	w := &Window{}
	d := at(p, w, 2, 90, start)
	if d.Replicas != 5 || d.Limited != ScaleUpLimit || d.Reason != ReactiveDemand {
		t.Fatalf("first: %d (%s): %s", d.Replicas, d.Limited, d.Message)
	}
	for after, want := range map[time.Duration]int32{2 * time.Second: 5, 59 * time.Second: 5, 62*time.Second + 1: 8} {
		w := &Window{}
		at(p, w, 2, 90, start)
		at(p, w, 5, 90, start.Add(2*time.Second))
		if d := at(p, w, 5, 90, start.Add(after)); d.Replicas != want {
			t.Errorf("after %s: %d replicas, want %d: %s", after, d.Replicas, want, d.Message)
		}
	}
}

func TestTheLimitThatCountsIsChosen(t *testing.T) {
	limits := []Limit{{Value: 3, Period: time.Minute}, {Percent: true, Value: 25, Period: time.Minute}}
	for name, c := range map[string]struct {
		rules    Rules
		up, down int32 // of 20 replicas
	}{
		"none":                {Rules{}, 60, 1},
		"the larger":          {Rules{Limits: limits}, 25, 15},
		"the larger, by name": {Rules{Limits: limits, Select: SelectMax}, 25, 15},
		"the smaller":         {Rules{Limits: limits, Select: SelectMin}, 23, 17},
		"disabled":            {Rules{Limits: limits, Select: SelectDisabled}, 20, 20},
		"percent rounds up the growth and down the rest": {Rules{Limits: []Limit{{Percent: true, Value: 33, Period: time.Minute}}}, 27, 13},
		"more than all": {Rules{Limits: []Limit{{Percent: true, Value: 300, Period: time.Minute}}}, 60, 1},
	} {
		p := policy(30)
		p.Up, p.Down = c.rules, c.rules
		up, down := at(p, &Window{}, 20, 90, start), at(p, &Window{}, 20, 1, start)
		if up.Replicas != c.up || down.Replicas != c.down {
			t.Errorf("%s: up to %d and down to %d, want %d and %d\n%s\n%s", name, up.Replicas, down.Replicas, c.up, c.down, up.Message, down.Message)
		}
	}
}

func TestChangesByOthersCountAgainstTheLimit(t *testing.T) {
	p := policy(50)
	p.Down.Limits = []Limit{{Value: 2, Period: 10 * time.Minute}}
	w := &Window{}
	at(p, w, 9, 50, start)
	if d := at(p, w, 7, 10, start.Add(time.Minute)); d.Replicas != 7 || d.Limited != ScaleDownLimit { // someone took two away
		t.Errorf("%d replicas (%s): %s", d.Replicas, d.Limited, d.Message)
	}
	if d := at(p, w, 7, 10, start.Add(11*time.Minute)); d.Replicas != 5 {
		t.Errorf("later: %d replicas: %s", d.Replicas, d.Message)
	}
}

func TestGoingUpWaitsUntilItWasAskedForAllAlong(t *testing.T) {
	p := policy(50)
	p.Up.Stabilization = time.Minute
	w := &Window{}
	for _, c := range []struct {
		after   time.Duration
		percent float64
		want    int32
		reason  Reason
	}{
		{0, 50, 4, Steady},
		{10 * time.Second, 90, 4, UpStabilized}, // wants 8
		{60 * time.Second, 90, 4, UpStabilized}, // the 4 of the beginning is a minute old
		{61 * time.Second, 70, 6, ReactiveDemand},
		{62 * time.Second, 90, 6, UpStabilized}, // the 6 is the least of the last minute
	} {
		if d := at(p, w, 4, c.percent, start.Add(c.after)); d.Replicas != c.want || d.Reason != c.reason {
			t.Fatalf("after %s: %d (%s), want %d (%s): %s", c.after, d.Replicas, d.Reason, c.want, c.reason, d.Message)
		}
	}
}

func TestToleranceIsOfEachDirection(t *testing.T) {
	p := policy(50)
	p.Up.Tolerance, p.Down.Tolerance = 0.02, 0.4
	for percent, want := range map[float64]int32{51: 10, 52: 11, 49: 10, 30: 10, 29: 6} {
		if d := at(p, &Window{}, 10, percent, start); d.Replicas != want {
			t.Errorf("at %g%%: %d replicas, want %d: %s", percent, d.Replicas, want, d.Message)
		}
	}
}

func TestBusyAllTheTimeGrowsByHalfAtLeast(t *testing.T) {
	for name, c := range map[string]struct {
		target  int32
		current int32
		percent float64
		want    int32
		hidden  bool
	}{
		"the target is near":             {90, 10, 99, 15, true},
		"from 95 percent on":             {75, 10, 95, 15, true},
		"not before":                     {75, 10, 94, 13, false},
		"of a target near that, later":   {90, 10, 98, 15, true},
		"a load about its target":        {90, 10, 97, 10, false},
		"the ratio is more than that":    {50, 4, 100, 8, true},
		"a target of all is no mistake":  {95, 10, 100, 10, false},
		"one pod grows by one":           {90, 1, 100, 2, true},
		"some are idle: it is no excess": {90, 2, 60, 2, false},
	} {
		if d := at(policy(c.target), &Window{}, c.current, c.percent, start); d.Replicas != c.want || d.Saturated != c.hidden {
			t.Errorf("%s: %d replicas, saturated %v; want %d, %v: %s", name, d.Replicas, d.Saturated, c.want, c.hidden, d.Message)
		}
	}
}

func TestPodsOnTheWayStopTheGrowthOfTheSaturated(t *testing.T) {
	d := decide(policy(90), gpu{Current: 3, Pods: append(make100(2), many(Unready, 1)...), GPUsPerPod: 1}, &Window{}, start)
	if d.Replicas != 3 || !d.Saturated {
		t.Errorf("%d replicas: %s", d.Replicas, d.Message)
	}
}

func TestOneHalfAlone(t *testing.T) {
	some, none := Demand{Peak: 3, OK: true}, Demand{Why: "young"}
	for name, c := range map[string]struct {
		only     Half
		pods     []Pod
		forecast Demand
		want     int32
		reason   Reason
	}{
		"the load, though more is forecast":        {ReactiveHalf, ready(50, 50), some, 2, Steady},
		"the load falls, though more is forecast":  {ReactiveHalf, ready(10, 10), some, 1, ReactiveDemand},
		"the load, though the forecast is lost":    {ReactiveHalf, ready(10, 10), Demand{Lost: true}, 1, ReactiveDemand},
		"no load: the forecast does not step in":   {ReactiveHalf, ready(-1, -1), some, 2, NoTelemetry},
		"the forecast, though the load is less":    {ProactiveHalf, ready(0, 0), some, 6, ForecastDemand},
		"the forecast, though the load is more":    {ProactiveHalf, ready(99, 99), Demand{Peak: 0.2, OK: true}, 1, ForecastDemand},
		"the forecast lowers nothing without load": {ProactiveHalf, ready(-1, -1), Demand{Peak: 0.2, OK: true}, 2, PartialData},
		"no forecast: the load does not step in":   {ProactiveHalf, ready(99, 99), none, 2, NoTelemetry},
	} {
		p := policy(50)
		p.Only = c.only
		d := decide(p, gpu{Current: 2, Pods: c.pods, GPUsPerPod: 1, Forecast: c.forecast}, &Window{}, start)
		if d.Replicas != c.want || d.Reason != c.reason {
			t.Errorf("%s: %d (%s), want %d (%s): %s", name, d.Replicas, d.Reason, c.want, c.reason, d.Message)
		}
	}
}
