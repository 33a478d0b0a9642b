package sampler

import (
	"math/rand/v2"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// step is one window: it lasted so long, and the wall clock stood there at its end.
type step struct{ length, wall time.Duration }

func TestWindowsFollowTheWallClock(t *testing.T) {
	type bounds struct{ start, end time.Duration }
	cases := map[string]struct {
		steps []step
		want  []bounds
	}{
		"clock goes on": {
			[]step{{time.Second, 0}, {time.Second, time.Second}, {15 * time.Second, 16 * time.Second}},
			[]bounds{{-time.Second, 0}, {0, time.Second}, {time.Second, 16 * time.Second}},
		},
		"clock is trimmed": {
			[]step{{time.Second, 0}, {time.Second, 1010 * time.Millisecond}, {time.Second, 2 * time.Second}},
			[]bounds{{-time.Second, 0}, {0, 1010 * time.Millisecond}, {1010 * time.Millisecond, 2 * time.Second}},
		},
		"clock jumps ahead: a gap, no long window": {
			[]step{{time.Second, 0}, {time.Second, time.Hour}, {time.Second, time.Hour + time.Second}},
			[]bounds{{-time.Second, 0}, {time.Hour - time.Second, time.Hour}, {time.Hour, time.Hour + time.Second}},
		},
		"clock jumps back a little: half speed until it has caught up": {
			[]step{{time.Second, 0}, {time.Second, -time.Second}, {time.Second, 0}, {time.Second, time.Second},
				{time.Second, 2 * time.Second}, {time.Second, 3 * time.Second}},
			[]bounds{{-time.Second, 0}, {0, 500 * time.Millisecond}, {500 * time.Millisecond, time.Second},
				{time.Second, 1500 * time.Millisecond}, {1500 * time.Millisecond, 2 * time.Second}, {2 * time.Second, 3 * time.Second}},
		},
		"clock jumps back a lot: start anew": {
			[]step{{time.Second, 0}, {time.Second, -time.Hour}, {time.Second, -time.Hour + time.Second}},
			[]bounds{{-time.Second, 0}, {-time.Hour - time.Second, -time.Hour}, {-time.Hour, -time.Hour + time.Second}},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var line timeline
			var elapsed time.Duration
			for i, s := range c.steps {
				opened := elapsed
				elapsed += s.length
				start, end := line.window(opened, instant{noon.Add(s.wall), elapsed})
				if got := (bounds{start.Sub(noon), end.Sub(noon)}); got != c.want[i] {
					t.Errorf("window %d = %v; want %v", i, got, c.want[i])
				}
			}
		})
	}
}

// Whatever the wall clock does short of a jump back by more than five minutes, windows end after they start and do not overlap.
func TestWindowsNeverOverlap(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	var line timeline
	var elapsed time.Duration
	wall, last := noon, time.Time{}
	for range 20_000 {
		opened := elapsed
		length := time.Duration(random.Int64N(int64(20 * time.Second)))
		elapsed += length
		wall = wall.Add(length)
		if random.IntN(50) == 0 {
			wall = wall.Add(time.Duration(random.Int64N(int64(4*time.Minute))) - 2*time.Minute)
		}
		start, end := line.window(opened, instant{wall, elapsed})
		if end.Sub(start) < time.Millisecond || end.UnixMilli() <= start.UnixMilli() {
			t.Fatalf("window [%v, %v) is empty on the wire", start, end)
		}
		if start.Before(last) && last.Sub(wall) <= followBack {
			t.Fatalf("window starts at %v, the one before ended at %v", start, last)
		}
		last = end
	}
}
