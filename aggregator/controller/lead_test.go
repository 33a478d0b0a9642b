package controller

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/foretide/foretide/aggregator/scaling"
)

// started are pods that took so many seconds each.
func started(first int, took ...int) []Pod {
	var pods []Pod
	for i, seconds := range took {
		made := noon.Add(-time.Hour)
		pods = append(pods, Pod{Name: fmt.Sprintf("bert-%d", first+i), State: scaling.Ready, Created: made, ReadySince: made.Add(time.Duration(seconds) * time.Second)})
	}
	return pods
}

func TestTheLeadIsWhatNineInTenPodsTook(t *testing.T) {
	auto := policy().Spec
	auto.Prediction.ScaleUpForward = ptr.To(intstr.FromString("auto"))
	var s starts
	expect := func(what string, want time.Duration, pods int) {
		t.Helper()
		if got, n := s.lead(auto); got != want || n != pods {
			t.Errorf("%s: %v of %d pods, want %v of %d", what, got, n, want, pods)
		}
	}
	expect("at first", 3*time.Minute, 0)
	s.watch(started(0, 100, 200))
	expect("with two pods", 3*time.Minute, 0)
	s.watch(started(0, 100, 200, 50))
	expect("with three", 200*time.Second, 3)
	s.watch(started(0, 100, 200, 50))
	expect("the same three again", 200*time.Second, 3)

	unready := started(0, 100, 200, 50)
	unready[0].State, unready[0].ReadySince = scaling.Unready, time.Time{}
	s.watch(unready)
	s.watch(started(0, 3000, 200, 50)) // ready again after 3000 s
	expect("a pod that was not ready for a while", 200*time.Second, 3)

	s.watch(append(started(10, 10, 20, 30, 40, 60, 70, 80), started(20, 4000)[0]))
	expect("more pods, of which one was not starting all the time", 100*time.Second, 10)
	for i := range 20 {
		s.watch(started(100+3*i, 10, 10, 10))
	}
	expect("the newest fifty", 10*time.Second, 50)
	if got, n := s.lead(policy().Spec); got != 180*time.Second || n != 0 {
		t.Errorf("a lead that is given: %v of %d", got, n)
	}
}

func TestPodsThatAreGoneAreForgottenAndThoseThatStayCostNothing(t *testing.T) {
	var s starts
	for i := range 100 {
		s.watch(started(3*i, 10, 10, 10))
	}
	if len(s.seen) != 3 {
		t.Errorf("%d pods are remembered, of which 3 are there", len(s.seen))
	}
	same := started(297, 10, 10, 10)
	if n := testing.AllocsPerRun(10, func() { s.watch(same) }); n > 0 {
		t.Errorf("%g allocations to look at the same pods again", n)
	}
}

func TestAMeasuredLeadIsInTheStatus(t *testing.T) {
	w := newWorld(4, 0.20)
	for i := range w.target.Pods {
		w.target.Pods[i].Created = w.target.Pods[i].ReadySince.Add(-420 * time.Second)
	}
	p := policy()
	p.Spec.Prediction.ScaleUpForward = ptr.To(intstr.FromString("auto"))
	s := newBench(t, w, p).sync("fib-gpu", 0).Status
	if *s.LeadTimeSeconds != 420 || s.LeadTimePods != 4 {
		t.Errorf("%d s measured on %d pods", *s.LeadTimeSeconds, s.LeadTimePods)
	}
}
