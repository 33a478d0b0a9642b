package storage

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var bert = Workload{"default", "Deployment", "bert-intent-detection"}

func TestPodsAreReadAsDemandIs(t *testing.T) {
	s := open(t, t.TempDir(), start.Add(time.Hour))
	for minute, pods := range map[int]float64{1: 2, 2: 0, 4: 3} {
		if err := s.AppendDemand(t.Context(), bert, start.Add(time.Duration(minute)*time.Minute), 9, pods); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Pods(t.Context(), bert, start, start.Add(4*time.Minute), time.Minute)
	if diff := cmp.Diff([]float64{2, 0, math.NaN(), 3}, got, cmpopts.EquateNaNs()); err != nil || diff != "" {
		t.Errorf("%v, pods (-want +got):\n%s", err, diff)
	}
	if _, err := s.Pods(t.Context(), Workload{}, start, start.Add(time.Minute), time.Minute); err == nil {
		t.Error("a workload without a name is taken")
	}
}

func TestDemandIsReadOnAGridWhereUnknownIsNotZero(t *testing.T) {
	s := open(t, t.TempDir(), start.Add(time.Hour))
	for minute, busy := range map[int]float64{1: 0.5, 2: 0, 4: 2, 6: 3} {
		if err := s.AppendDemand(t.Context(), bert, start.Add(time.Duration(minute)*time.Minute), busy, 2); err != nil {
			t.Fatal(err)
		}
	}
	nan := math.NaN()
	for _, c := range []struct {
		name     string
		from, to time.Time
		step     time.Duration
		want     []float64
	}{
		{"a sample belongs to the step that ends at it", start, start.Add(6 * time.Minute), time.Minute, []float64{0.5, 0, nan, 2, nan, 3}},
		{"bounds are rounded down", start.Add(59 * time.Second), start.Add(2*time.Minute + 59*time.Second), time.Minute, []float64{0.5, 0}},
		{"wide steps hold the mean of what is known", start, start.Add(6 * time.Minute), 2 * time.Minute, []float64{0.25, 2, 3}},
		{"nothing known", start.Add(-2 * time.Minute), start, time.Minute, []float64{nan, nan}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := s.Demand(t.Context(), bert, c.from, c.to, c.step)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got, cmpopts.EquateNaNs()); diff != "" {
				t.Errorf("demand (-want +got):\n%s", diff)
			}
		})
	}
	other, err := s.Demand(t.Context(), Workload{"default", "Deployment", "other"}, start, start.Add(time.Minute), time.Minute)
	if err != nil || !math.IsNaN(other[0]) {
		t.Errorf("another workload: %v, %v; want unknown", other, err)
	}
}

func TestWrongDemandIsRefusedByName(t *testing.T) {
	s := open(t, t.TempDir(), start)
	for want, err := range map[string]error{
		"busy GPUs is NaN":    s.AppendDemand(t.Context(), bert, start, math.NaN(), 1),
		"pods is -1":          s.AppendDemand(t.Context(), bert, start, 1, -1),
		`kind ""`:             s.AppendDemand(t.Context(), Workload{"a", "", "b"}, start, 1, 1),
		"ahead of the clock":  s.AppendDemand(t.Context(), bert, start.Add(time.Hour), 1, 1),
		"points[1].value is ": second(s.AppendDemandHistory(t.Context(), bert, []Point{{start, 1}, {start, math.Inf(1)}})),
		"points[0].time":      second(s.AppendDemandHistory(t.Context(), bert, []Point{{start.Add(time.Hour), 1}})),
	} {
		if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v: want a refusal with %q", err, want)
		}
	}
	if _, err := s.Demand(t.Context(), bert, start, start, time.Minute); err == nil {
		t.Error("an empty range gives no error")
	}
	if _, err := s.Demand(t.Context(), bert, start, start.Add(time.Hour), 0); err == nil {
		t.Error("a step of 0 gives no error")
	}
}

func second[T any](_ T, err error) error { return err }

// history is one point a minute that ends at the given time, with a hole of an hour after the first day.
func history(end time.Time, days int, level float64) []Point {
	n := days * 24 * 60
	points := make([]Point, 0, n)
	for i := range n {
		if i >= 1440 && i < 1500 {
			continue
		}
		points = append(points, Point{end.Add(time.Duration(i+1-n) * time.Minute), level + float64(i%1440)/1440})
	}
	return points
}

func TestImportedHistoryIsThereAfterReopening(t *testing.T) {
	t.Parallel()
	for _, existing := range []bool{false, true} {
		t.Run(fmt.Sprintf("existing store %v", existing), func(t *testing.T) {
			t.Parallel()
			// Ten days are more than one block may have. The store that is compacted as well takes half of that.
			days := 10
			if existing {
				days = 5
			}
			dir := t.TempDir()
			s := open(t, dir, start)
			recorded := start.Add(-time.Minute)
			if existing {
				if err := s.AppendDemand(t.Context(), bert, recorded, 42, 1); err != nil {
					t.Fatal(err)
				}
			}
			second := Workload{"default", "StatefulSet", "other"}
			for i, w := range []Workload{bert, second} {
				points := history(start, days, float64(10*i))
				n, err := s.AppendDemandHistory(t.Context(), w, points)
				if err != nil {
					t.Fatal(err)
				}
				want := len(points)
				if existing && i == 0 {
					want-- // the recorded minute stands
				}
				if n != want {
					t.Errorf("%v: %d points written, want %d", w, n, want)
				}
				if again, err := s.AppendDemandHistory(t.Context(), w, points); err != nil || again != 0 {
					t.Errorf("%v: importing again wrote %d points, %v; want none", w, again, err)
				}
			}
			check := func(t *testing.T, s *Store) {
				t.Helper()
				for i, w := range []Workload{bert, second} {
					got, err := s.Demand(t.Context(), w, start.Add(time.Duration(-days)*24*time.Hour), start, time.Minute)
					if err != nil {
						t.Fatal(err)
					}
					for j := range got {
						want := float64(10*i) + float64(j%1440)/1440
						switch {
						case j >= 1440 && j < 1500:
							want = math.NaN()
						case existing && i == 0 && j == len(got)-2:
							want = 42
						}
						if got[j] != want && !(math.IsNaN(got[j]) && math.IsNaN(want)) {
							t.Fatalf("%v: minute %d of %d is %v, want %v", w, j, len(got), got[j], want)
						}
					}
				}
			}
			check(t, s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, dir, start)
			check(t, s)
			if existing {
				if err := errors.Join(s.workload.db.Compact(t.Context()), s.workload.db.CompactOOOHead(t.Context())); err != nil {
					t.Fatal(err)
				}
				check(t, s)
			}
			if err := s.AppendDemand(t.Context(), bert, start.Add(time.Minute), 7, 1); err != nil {
				t.Errorf("live demand after the import: %v", err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			check(t, open(t, dir, start))
		})
	}
}

func TestHistoryOlderThanTheRetentionIsLeftOut(t *testing.T) {
	s := open(t, t.TempDir(), start)
	n, err := s.AppendDemandHistory(t.Context(), bert, []Point{
		{start.Add(-91 * 24 * time.Hour), 1}, {start.Add(-89 * 24 * time.Hour), 2}, {start, 3}, {start, 4},
	})
	if err != nil || n != 2 {
		t.Errorf("%d points, %v; want 2: one is too old, one a repeat", n, err)
	}
}

func TestTotalsTellWhatIsRecordedOfAllWorkloadsInEachStep(t *testing.T) {
	s := open(t, t.TempDir(), start)
	llama := Workload{Namespace: "default", Kind: "Deployment", Name: "llama"}
	hour := start.Truncate(time.Hour).Add(-3 * time.Hour)
	for minute, gpus := range map[int]float64{0: 9, 1: 1, 60: 2, 61: 4, 180: 8} {
		if err := s.AppendDemand(t.Context(), bert, hour.Add(time.Duration(minute)*time.Minute), gpus, 3); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.AppendDemand(t.Context(), llama, hour.Add(time.Minute), 0.5, 2); err != nil {
		t.Fatal(err)
	}
	got, err := s.DemandTotals(t.Context(), hour, hour.Add(3*time.Hour), time.Hour)
	if want := []Total{{3, 3.5}, {1, 4}, {1, 8}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("demand: %v, %v; want %v", got, err, want)
	}
	got, err = s.PodsTotals(t.Context(), hour, hour.Add(3*time.Hour), time.Hour)
	if want := []Total{{3, 8}, {1, 3}, {1, 3}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("pods: %v, %v; want %v", got, err, want)
	}
}
