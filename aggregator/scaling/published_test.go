package scaling

import (
	"math"
	"testing"
	"time"
)

// The cases that the Horizontal Pod Autoscaler's own tests publish for its rules (kubernetes
// pkg/controller/podautoscaler/horizontal_test.go, TestScalingWithRules): the numbers are theirs.
func TestLimitsFollowTheHorizontalPodAutoscalersPublishedCases(t *testing.T) {
	pods := func(value int32, seconds int) Limit {
		return Limit{Value: value, Period: time.Duration(seconds) * time.Second}
	}
	percent := func(value int32, seconds int) Limit {
		return Limit{Percent: true, Value: value, Period: time.Duration(seconds) * time.Second}
	}
	for name, c := range map[string]struct {
		ups, downs     []int32 // changes spread over the last two minutes
		least, most    int32
		limits         []Limit
		current, wants int32
		replicas       int32
		limited        LimitReason
	}{
		"up: percent larger than pods":               {nil, nil, 1, 1000, []Limit{pods(2, 60), percent(100, 60)}, 10, 500, 20, ScaleUpLimit},
		"up: a large number of pods":                 {nil, nil, 1, 1000, []Limit{pods(100, 60)}, 10, 50, 50, NotLimited},
		"up: a large percentage":                     {nil, nil, 1, 1000, []Limit{percent(10000, 60)}, 10, 50, 50, NotLimited},
		"up: pods":                                   {nil, nil, 1, 1000, []Limit{pods(30, 60)}, 10, 50, 40, ScaleUpLimit},
		"up: percent":                                {nil, nil, 1, 1000, []Limit{percent(200, 60)}, 10, 50, 30, ScaleUpLimit},
		"up: maxReplicas, many pods and changes":     {[]int32{1, 5, 9}, nil, 1, 200, []Limit{pods(300, 60)}, 100, 500, 200, TooManyReplicas},
		"up: maxReplicas, much percent and changes":  {[]int32{1, 5, 9}, nil, 1, 200, []Limit{percent(10000, 60)}, 100, 500, 200, TooManyReplicas},
		"up: more was added than may be":             {[]int32{1, 5, 9}, nil, 1, 1000, []Limit{pods(5, 120)}, 100, 500, 100, ScaleUpLimit},
		"up: pods and changes":                       {[]int32{1, 5, 9}, nil, 1, 1000, []Limit{pods(150, 120)}, 100, 500, 235, ScaleUpLimit},
		"up: percent and changes":                    {[]int32{1, 5, 9}, nil, 1, 1000, []Limit{percent(200, 120)}, 100, 500, 255, ScaleUpLimit},
		"up: percent and changes to and fro":         {[]int32{4}, []int32{2}, 1, 1000, []Limit{percent(300, 300)}, 6, 24, 16, ScaleUpLimit},
		"up: two periods":                            {[]int32{8, 12, 9, 11}, nil, 1, 1000, []Limit{pods(1000, 120), percent(100, 60)}, 100, 200, 200, NotLimited},
		"down: percent larger than pods":             {nil, nil, 1, 1000, []Limit{pods(20, 60), percent(1, 60)}, 100, 2, 80, ScaleDownLimit},
		"down: pods larger than percent":             {nil, nil, 1, 1000, []Limit{pods(2, 60), percent(1, 60)}, 100, 2, 98, ScaleDownLimit},
		"down: minReplicas, many pods":               {nil, nil, 1, 1000, []Limit{pods(100, 60)}, 10, 0, 1, TooFewReplicas},
		"down: minReplicas, much percent":            {nil, nil, 5, 1000, []Limit{percent(100, 60)}, 10, 2, 5, TooFewReplicas},
		"down: pods":                                 {nil, nil, 1, 1000, []Limit{pods(5, 60)}, 10, 2, 5, ScaleDownLimit},
		"down: percent":                              {nil, nil, 1, 1000, []Limit{percent(50, 60)}, 10, 5, 5, NotLimited},
		"down: changes without limits":               {nil, []int32{1, 5, 9}, 1, 1000, nil, 10, 5, 5, NotLimited},
		"down: minReplicas, many pods and changes":   {nil, []int32{1, 5, 9}, 1, 1000, []Limit{pods(115, 120)}, 100, 0, 1, TooFewReplicas},
		"down: another minReplicas":                  {nil, []int32{1, 5, 9}, 5, 1000, []Limit{pods(130, 120)}, 100, 0, 5, TooFewReplicas},
		"down: minReplicas, all percent and changes": {nil, []int32{1, 5, 9}, 5, 1000, []Limit{percent(100, 120)}, 100, 2, 5, TooFewReplicas},
		"down: pods and changes":                     {nil, []int32{1, 5, 9}, 1, 1000, []Limit{pods(5, 120)}, 100, 2, 100, ScaleDownLimit},
		"down: percent and changes":                  {nil, []int32{2, 4, 6}, 1, 1000, []Limit{percent(50, 120)}, 100, 0, 56, ScaleDownLimit},
		"down: percent and changes to and fro":       {[]int32{2}, []int32{4}, 1, 1000, []Limit{percent(50, 180)}, 10, 1, 6, ScaleDownLimit},
		"down: more was taken than may be":           {nil, []int32{10, 10, 10}, 1, 1000, []Limit{percent(10, 120)}, 100, 0, 100, ScaleDownLimit},
		"down: more than all may be taken":           {nil, []int32{10, 10, 10}, 1, 1000, []Limit{percent(1000, 120)}, 10, 5, 5, NotLimited},
	} {
		w := &Window{seeded: true, current: c.current}
		for i, n := range c.ups {
			w.changed(start.Add(-2*time.Minute+time.Duration(i+1)*20*time.Second), n)
		}
		for i, n := range c.downs {
			w.changed(start.Add(-time.Minute+time.Duration(i+1)*10*time.Second), -n)
		}
		p := Policy{MinReplicas: c.least, MaxReplicas: c.most, Up: Rules{Limits: c.limits}, Down: Rules{Limits: c.limits}}
		d := Decision{}
		replicas := d.limit(p, w, start, c.current, c.wants)
		if replicas != c.replicas || d.Limited != c.limited {
			t.Errorf("%s: %d (%s), want %d (%s)", name, replicas, d.Limited, c.replicas, c.limited)
		}
	}
}

// Percentages of many replicas are more than fits: no sum may wrap around.
func TestLimitsOfAnEnormousWorkloadDoNotWrapAround(t *testing.T) {
	w := &Window{seeded: true, current: math.MaxInt32}
	up := Rules{Limits: []Limit{{Percent: true, Value: math.MaxInt32, Period: time.Minute}}}
	if got := up.most(w, start, math.MaxInt32); got != math.MaxInt32 {
		t.Errorf("most is %d", got)
	}
	if got := up.least(w, start, math.MaxInt32); got > 0 {
		t.Errorf("least is %d", got)
	}
}
