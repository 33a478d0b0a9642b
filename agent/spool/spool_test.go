package spool

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foretide/foretide/pkg/telemetry"
)

func batch(device string) telemetry.Batch {
	end := time.UnixMilli(1_767_312_000_000)
	return telemetry.Batch{Start: end.Add(-time.Second), End: end,
		Readings: []telemetry.Reading{{Device: telemetry.Device{UUID: device}, Values: telemetry.Values{telemetry.UtilizationMean: 0.5}}}}
}

func filled(t *testing.T, limit, n int) *Spool {
	t.Helper()
	s := New(limit)
	for range n {
		s.Put(batch("GPU-1"))
	}
	return s
}

// sequences returns what Next gives from the beginning, without waiting.
func sequences(t *testing.T, s *Spool) []uint64 {
	t.Helper()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	var after uint64
	var out []uint64
	for {
		b, err := s.Next(ended, after)
		if err != nil {
			return out
		}
		after = b.GetSequence()
		out = append(out, after)
	}
}

func TestSequenceCountsFromOneAndNothingOfTheBatchIsLost(t *testing.T) {
	s := New(10)
	s.Put(batch("GPU-1"))
	s.Put(batch("GPU-2"))
	got, err := s.Next(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	back, err := telemetry.FromProto("", "", got)
	if err != nil {
		t.Fatal(err)
	}
	want := batch("GPU-2")
	want.Sequence = 2
	if d := cmp.Diff(want, back); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestSessionsDiffer(t *testing.T) {
	if a, b := New(1).Session(), New(1).Session(); a == "" || a == b {
		t.Errorf("sessions %q and %q", a, b)
	}
}

func TestUnacknowledgedBatchesAreGivenAgain(t *testing.T) {
	s := filled(t, 10, 4)
	if got := sequences(t, s); !slices.Equal(got, []uint64{1, 2, 3, 4}) {
		t.Errorf("first time: %v", got)
	}
	s.Ack(2)
	if got := sequences(t, s); !slices.Equal(got, []uint64{3, 4}) {
		t.Errorf("after the acknowledgement of 2: %v", got)
	}
	s.Ack(1)
	s.Ack(2)
	if got := s.Stats(); got.Batches != 2 || got.Acknowledged != 2 {
		t.Errorf("after old acknowledgements: %+v", got)
	}
	s.Ack(4)
	if got := s.Stats(); got.Batches != 0 || got.Bytes != 0 || got.Acknowledged != 4 {
		t.Errorf("after all: %+v", got)
	}
}

func TestFullSpoolDropsTheOldestAndCounts(t *testing.T) {
	s := filled(t, 3, 5)
	if got := sequences(t, s); !slices.Equal(got, []uint64{3, 4, 5}) {
		t.Errorf("sequences = %v", got)
	}
	got := s.Stats()
	if got.Dropped != 2 || got.Batches != 3 {
		t.Errorf("stats = %+v", got)
	}
	one := filled(t, 3, 1).Stats().Bytes
	if got.Bytes != 3*one {
		t.Errorf("%d bytes for three batches of %d", got.Bytes, one)
	}
}

func TestRefusedBatchIsForgottenAlone(t *testing.T) {
	s := filled(t, 10, 3)
	s.Refuse(2)
	s.Refuse(2)
	s.Refuse(9)
	s.Refuse(0)
	if got := sequences(t, s); !slices.Equal(got, []uint64{1, 3}) {
		t.Errorf("sequences = %v", got)
	}
	if got := s.Stats(); got.Refused != 1 {
		t.Errorf("stats = %+v", got)
	}
}

func TestNextWaitsForABatch(t *testing.T) {
	s := New(10)
	got := make(chan uint64)
	go func() {
		b, err := s.Next(context.Background(), 0)
		if err != nil {
			t.Error(err)
		}
		got <- b.GetSequence()
	}()
	s.Put(batch("GPU-1"))
	if n := <-got; n != 1 {
		t.Errorf("sequence = %d", n)
	}
}

func TestWaitEmptySaysWhatIsLeft(t *testing.T) {
	s := filled(t, 10, 2)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.WaitEmpty(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v", err)
	}
	done := make(chan error)
	go func() { done <- s.WaitEmpty(context.Background()) }()
	s.Ack(1)
	s.Refuse(2)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// One goroutine puts, one sends and resends, one acknowledges: every batch is either acknowledged or counted as dropped.
func TestNothingIsLostUncounted(t *testing.T) {
	const total = 5000
	s := New(64)
	ctx, cancel := context.WithCancel(t.Context())
	sent := make(chan uint64, 16)
	var workers sync.WaitGroup
	workers.Go(func() {
		defer close(sent)
		var after uint64
		for range total {
			b, err := s.Next(ctx, after)
			if err != nil {
				return
			}
			if b.GetSequence() <= after {
				t.Errorf("sequence %d after %d", b.GetSequence(), after)
			}
			after = b.GetSequence()
			sent <- after
			if after%97 == 0 {
				after = 0 // a reconnect
			}
		}
	})
	workers.Go(func() {
		for n := range sent {
			s.Ack(n)
		}
	})
	for range total {
		s.Put(batch("GPU-1"))
	}
	cancel()
	workers.Wait()
	if got := s.Stats(); got.Acknowledged+got.Dropped+uint64(got.Batches) != total {
		t.Errorf("stats = %+v; want the sum to be %d", got, total)
	}
}

func TestSpoolIsBoundedInBytes(t *testing.T) {
	if got := New(1).maxBytes; got != 16<<20 {
		t.Errorf("bound = %d bytes; want 16 MiB", got)
	}
	one := filled(t, 1, 1).Stats().Bytes
	s := New(100)
	s.maxBytes = 3*one + one/2
	for range 5 {
		s.Put(batch("GPU-1"))
	}
	if got, stats := sequences(t, s), s.Stats(); !slices.Equal(got, []uint64{3, 4, 5}) || stats.Dropped != 2 || stats.Bytes != 3*one {
		t.Errorf("sequences %v, stats %+v; want the last three, two dropped", got, stats)
	}
	s.Put(batch(strings.Repeat("x", 2*one))) // pushes out as many as it takes
	if got, stats := sequences(t, s), s.Stats(); len(got) == 0 || got[len(got)-1] != 6 || stats.Bytes > s.maxBytes ||
		stats.Dropped+uint64(stats.Batches) != 6 {
		t.Errorf("sequences %v, stats %+v; want the large batch to be kept within %d bytes", got, stats, s.maxBytes)
	}
	before := s.Stats()
	s.Put(batch(strings.Repeat("x", 9*one))) // there can be no room for it
	if after := s.Stats(); after.Dropped != before.Dropped+1 || after.Batches != before.Batches || after.Bytes != before.Bytes {
		t.Errorf("stats %+v after %+v; want the batch that never fits to be dropped alone", after, before)
	}
}
