package query

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// quiet is how long a line of the log stands for all that say the same.
const quiet = time.Minute

// sparing logs the first of lines with the same message and level in a minute; the next one says how many were left out. What
// Prometheus' code logs comes with every request, or even with every sample that one sends.
type sparing struct {
	slog.Handler
	said *said
}

type said struct {
	mu    sync.Mutex
	lines map[line]state
}

type line struct {
	level   slog.Level
	message string
}

type state struct {
	last    time.Time
	leftOut int
}

func newSparing(h slog.Handler) slog.Handler {
	return sparing{h, &said{lines: map[line]state{}}}
}

// Handle implements slog.Handler.
func (s sparing) Handle(ctx context.Context, r slog.Record) error {
	leftOut, log := s.said.take(line{r.Level, r.Message}, r.Time)
	if !log {
		return nil
	}
	if leftOut > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("left_out", leftOut))
	}
	return s.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (s sparing) WithAttrs(attrs []slog.Attr) slog.Handler {
	return sparing{s.Handler.WithAttrs(attrs), s.said}
}

// WithGroup implements slog.Handler.
func (s sparing) WithGroup(name string) slog.Handler {
	return sparing{s.Handler.WithGroup(name), s.said}
}

// take reports whether a line is to be logged, and how many like it were not.
func (s *said) take(l line, now time.Time) (leftOut int, log bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, known := s.lines[l]
	if known && now.Sub(before.last) < quiet {
		before.leftOut++
		s.lines[l] = before
		return 0, false
	}
	s.lines[l] = state{last: now}
	return before.leftOut, true
}
