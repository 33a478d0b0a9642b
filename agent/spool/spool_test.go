package spool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foretide/foretide/pkg/telemetry"
)

func batch(device string) telemetry.Batch {
	end := time.Now().Truncate(time.Millisecond)
	return telemetry.Batch{Start: end.Add(-time.Second), End: end, OwnersKnown: true,
		Readings: []telemetry.Reading{{Device: telemetry.Device{UUID: device}, Values: telemetry.Values{telemetry.UtilizationMean: 0.5}}}}
}

func put(s *Spool, n int) {
	for range n {
		s.Put(batch("GPU-1"))
	}
}

func open(t *testing.T, o Options) *Spool {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// filled is a spool in memory with batches 1 to n, and one receiver.
func filled(t *testing.T, n int) (*Spool, *Cursor) {
	t.Helper()
	s := open(t, Options{})
	put(s, n)
	return s, s.Receiver("a")
}

// given returns what a cursor gives without waiting.
func given(t *testing.T, c *Cursor) []uint64 {
	t.Helper()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	var out []uint64
	for {
		f, err := c.Next(ended)
		if err != nil {
			return out
		}
		out = append(out, f.Sequence)
	}
}

// drain answers whatever a cursor gives until it gives nothing, and returns that.
func drain(t *testing.T, c *Cursor) []uint64 {
	t.Helper()
	var out []uint64
	for {
		now := given(t, c)
		if len(now) == 0 {
			return out
		}
		for _, n := range now {
			c.Ack(n)
		}
		out = append(out, now...)
	}
}

func fromTo(first, last uint64) []uint64 {
	var out []uint64
	for n := first; n <= last; n++ {
		out = append(out, n)
	}
	return out
}

func TestSequenceCountsFromOneAndNothingOfTheBatchIsLost(t *testing.T) {
	s := open(t, Options{})
	var want []telemetry.Batch
	for i := range 40 {
		b := batch(fmt.Sprintf("GPU-%d", i/10))
		b.Problems = []string{fmt.Sprint("problem ", i)}
		s.Put(b)
		b.Sequence, b.Session = uint64(i+1), s.Session()
		want = append(want, b)
	}
	c := s.Receiver("a")
	var got []telemetry.Batch
	for range want {
		f, err := c.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b := f.Batch()
		b.Session = s.Session() // of the stream, as is the node
		got = append(got, b)
		c.Ack(f.Sequence)
	}
	slices.SortFunc(got, func(a, b telemetry.Batch) int { return int(a.Sequence) - int(b.Sequence) })
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestSessionsDiffer(t *testing.T) {
	if a, b := open(t, Options{}).Session(), open(t, Options{}).Session(); a == "" || a == b {
		t.Errorf("sessions %q and %q", a, b)
	}
}

func TestBatchIsForgottenWhenEveryReceiverHasAnswered(t *testing.T) {
	s, a := filled(t, 16)
	b := s.Receiver("b")
	given(t, a)
	given(t, b)
	for n := range uint64(16) {
		a.Ack(n + 1)
	}
	if got := s.Stats(); got.Batches != 16 || got.Acknowledged != 16 || got.settled != 0 {
		t.Errorf("answered by one: %+v", got)
	}
	b.Refuse(16)
	for n := range uint64(15) {
		b.Ack(n + 1)
	}
	put(s, 1) // begins another segment
	if got := s.Stats(); got.Batches != 1 || got.Acknowledged != 16 || got.settled != 16 || got.Refused != 1 || len(s.segments) != 1 {
		t.Errorf("answered by both: %+v, %d segments", got, len(s.segments))
	}
}

func TestAnswersMayComeInAnyOrderAndTwice(t *testing.T) {
	s, c := filled(t, 10)
	given(t, c)
	for _, n := range []uint64{7, 3, 3, 10, 1, 99, 0} {
		c.Ack(n)
	}
	c.Refuse(2)
	c.Refuse(2)
	if got := s.Stats(); got.Batches != 5 || got.Acknowledged != 4 || got.Refused != 1 {
		t.Errorf("stats = %+v", got)
	}
	c.Close()
	if got, want := given(t, s.Receiver("a")), []uint64{4, 5, 6, 8, 9}; !slices.Equal(got, want) {
		t.Errorf("the next stream is given %v; want %v", got, want)
	}
}

func TestStoreThatIsNewBeginsWithTheOldestThereIs(t *testing.T) {
	s, a := filled(t, 5)
	for _, n := range given(t, a)[:2] {
		a.Ack(n)
	}
	b := s.Receiver("b")
	if got := given(t, b); !slices.Equal(got, fromTo(3, 5)) {
		t.Errorf("given %v; want what nobody has", got)
	}
}

func TestReceiverThatIsAbsentForTooLongIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		s := open(t, Options{MaxAge: time.Hour, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		a, b := s.Receiver("a"), s.Receiver("b")
		for range 40 {
			put(s, 1)
			for _, n := range given(t, a) {
				a.Ack(n)
			}
			time.Sleep(time.Second)
		}
		b.Close() // with 40 it never answered
		for i := 0; i < 3600; i += 15 {
			put(s, 1)
			a.Ack(given(t, a)[0])
			time.Sleep(15 * time.Second)
		}
		if got := s.Stats(); got.Batches != 280 || got.Dropped != 0 {
			t.Errorf("after an hour: %+v", got)
		}
		time.Sleep(time.Second)
		put(s, 1)
		a.Ack(given(t, a)[0])
		if got := s.Stats(); got.Batches != 0 || got.Dropped != 0 || got.Acknowledged != 281 || !strings.Contains(log.String(), "store=b") {
			t.Errorf("when it is forgotten: %+v\n%s", got, log.String())
		}
	})
}

func TestOldestIsDroppedAndCountedWhenMemoryIsFull(t *testing.T) {
	one, _ := filled(t, 160)
	size := one.Stats().Bytes / 10 // of a segment
	s := open(t, Options{MaxMemoryBytes: 3 * size})
	put(s, 160)
	c := s.Receiver("a")
	got, stats := drain(t, c), s.Stats()
	slices.Sort(got)
	if len(got) == 0 || got[len(got)-1] != 160 || !slices.Equal(got, fromTo(got[0], 160)) || stats.Dropped != got[0]-1 || stats.Dropped < 100 {
		t.Errorf("given %v, stats %+v; want the newest, the others counted", got, stats)
	}
	s.Put(batch(strings.Repeat("x", 4*size)))
	if after := s.Stats(); after.Dropped != stats.Dropped+1 || after.Batches != 0 {
		t.Errorf("stats %+v; want the batch for which there can be no room to be dropped alone", after)
	}
	put(s, 1)
	if got := drain(t, c); !slices.Equal(got, []uint64{161}) {
		t.Errorf("given %v after it", got)
	}
}

func TestBatchThatCannotBeWrittenIsDroppedAlone(t *testing.T) {
	var log strings.Builder
	s := open(t, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	put(s, 2)
	s.Put(batch("\xff"))
	s.Put(batch("\xff"))
	put(s, 2)
	if got := drain(t, s.Receiver("a")); !slices.Equal(got, fromTo(1, 4)) {
		t.Errorf("given %v", got)
	}
	if got := s.Stats(); got.Dropped != 2 || strings.Count(log.String(), "level=WARN") != 1 {
		t.Errorf("stats %+v, log:\n%s", got, log.String())
	}
}

func TestWhatIsTooOldIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Options{MaxAge: time.Hour})
		for range 200 {
			put(s, 1)
			time.Sleep(time.Minute)
		}
		got := s.Stats()
		if got.Batches+int(got.Dropped) != 200 || got.Batches < 60 || got.Batches > 60+3+segmentBatches {
			t.Errorf("stats = %+v; want the batches of the last hour, by segments", got)
		}
		if got.OldestAge < time.Hour || got.OldestAge > 80*time.Minute {
			t.Errorf("oldest = %v", got.OldestAge)
		}
	})
}

func TestAgeIsThatOfTheOldestThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Options{})
		c := s.Receiver("a")
		for range 10 {
			put(s, 1)
			time.Sleep(time.Second)
		}
		for _, n := range given(t, c)[:7] {
			c.Ack(n)
		}
		if got := s.Stats(); got.OldestAge != 3*time.Second || got.Batches != 3 {
			t.Errorf("stats = %+v; want the three of the last three seconds", got)
		}
		for n := range uint64(10) {
			c.Ack(n + 1)
		}
		if got := s.Stats(); got.OldestAge != 0 || got.Bytes != 0 || got.Batches != 0 {
			t.Errorf("stats = %+v; want nothing to wait", got)
		}
	})
}

func TestWaitEmptyWaitsForTheReceiversThatAreThereOrWereAMomentAgo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, gone := filled(t, 2)
		gone.Close()
		time.Sleep(aMoment)
		b, broken := s.Receiver("b"), s.Receiver("broken")
		broken.Close()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.WaitEmpty(ended); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "2 batches are left") {
			t.Errorf("error = %v", err)
		}
		done := make(chan error, 1)
		go func() { done <- s.WaitEmpty(context.Background()) }()
		b.Ack(2)
		b.Ack(1)
		synctest.Wait()
		if len(done) != 0 {
			t.Error("one whose stream broke a moment ago was not waited for")
		}
		again := s.Receiver("broken")
		again.Ack(1)
		again.Refuse(2)
		if err := <-done; err != nil {
			t.Error(err)
		}
		again.Close()
		b.Close()
		time.Sleep(aMoment)
		if err := s.WaitEmpty(ended); err == nil {
			t.Error("no error although one lacks two, and none is there")
		}
	})
}

// One goroutine puts; two receivers take, answer, defer and reconnect: every batch is either acknowledged or counted as dropped.
func TestNothingIsLostUncounted(t *testing.T) {
	const total = 3000
	s := open(t, Options{Path: t.TempDir(), MaxMemoryBytes: 64 << 10, MaxDiskBytes: 64 << 10})
	ctx, cancel := context.WithCancel(t.Context())
	var workers sync.WaitGroup
	for _, store := range []string{"a", "b"} {
		workers.Go(func() {
			for ctx.Err() == nil {
				c := s.Receiver(store)
				for i := range 100 {
					f, err := c.Next(ctx)
					if err != nil {
						break
					}
					switch i % 10 {
					case 3:
						c.Defer(f.Sequence, time.Microsecond)
					case 7:
						// never answered on this stream
					default:
						c.Ack(f.Sequence)
					}
				}
				c.Close()
			}
		})
	}
	for range total {
		put(s, 1)
	}
	cancel()
	workers.Wait()
	if got := s.Stats(); got.settled+got.Dropped+uint64(got.Batches) != total {
		t.Errorf("stats = %+v; want the sum to be %d", got, total)
	}
	for _, store := range []string{"a", "b"} {
		drain(t, s.Receiver(store))
	}
	if got := s.Stats(); got.Batches != 0 {
		t.Errorf("stats = %+v; want nothing to be left", got)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
