package workload

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

type never struct{}

func (never) Error() string             { return "refused: too old" }
func (never) Refusal() (string, string) { return "too_old", "too old" }

// expectLog wants a text in so many lines.
func (tp *tape) expectLog(t *testing.T, text string, want int) {
	t.Helper()
	if got := strings.Count(tp.log.String(), text); got != want {
		t.Errorf("%q is logged %d times, want %d:\n%s", text, got, want, tp.log.String())
	}
}

func TestMinutesTheStoreCannotTakeAreKeptAndWrittenInOrderAndOnce(t *testing.T) {
	tp := newTape(t, ready("a"))
	tp.loads["default/a"] = doing(0.25)
	tp.play(10, 60)
	tp.fail = errors.New("disk full")
	for minute := 2; minute <= 4; minute++ {
		tp.loads["default/a"] = doing(0.25 * float64(minute))
		tp.play(60*minute-50, 60*minute)
	}
	tp.expect(t, "bert 12:01:00 0.25 1.00")
	tp.expectCounts(t, 1, 0, 0)
	tp.expectLog(t, "cannot be written", 1)
	tp.fail = nil
	tp.play(250, 300)
	tp.expect(t, "bert 12:02:00 0.50 1.00", "bert 12:03:00 0.75 1.00", "bert 12:04:00 1.00 1.00", "bert 12:05:00 1.00 1.00")
	tp.expectCounts(t, 5, 0, 0)
	tp.expectLog(t, "is written", 1)
	tp.expectLog(t, "dropped", 0)
}

func TestWhatTheStoreStillTakesOfABacklogIsNotWrittenAgain(t *testing.T) {
	tp := newTape(t, ready("a"))
	tp.loads["default/a"] = doing(0.5)
	tp.fail = errors.New("disk full")
	tp.play(10, 180)
	tp.fail = nil
	take := tp.opts.Append
	tp.opts.Append = func(ctx context.Context, id ID, at time.Time, busyGPUs, pods float64) error {
		defer func() { tp.fail = errors.New("full again") }()
		return take(ctx, id, at, busyGPUs, pods)
	}
	tp.Record(t.Context(), noon.Add(183*time.Second))
	tp.expect(t, "bert 12:01:00 0.50 1.00")
	tp.fail = nil
	tp.Record(t.Context(), noon.Add(184*time.Second))
	tp.expect(t, "bert 12:02:00 0.50 1.00")
	tp.expectCounts(t, 2, 0, 0)
}

func TestAMinuteRefusedForGoodIsCountedAndTheNextIsWritten(t *testing.T) {
	tp := newTape(t, ready("a"))
	tp.loads["default/a"] = doing(0.5)
	tp.fail = fmt.Errorf("demand: %w", never{})
	tp.play(10, 60)
	tp.fail = nil
	tp.play(70, 120)
	tp.expect(t, "bert 12:02:00 0.50 1.00")
	tp.expectCounts(t, 1, 0, 1)
	tp.expectLog(t, "level=ERROR", 1)
}

func TestOnlySoManyMinutesWaitForTheStoreAndTheOldestAreDroppedAndCounted(t *testing.T) {
	tp := newTape(t, ready("a"))
	tp.loads["default/a"] = doing(0.5)
	tp.fail = errors.New("disk full")
	tp.unwritten = slices.Repeat([]point{{bert, noon, 2, 2}}, mostUnwritten)
	tp.play(10, 120)
	tp.expectCounts(t, 0, 0, 2)
	tp.expectLog(t, "oldest minutes are dropped", 1)
	tp.fail = nil
	goes := 0
	for ; len(tp.unwritten) > 0; goes++ {
		tp.Record(t.Context(), noon.Add(122*time.Second))
	}
	tp.expectCounts(t, mostUnwritten, 0, 2)
	if want := mostUnwritten / writeAtOnce; goes != want {
		t.Errorf("written in %d goes, want %d", goes, want)
	}
	tp.written = tp.written[mostUnwritten-2:]
	tp.expect(t, "bert 12:01:00 0.50 1.00", "bert 12:02:00 0.50 1.00")
}

func TestWhatWaitsForTheStoreAndIsOfATimeThatComesAgainIsForgotten(t *testing.T) {
	tp := newTape(t, ready("a"))
	tp.loads["default/a"] = doing(0.5)
	tp.fail = errors.New("disk full")
	tp.play(10, 60)
	tp.play(3610, 3660) // an hour later, 13:01
	tp.play(60, 180)    // and back to 12:01
	tp.fail = nil
	tp.play(190, 190)
	tp.expect(t, "bert 12:01:00 0.50 1.00", "bert 12:02:00 0.50 1.00", "bert 12:03:00 0.50 1.00")
	tp.expectCounts(t, 3, 2, 0) // 13:01, and the second 12:01, of which only the last slice was seen
}
