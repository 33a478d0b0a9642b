package controller

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/foretide/foretide/aggregator/scaling"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

func TestTheWindowsInForceAreNamedAndWhatComesNext(t *testing.T) {
	p := bounded("Europe/Berlin", v1alpha1.InstanceBounds{Bounds: []v1alpha1.CronBounds{cronBounds("* 8-20 ? * MON-FRI", 4, 15), cronBounds("* 15 ? * *", 6, 7)}})
	for at, want := range map[string]struct {
		windows, next, from string
		least, most         int32
	}{
		"05:00": {"", "06:55", "", 1, 8}, // 8:00 in Berlin, five minutes ahead
		"06:57": {"[0]", "07:00", "07:00", 4, 8},
		"12:00": {"[0]", "13:55", "", 4, 15},
		"13:57": {"[0] [1]", "15:00", "14:00", 6, 15},
		"14:30": {"[0] [1]", "15:00", "", 6, 15},
		"19:58": {"[0]", "20:00", "", 4, 15},
	} {
		now, err := time.Parse(time.RFC3339, "2026-03-02T"+at+":00Z")
		if err != nil {
			t.Fatal(err)
		}
		got := RulesInForce(&p.Spec, 4, now, 5*time.Minute)
		var windows []string
		for _, w := range got.Windows {
			path, cron, _ := strings.Cut(strings.TrimPrefix(w, "spec.instanceBounds[0].bounds"), " ")
			windows = append(windows, path)
			if cron == "" {
				t.Errorf("%s: window %q", at, w)
			}
		}
		from := ""
		if !got.From.IsZero() {
			from = got.From.Format("15:04")
		}
		if strings.Join(windows, " ") != want.windows || got.Next.Format("15:04") != want.next || from != want.from || got.Min != want.least || got.Max != want.most {
			t.Errorf("%s: %+v, want %+v", at, got, want)
		}
	}
}

func TestRulesAreSaidInWords(t *testing.T) {
	p := policy()
	got := RulesInForce(&p.Spec, 2, noon, 0)
	if want := "added at once, at most the largest of 100 % within 15s, 4 replicas within 15s; a difference of 10 % of the target is left alone"; got.Up != want {
		t.Errorf("up: %s", got.Up)
	}
	if want := "removed to the largest number that was asked for within 5m0s, at most 100 % within 15s; a difference of 10 % of the target is left alone"; got.Down != want {
		t.Errorf("down: %s", got.Down)
	}
	p.Spec.ScaleStrategy = v1alpha1.StrategyScalingUpOnly
	p.Spec.Behavior = &v1alpha1.Behavior{ScaleUp: &v1alpha1.ScalingRules{StabilizationWindowSeconds: new(int32(60)), SelectPolicy: v1alpha1.SelectMin}}
	got = RulesInForce(&p.Spec, 2, noon, 0)
	if got.Down != "none are removed" || got.Fewer != 0 || !strings.HasPrefix(got.Up, "added to the smallest number that was asked for within 1m0s, at most the smallest of") {
		t.Errorf("up: %s; down: %s, below %d%%", got.Up, got.Down, got.Fewer)
	}
}

// For any target, tolerance and replicas the decision changes where it is said to.
func TestTheLoadsThatChangeReplicasAreThoseThatDo(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 2))
	for range 2000 {
		p, n := policy(), 1+r.Int32N(20)
		p.Spec.MaxReplicas = 1000
		p.Spec.Metrics[0].Resource.Target.AverageUtilization = new(1 + r.Int32N(100))
		up, down := resource.MustParse([]string{"0", "0.05", "0.1", "0.33"}[r.IntN(4)]), resource.MustParse([]string{"0", "0.05", "0.1", "0.5", "1"}[r.IntN(5)])
		p.Spec.Behavior = &v1alpha1.Behavior{ScaleUp: &v1alpha1.ScalingRules{Tolerance: &up}, ScaleDown: &v1alpha1.ScalingRules{Tolerance: &down}}
		*p.Spec.StabilizationWindowSeconds = 0
		at := func(percent int32) int32 {
			pods := make([]scaling.Pod, n)
			for i := range pods {
				pods[i] = scaling.Pod{State: scaling.Ready, Holds: 1, Uses: (float64(percent) + 0.5) / 100, Known: true}
			}
			w, gpus := newRules(p, n), scaling.Metric{Name: GPU, Target: toTarget(p.Spec.Metrics[0].Target()), Pods: pods, PerReplica: 1, Hides: true}
			return scaling.Decide(w, scaling.Inputs{Current: n, Metrics: []scaling.Metric{gpus}}, &scaling.Window{}, noon).Replicas - n
		}
		said := RulesInForce(&p.Spec, n, noon, 0)
		target := *p.Spec.Metrics[0].Resource.Target.AverageUtilization
		if said.More < 94 && (at(said.More) > 0 || at(said.More+1) <= 0) { // saturated pods grow before
			t.Fatalf("%d replicas, target %d%%, tolerance %s: said to grow above %d%%", n, target, &up, said.More)
		}
		if said.Fewer > 0 && at(said.Fewer) >= 0 || at(said.Fewer+1) < 0 {
			t.Fatalf("%d replicas, target %d%%, tolerance %s: said to shrink at %d%%", n, target, &down, said.Fewer)
		}
	}
}

// newRules are a policy's for so many replicas.
func newRules(p *v1alpha1.AdvancedHorizontalPodAutoscaler, n int32) scaling.Policy {
	var r rules
	return r.of(p, n, noon, 0)
}
