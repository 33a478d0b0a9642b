package stream

import (
	"testing"
	"time"
)

func TestWishesOfTheConnectedAreCombined(t *testing.T) {
	var interval time.Duration
	var draining bool
	w := wishes{setInterval: func(d time.Duration) { interval = d }, setDraining: func(d bool) { draining = d }, of: map[*link]wish{}}
	a, b := &link{}, &link{}
	yes, no := true, false
	ask := func(of *link, every time.Duration, drain *bool) {
		w.change(of, func(its *wish) { its.interval, its.draining = every, drain })
	}
	check := func(what string, wantInterval time.Duration, wantDraining bool) {
		t.Helper()
		if interval != wantInterval || draining != wantDraining {
			t.Errorf("%s: interval %v, draining %v", what, interval, draining)
		}
	}
	ask(a, 5*time.Second, &yes)
	check("one", 5*time.Second, true)
	ask(b, 2*time.Second, &no)
	check("the longest, and any", 5*time.Second, true)
	ask(a, 0, &no)
	check("the first asks for nothing any more", 2*time.Second, false)
	ask(a, 9*time.Second, &yes)
	w.forget(a)
	check("the first is gone", 2*time.Second, false)
	ask(b, 7*time.Second, &yes)
	w.forget(b)
	check("nobody is there: the last wish stands", 7*time.Second, true)
	ask(a, time.Second, nil)
	check("a new one does not say yet whether the node is drained", time.Second, true)
	ask(a, time.Second, &no)
	check("now it does", time.Second, false)
}
