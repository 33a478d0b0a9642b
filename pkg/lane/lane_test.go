package lane

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestJobThatHangsCostsNoOtherItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lanes := make([]Lane[int], 4)
		stuck := make(chan struct{})
		var jobs []Job
		for i := range lanes {
			jobs = append(jobs, lanes[i].Prepare(time.Now(), func() int {
				if i == 0 {
					<-stuck
				}
				return i
			}))
		}
		c := NewCrew(jobs)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for i := range lanes {
			if got, ok := lanes[i].Wait(ctx, c); ok != (i > 0) || ok && got != i {
				t.Errorf("lane %d: %d, %v", i, got, ok)
			}
		}
		if c.Dismiss() != 0 || !lanes[0].Busy() || lanes[1].Pending() {
			t.Error("want the first lane alone to be busy")
		}
		close(stuck)
		synctest.Wait()
		if got, ok := lanes[0].Take(); !ok || got != 0 || lanes[0].Pending() {
			t.Errorf("late result: %d, %v", got, ok)
		}
	})
}

func TestJobNobodyHasBegunIsForgottenWhenItsTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lanes := make([]Lane[int], 2)
		stuck := make(chan struct{})
		defer close(stuck)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		c := NewCrew([]Job{lanes[0].Prepare(time.Now(), func() int { <-stuck; return 0 }), lanes[1].Prepare(time.Now(), func() int { return 1 })})
		synctest.Wait() // the first has begun, and the second waits behind it
		for i := range lanes {
			if _, ok := lanes[i].Wait(ended, c); ok {
				t.Errorf("lane %d has a result", i)
			}
		}
		if n := c.Dismiss(); n != 1 || lanes[1].Busy() {
			t.Errorf("%d dismissed, second lane busy: %v; want it free", n, lanes[1].Busy())
		}
	})
}

func TestPausesDoubleUpToTheLast(t *testing.T) {
	b := Backoff{First: time.Second, Last: 5 * time.Second}
	now := time.Now()
	if !b.Idle() || !b.Due(now) {
		t.Error("not due at first")
	}
	for _, want := range []time.Duration{1, 2, 4, 5, 5} {
		b.Failed(now)
		if b.Wait() != want*time.Second || b.Due(now.Add(want*time.Second-1)) || !b.Due(now.Add(want*time.Second)) {
			t.Errorf("wait = %v; want %d s", b.Wait(), want)
		}
	}
	if b.Succeeded(); !b.Idle() {
		t.Error("not idle after success")
	}
}
