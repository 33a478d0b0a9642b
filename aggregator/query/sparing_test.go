package query

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"
)

// lines keeps what is logged.
type lines struct {
	mu   sync.Mutex
	text []string
}

func (l *lines) Enabled(context.Context, slog.Level) bool { return true }
func (l *lines) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *lines) WithGroup(string) slog.Handler            { return l }

func (l *lines) Handle(_ context.Context, r slog.Record) error {
	if r.Level < slog.LevelInfo {
		return nil
	}
	text := r.Level.String() + " " + r.Message
	r.Attrs(func(a slog.Attr) bool {
		text += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, text)
	return nil
}

func (l *lines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.text)
}

func TestLinesThatSayTheSameAreLoggedOnceAMinute(t *testing.T) {
	out := &lines{}
	h := newSparing(out)
	at := start
	log := func(h slog.Handler, level slog.Level, message string, later time.Duration) {
		at = at.Add(later)
		if err := h.Handle(t.Context(), slog.NewRecord(at, level, message, 0)); err != nil {
			t.Fatal(err)
		}
	}
	log(h, slog.LevelWarn, "late", 0)
	log(h, slog.LevelWarn, "late", 30*time.Second)
	log(h.WithAttrs([]slog.Attr{slog.Int("a", 1)}), slog.LevelWarn, "late", 29*time.Second)
	log(h, slog.LevelError, "late", 0)
	log(h, slog.LevelWarn, "other", 0)
	log(h.WithGroup("g"), slog.LevelWarn, "late", time.Second)
	log(h, slog.LevelWarn, "late", time.Hour)
	want := []string{"WARN late", "ERROR late", "WARN other", "WARN late left_out=2", "WARN late"}
	if !slices.Equal(out.all(), want) {
		t.Errorf("logged %q, want %q", out.all(), want)
	}
}
