package spool

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestFewWaitingBatchesGoInOrder(t *testing.T) {
	s, c := filled(t, fewWaiting)
	if got := given(t, c); !slices.Equal(got, fromTo(1, fewWaiting)) {
		t.Errorf("given %v", got)
	}
	put(s, 2)
	if got := given(t, c); !slices.Equal(got, fromTo(fewWaiting+1, fewWaiting+2)) {
		t.Errorf("then %v", got)
	}
}

func TestNewestGoesFirstAndTheBacklogFollowsFromTheOldestOn(t *testing.T) {
	s, c := filled(t, 100)
	got := given(t, c)
	if want := append([]uint64{100}, fromTo(1, maxBacklogGiven)...); !slices.Equal(got, want) {
		t.Errorf("given %v; want %v, for no more old ones may be on their way", got, want)
	}
	put(s, 3)
	if got := given(t, c); !slices.Equal(got, []uint64{103}) {
		t.Errorf("given %v after three new ones; want the newest", got)
	}
	c.Ack(2)
	c.Ack(5)
	if got := given(t, c); !slices.Equal(got, []uint64{9, 10}) {
		t.Errorf("given %v in the room of two answers", got)
	}
	rest := append(fromTo(11, 99), 101, 102)
	if got := drain(t, c); got != nil {
		t.Errorf("given %v without room", got)
	}
	for _, n := range append(fromTo(1, 10), 100, 103) {
		c.Ack(n)
	}
	if got := drain(t, c); !slices.Equal(got, rest) {
		t.Errorf("the rest came as %v; want %v", got, rest)
	}
	if got := s.Stats(); got.Batches != 0 || got.Acknowledged != 103 {
		t.Errorf("stats = %+v", got)
	}
}

func TestNoMoreThanTheLimitIsOnItsWay(t *testing.T) {
	s, c := filled(t, 0)
	n := 0
	for range maxGiven + 10 {
		put(s, 1)
		n += len(given(t, c))
	}
	if n != maxGiven {
		t.Errorf("%d batches were given; want %d", n, maxGiven)
	}
	c.Ack(1)
	if got := given(t, c); len(got) != 1 {
		t.Errorf("given %v after one answer", got)
	}
}

func TestDeferredBatchComesAgainAfterThePauseAndNewOnesMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := filled(t, 3)
		given(t, c)
		c.Ack(1)
		c.Defer(2, 5*time.Second)
		c.Defer(3, 5*time.Second)
		if got := given(t, c); got != nil {
			t.Errorf("given %v in the pause", got)
		}
		put(s, 1)
		if got := given(t, c); !slices.Equal(got, []uint64{4}) {
			t.Errorf("given %v in the pause; want the new one", got)
		}
		began := time.Now()
		f, err := c.Next(t.Context())
		if err != nil || f.Sequence != 2 || time.Since(began) != 5*time.Second {
			t.Errorf("batch %d after %v, error %v; want 2 after the pause", f.Sequence, time.Since(began), err)
		}
		if got := given(t, c); !slices.Equal(got, []uint64{3}) {
			t.Errorf("given %v after it", got)
		}
		if got := s.Stats(); got.Deferred != 2 || got.Batches != 3 {
			t.Errorf("stats = %+v", got)
		}
	})
}

func TestNextWaitsForABatch(t *testing.T) {
	s, c := filled(t, 0)
	got := make(chan uint64)
	go func() {
		f, err := c.Next(context.Background())
		if err != nil {
			t.Error(err)
		}
		got <- f.Sequence
	}()
	put(s, 1)
	if n := <-got; n != 1 {
		t.Errorf("sequence = %d", n)
	}
}

func TestUnansweredBatchesAreGivenAgainOnTheNextStream(t *testing.T) {
	s, c := filled(t, 4)
	given(t, c)
	c.Ack(2)
	c.Close()
	c.Close()
	next := s.Receiver("a")
	if got := given(t, next); !slices.Equal(got, []uint64{1, 3, 4}) {
		t.Errorf("given %v", got)
	}
}

func TestReplicaThatComesBackIsGivenWhatItMissed(t *testing.T) {
	s, a := filled(t, 3)
	b := s.Receiver("b")
	drain(t, a)
	drain(t, b)
	b.Close()
	put(s, 50)
	drain(t, a)
	if got := s.Stats(); got.Batches != 50 {
		t.Errorf("stats = %+v", got)
	}
	missed := drain(t, s.Receiver("b"))
	slices.Sort(missed)
	if !slices.Equal(missed, fromTo(4, 53)) || s.Stats().Batches != 0 {
		t.Errorf("given %v, stats %+v", missed, s.Stats())
	}
}
