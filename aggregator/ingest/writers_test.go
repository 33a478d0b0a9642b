package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/foretide/foretide/pkg/telemetry"
)

func TestFramesOfManyValuesWaitWithTheirStreamsWhenTheStoreIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leave := make(chan struct{})
		r := &room{fail: func(telemetry.Frame) error { <-leave; return nil }}
		m, err := newMetrics(nil)
		if err != nil {
			t.Fatal(err)
		}
		w := startWriters(r, newPace(PaceOptions{}.withDefaults(), start), m, slog.New(slog.DiscardHandler))
		defer w.stop()
		half := telemetry.Frame{Values: make([]float64, waitingValues/2)}
		var stored []<-chan error
		put := func(ctx context.Context, f telemetry.Frame) error {
			s, err := w.put(ctx, 0, f)
			if err == nil {
				stored = append(stored, s)
			}
			return err
		}
		for range 2 {
			if err := put(t.Context(), half); err != nil {
				t.Fatal(err)
			}
		}
		ended, cancel := context.WithCancel(t.Context())
		given := make(chan error, 1)
		go func() { given <- put(ended, half) }()
		synctest.Wait()
		cancel()
		if err := <-given; !errors.Is(err, context.Canceled) {
			t.Errorf("a third is taken while %d values wait: %v", waitingValues, err)
		}
		close(leave)
		for range 3 { // also one that is larger than the room
			if err := put(t.Context(), telemetry.Frame{Values: make([]float64, waitingValues+1)}); err != nil {
				t.Fatal(err)
			}
		}
		for _, s := range stored {
			if err := <-s; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestThatFramesCannotBeStoredIsSaidOnceHoweverTheReasonIsWorded(t *testing.T) {
	free := 100
	r := &room{fail: func(telemetry.Frame) error {
		if free--; free < 0 {
			return nil
		}
		return fmt.Errorf("%d MiB are free", free)
	}}
	m, err := newMetrics(nil)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	w := startWriters(r, newPace(PaceOptions{}.withDefaults(), start), m, slog.New(slog.NewTextHandler(&log, nil)))
	failed := 0
	for range 110 {
		stored, err := w.put(t.Context(), 0, telemetry.Frame{})
		if err != nil {
			t.Fatal(err)
		}
		if <-stored != nil {
			failed++
		}
	}
	w.stop()
	if got := log.String(); failed != 100 || strings.Count(got, "level=WARN") != 1 || strings.Count(got, "level=INFO") != 1 || !strings.Contains(got, "99 MiB are free") {
		t.Errorf("%d failed; want one line that it began and one that it is over:\n%s", failed, got)
	}
}
