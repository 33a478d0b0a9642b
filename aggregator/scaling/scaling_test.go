package scaling

import (
	"math"
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// policy has the bounds wide open, so that a test sees the recommendation itself.
func policy(target int32) gpuPolicy {
	return gpuPolicy{Policy{MinReplicas: 1, MaxReplicas: 100, Up: DefaultUp(), Down: Rules{Tolerance: DefaultTolerance}}, target}
}

// ready returns one ready pod of one GPU for each percentage; -1 = its load is unknown.
func ready(percents ...float64) []Pod {
	var pods []Pod
	for _, p := range percents {
		pods = append(pods, Pod{State: Ready, Holds: 1, Uses: p / 100, Known: p >= 0})
	}
	return pods
}

func many(state PodState, n int) []Pod {
	pods := make([]Pod, n)
	for i := range pods {
		pods[i] = Pod{State: state, Holds: 1}
	}
	return pods
}

func value(p *int32) int32 {
	if p == nil {
		return -1
	}
	return *p
}

// The cases are those that the Horizontal Pod Autoscaler's rules lead to, with GPUs in the place of CPUs.
func TestReactiveFollowsTheArithmeticOfTheHorizontalPodAutoscaler(t *testing.T) {
	for name, c := range map[string]struct {
		current  int32
		pods     []Pod
		target   int32
		reactive int32 // -1 = none
		percent  int32 // -1 = none
	}{
		"scales up by the ratio":                                  {3, ready(30, 50, 70), 30, 5, 50},
		"rounds the replicas up":                                  {3, ready(40, 40, 40), 30, 4, 40},
		"scales down by the ratio":                                {5, ready(10, 30, 50, 25, 35), 50, 3, 30},
		"zero load is a load":                                     {4, ready(0, 0, 0, 0), 50, 0, 0},
		"keeps within tolerance above":                            {3, ready(101, 103, 99), 100, 3, 101},
		"keeps at the edge of tolerance above":                    {10, ready(22, 22, 22, 22, 22, 22, 22, 22, 22, 22), 20, 10, 22},
		"moves beyond the edge":                                   {10, ready(23, 23, 23, 23, 23, 23, 23, 23, 23, 23), 20, 12, 23},
		"keeps at the edge of tolerance below":                    {10, ready(18, 18, 18, 18, 18, 18, 18, 18, 18, 18), 20, 10, 18},
		"utilization is truncated to whole percents":              {3, ready(22.9, 22.9, 22.9), 20, 3, 22},
		"missing pods count as idle when growing":                 {4, ready(90, 90, 90, -1), 50, 6, 90}, // 270/4 = 67%: 4*67/50
		"missing pods may cancel the growth":                      {3, ready(100, -1, -1), 60, 3, 100},   // 33% < 60%: flipped
		"missing pods count as busy when shrinking":               {4, ready(20, 20, 20, -1), 50, 4, 20}, // 160/4 = 40%: 4*40/50 = 3.2
		"missing pods may cancel the shrinking":                   {2, ready(10, -1), 50, 2, 10},         // 110/2 = 55%: flipped
		"an idle pod beside a missing one":                        {4, ready(0, 0, 0, -1), 50, 2, 0},     // 100/4 = 25%
		"missing pods shrink less far":                            {5, ready(10, 10, 10, 10, -1), 50, 3, 10},
		"a target above 100 fills missing pods at the target":     {4, ready(100, 100, 100, -1), 200, 3, 100},
		"missing pods at exactly the target change nothing":       {2, ready(50, -1), 50, 2, 50},
		"unready pods count as idle when growing":                 {3, append(ready(90, 90), many(Unready, 1)...), 50, 4, 90},
		"unready pods stop the cascade":                           {8, append(ready(100, 100), many(Unready, 6)...), 20, 10, 100}, // 25%
		"unready pods may cancel the growth":                      {4, append(ready(80), many(Unready, 3)...), 40, 4, 80},
		"unready pods are left out when shrinking":                {6, append(ready(20, 20, 20, 20), many(Unready, 2)...), 40, 2, 20},
		"replicas that are not seen count as unready":             {4, ready(80), 40, 4, 80},
		"replicas that are not seen do not hold back for ever":    {4, ready(100, 100, 100), 20, 15, 100}, // 75%: 4*75/20
		"unready and missing together":                            {4, append(ready(100, -1), many(Unready, 2)...), 20, 5, 100},
		"gone pods are ignored":                                   {2, append(ready(60, 60), many(Gone, 5)...), 30, 4, 60},
		"a rollout's extra pods do not scale up an idle workload": {3, ready(20, 20, 20, 20, 20, 20, 20, 20), 40, 3, 20},
		"all missing is unknown":                                  {2, ready(-1, -1), 50, -1, -1},
		"none ready is unknown":                                   {2, many(Unready, 2), 50, -1, -1},
		"none seen is unknown":                                    {2, nil, 50, -1, -1},
	} {
		t.Run(name, func(t *testing.T) {
			d := decide(policy(c.target), gpu{Current: c.current, Pods: c.pods, GPUsPerPod: 1}, &Window{}, start)
			if value(d.Reactive) != c.reactive || value(percent(d)) != c.percent {
				t.Errorf("reactive %d at %d%%, want %d at %d%% (%s)", value(d.Reactive), value(percent(d)), c.reactive, c.percent, d.Message)
			}
		})
	}
}

func TestPodsOfSeveralGPUsCountByTheirGPUs(t *testing.T) {
	pods := []Pod{{State: Ready, Holds: 4, Uses: 3.2, Known: true}, {State: Ready, Holds: 4, Uses: 1.6, Known: true}}
	d := decide(policy(40), gpu{Current: 2, Pods: pods, GPUsPerPod: 4, Forecast: Demand{Peak: 8, OK: true}}, &Window{}, start)
	if value(percent(d)) != 60 || value(d.Reactive) != 3 || value(d.Proactive) != 5 || d.Replicas != 5 {
		t.Errorf("got %d%%, reactive %d, proactive %d, replicas %d", value(percent(d)), value(d.Reactive), value(d.Proactive), d.Replicas)
	}
}

func TestDecisionJoinsLoadAndForecast(t *testing.T) {
	some := func(peak float64) Demand { return Demand{Peak: peak, OK: true} }
	for name, c := range map[string]struct {
		current  int32
		pods     []Pod
		forecast Demand
		replicas int32
		reason   Reason
		limited  LimitReason
		held     bool
	}{
		"the larger is taken: the forecast":            {3, ready(50, 50, 50), some(2.6), 6, ForecastDemand, NotLimited, false},
		"the larger is taken: the load":                {3, ready(90, 90, 90), some(2.1), 6, ReactiveDemand, NotLimited, false},
		"the forecast alone does not lower":            {4, ready(50, 50, 50, 50), some(0.5), 4, Steady, NotLimited, false},
		"the forecast keeps what the load would drop":  {4, ready(10, 10, 10, 10), some(2), 4, Steady, NotLimited, false},
		"no forecast leaves the load":                  {4, ready(10, 10, 10, 10), Demand{Why: "short history"}, 1, ReactiveDemand, NotLimited, false},
		"a forecast that is lost lowers nothing":       {4, ready(10, 10, 10, 10), Demand{Why: "disk gone", Lost: true}, 4, PartialData, NotLimited, true},
		"a forecast that is lost leaves the load free": {2, ready(90, 90), Demand{Why: "disk gone", Lost: true}, 4, ReactiveDemand, NotLimited, false},
		"no load: the forecast may raise":              {2, ready(-1, -1), some(2), 4, ForecastDemand, NotLimited, false},
		"no load: the forecast may not lower":          {4, many(Unready, 4), some(0.5), 4, PartialData, NotLimited, true},
		"neither: hold":                                {4, nil, Demand{}, 4, NoTelemetry, NotLimited, false},
		"part of the load: hold":                       {5, ready(5, 5, 5, 5, -1), some(0.1), 5, PartialData, NotLimited, true},
		"part of the load: raise":                      {3, ready(100, 100, -1), some(0.1), 4, ReactiveDemand, NotLimited, false},
		"one step adds four":                           {3, ready(100, 100, 100), some(9), 7, ForecastDemand, ScaleUpLimit, false},
		"one step may add four":                        {1, ready(100), some(9), 5, ForecastDemand, ScaleUpLimit, false},
		"maxReplicas is not passed":                    {8, make100(8), some(9), 10, ForecastDemand, TooManyReplicas, false},
		"minReplicas is kept":                          {5, ready(0, 0, 0, 0, 0), some(0), 1, ReactiveDemand, TooFewReplicas, false},
		"more than maxReplicas goes to it":             {12, nil, Demand{}, 10, OutsideBounds, TooManyReplicas, false},
		"no replicas is switched off":                  {0, ready(100), some(9), 0, Disabled, NotLimited, false},
		"a forecast that is no number is none":         {2, ready(50, 50), some(math.NaN()), 2, Steady, NotLimited, false},
		"an infinite forecast is none":                 {2, ready(50, 50), some(math.Inf(1)), 2, Steady, NotLimited, false},
		"a load that is no number is unknown":          {2, ready(5, math.NaN()), Demand{}, 2, Steady, NotLimited, false},
		"an enormous forecast does not overflow":       {9, make100(9), some(1e12), 10, ForecastDemand, TooManyReplicas, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := policy(50)
			p.MaxReplicas = 10
			d := decide(p, gpu{Current: c.current, Pods: c.pods, GPUsPerPod: 1, Forecast: c.forecast}, &Window{}, start)
			if d.Replicas != c.replicas || d.Reason != c.reason || d.Limited != c.limited || d.Held != c.held {
				t.Errorf("got %d %s %q held=%v, want %d %s %q held=%v (%s)", d.Replicas, d.Reason, d.Limited, d.Held, c.replicas, c.reason, c.limited, c.held, d.Message)
			}
		})
	}
}

func make100(n int) []Pod {
	pods := many(Ready, n)
	for i := range pods {
		pods[i].Uses, pods[i].Known = 1, true
	}
	return pods
}

func TestWholeQuotientIsNotRoundedUp(t *testing.T) {
	// 4.2/0.6 is 7.000000000000001 in floating point.
	d := decide(policy(60), gpu{Current: 7, Pods: ready(60, 60, 60, 60, 60, 60, 60), GPUsPerPod: 1, Forecast: Demand{Peak: 4.2, OK: true}}, &Window{}, start)
	if value(d.Proactive) != 7 {
		t.Errorf("proactive is %d, want 7", value(d.Proactive))
	}
}

func TestMessageTellsTheNumbers(t *testing.T) {
	in := gpu{Current: 3, Pods: append(ready(90, 90), many(Unready, 1)...), GPUsPerPod: 1, Forecast: Demand{Peak: 1.234, OK: true}}
	got := decide(policy(50), in, &Window{}, start).Message
	want := "utilization is 90% of 2 ready pods (target 50%), 1 on the way: 4; the forecast peaks at 1.23 GPUs: 3; 4 replicas"
	if got != want {
		t.Errorf("message is\n%s, want\n%s", got, want)
	}
}

func TestInvalidPolicyHolds(t *testing.T) {
	for field, p := range map[string]gpuPolicy{
		"the target of gpu":          {Policy{MinReplicas: 1, MaxReplicas: 2}, -1},
		"minReplicas":                {Policy{MinReplicas: 0, MaxReplicas: 2}, 50},
		"maxReplicas":                {Policy{MinReplicas: 3, MaxReplicas: 2}, 50},
		"the half to act on":         {Policy{MinReplicas: 1, MaxReplicas: 2, Only: "both"}, 50},
		"tolerance up":               {Policy{MinReplicas: 1, MaxReplicas: 2, Up: Rules{Tolerance: math.NaN()}}, 50},
		"stabilization down":         {Policy{MinReplicas: 1, MaxReplicas: 2, Down: Rules{Stabilization: -1}}, 50},
		"stabilization up":           {Policy{MinReplicas: 1, MaxReplicas: 2, Up: Rules{Stabilization: time.Hour + 1}}, 50},
		"the select policy down":     {Policy{MinReplicas: 1, MaxReplicas: 2, Down: Rules{Select: "Most"}}, 50},
		"a limit up":                 {Policy{MinReplicas: 1, MaxReplicas: 2, Up: Rules{Limits: []Limit{{Period: time.Second}}}}, 50},
		"the period of a limit down": {Policy{MinReplicas: 1, MaxReplicas: 2, Down: Rules{Limits: []Limit{{Value: 1, Period: time.Hour}}}}, 50},
	} {
		d := decide(p, gpu{Current: 7, Pods: ready(0), GPUsPerPod: 1}, &Window{}, start)
		if d.Replicas != 7 || d.Reason != InvalidPolicy || !strings.HasPrefix(d.Message, field+" is ") {
			t.Errorf("%s: %d %s %q", field, d.Replicas, d.Reason, d.Message)
		}
	}
}
