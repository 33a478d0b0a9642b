package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// alarm is a queue that writes down what is to be looked at, and when.
type alarm struct {
	workqueue.TypedRateLimitingInterface[reconcile.Request]
	told []string
}

func (a *alarm) AddAfter(r reconcile.Request, after time.Duration) {
	a.told = append(a.told, fmt.Sprintf("%s in %s", r.Name, after))
}

func (a *alarm) expect(t *testing.T, want string) {
	t.Helper()
	if got := strings.Join(a.told, ", "); got != want {
		t.Errorf("woken: %q, want %q", got, want)
	}
	a.told = nil
}

var bert = Workload{"default", "Deployment", "bert"}

func inDefault(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: "default", Name: name}
}

func TestAPolicyIsWokenOnceUntilItIsLookedAt(t *testing.T) {
	s, a := newSleepers(), &alarm{}
	s.looked(inDefault("one"), bert, noon)
	s.wake(bert, noon) // nobody looks yet
	if err := s.start(context.Background(), a); err != nil {
		t.Fatal(err)
	}
	s.wake(bert, noon.Add(200*time.Millisecond))
	s.wake(bert, noon.Add(300*time.Millisecond))
	s.wake(Workload{"default", "Deployment", "other"}, noon)
	a.expect(t, "one in 300ms")
	s.looked(inDefault("one"), bert, noon.Add(time.Second))
	s.wake(bert, noon.Add(2*time.Second))
	a.expect(t, "one in 0s")
	s.looked(inDefault("one"), Workload{"default", "Deployment", "other"}, noon.Add(3*time.Second)) // pointed elsewhere
	s.wake(bert, noon.Add(4*time.Second))
	s.forget(inDefault("one"))
	s.wake(Workload{"default", "Deployment", "other"}, noon.Add(4*time.Second))
	a.expect(t, "")
	if len(s.policies)+len(s.on) != 0 {
		t.Errorf("%v, %v are remembered", s.policies, s.on)
	}
}

func TestThousandsOfSurgesWakeNoMorePoliciesThanCanBeLookedAt(t *testing.T) {
	s, a := newSleepers(), &alarm{}
	_ = s.start(context.Background(), a)
	for second := range 10 {
		now := noon.Add(time.Duration(second) * time.Second)
		for i := range 1000 {
			w := Workload{"default", "Deployment", fmt.Sprint("w-", i)}
			s.looked(inDefault(fmt.Sprint("p-", i)), w, now.Add(-time.Second))
			s.wake(w, now)
		}
	}
	if len(a.told) != 10*wakesPerSecond {
		t.Errorf("%d wakes in ten seconds, want %d", len(a.told), 10*wakesPerSecond)
	}
}

func TestThousandsOfPoliciesAreLookedAtAndWrittenLessOften(t *testing.T) {
	b := newBench(t, newWorld(1, 0.2), policy())
	b.sync("fib-gpu", 0)
	if got := b.interval(); got != DefaultSyncInterval {
		t.Errorf("one policy is looked at every %v, want %v", got, DefaultSyncInterval)
	}
	for i := range 4999 {
		b.remember(inDefault(fmt.Sprint("p-", i)), types.UID(fmt.Sprint(i)))
	}
	if got := b.interval(); got != 10*time.Second {
		t.Errorf("5,000 policies are looked at every %v, want 10 s", got)
	}
	p := policy()
	b.wrote(p, noon)
	if b.mayWrite(p, noon.Add(199*time.Second)) || !b.mayWrite(p, noon.Add(200*time.Second)) {
		t.Error("numbers of one of 5,000 policies are not written after 200 s")
	}
}

func TestStatusesThatAllChangeAtOnceAreWrittenInTurn(t *testing.T) {
	p := policy()
	p.Spec.ScaleStrategy = v1alpha1.StrategyAuto
	b := newBench(t, newWorld(1, 0.2), p)
	b.sync("fib-gpu", 0)
	for b.writes.AllowN(b.now, 1) { // others have theirs
	}
	before := b.patches
	b.absent = errors.New("the API server is away")
	b.sync("fib-gpu", 0)
	if b.patches != before || slices.ContainsFunc(b.records, func(s string) bool { return strings.Contains(s, "FailedGetScale") }) {
		t.Errorf("%d patches and events %q, want none before its turn", b.patches-before, b.records)
	}
	b.sync("fib-gpu", 2*time.Second)
	if b.patches != before+1 || !slices.ContainsFunc(b.records, func(s string) bool { return strings.Contains(s, "FailedGetScale") }) {
		t.Errorf("%d patches and events %q, want it written and told in its turn", b.patches-before, b.records)
	}
	b.absent = nil
	b.run(1, 0.9)
	for b.writes.AllowN(b.now.Add(2*time.Second), 1) {
	}
	before = b.patches
	if b.sync("fib-gpu", 2*time.Second); len(b.scaled) == 0 || b.patches != before+1 {
		t.Errorf("scaled %q and %d patches, want what is scaled written at once", b.scaled, b.patches-before)
	}
}
