package stream

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestBatchLeftUnansweredIsNoticedAlsoWhenOthersAreAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var given atomic.Bool
		f := newFlight(func() { given.Store(true) })
		f.add(1)
		time.Sleep(time.Second)
		f.add(9)
		f.add(3)
		time.Sleep(maxSilence - time.Second - 1)
		for _, n := range []uint64{3, 1} {
			if err := f.answered(n, false); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if given.Load() {
			t.Error("given up although the batch that is left was sent a second later")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if !given.Load() {
			t.Error("not given up after the silence")
		}
	})
}

func TestNothingInFlightMeansNoHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlight(func() { t.Error("given up with nothing to wait for") })
		f.add(7)
		if f.answered(6, false) == nil || f.answered(7, false) != nil || f.answered(7, false) == nil {
			t.Error("the wrong batch was answered")
		}
		time.Sleep(time.Hour)
		f.add(8)
		f.stop()
		time.Sleep(time.Hour)
	})
}

func TestKeyFrameIsSentOnceForAllThatCouldNotBeRead(t *testing.T) {
	f := newFlight(func() {})
	defer f.stop()
	for n := range uint64(5) {
		if f.add(n) {
			t.Errorf("batch %d is a key frame", n)
		}
	}
	keys := 0
	for n := range uint64(5) {
		if err := f.answered(n, true); err != nil {
			t.Fatal(err)
		}
		if f.add(10 + n) {
			keys++
		}
	}
	if keys != 1 {
		t.Errorf("%d key frames; want one, sent after the first answer", keys)
	}
	if err := f.answered(12, true); err != nil {
		t.Fatal(err)
	}
	if !f.add(20) {
		t.Error("no key frame although one after the last key frame could not be read")
	}
}
