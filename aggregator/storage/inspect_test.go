package storage

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestInspectCountsWhatAnOpenStoreHolds(t *testing.T) {
	now := time.Now().Truncate(time.Minute)
	dir := t.TempDir()
	s, err := Open(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	long, short := Workload{"default", "Deployment", "long"}, Workload{"default", "Deployment", "short"}
	for i := range 5 {
		if err := s.AppendDemand(context.Background(), long, now.Add(time.Duration(i-5)*time.Minute), 1, 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.AppendDemand(context.Background(), short, now.Add(-time.Minute), 1, 1); err != nil {
		t.Fatal(err)
	}
	got, err := Inspect(context.Background(), dir, demandSeries)
	if err != nil {
		t.Fatal(err)
	}
	want := Contents{Tier: "workload", Series: 2, Samples: 6, Fewest: 1, Most: 5, First: now.Add(-5 * time.Minute).UTC(), Last: now.Add(-time.Minute).UTC()}
	if len(got) != 2 || got[0] != want {
		t.Errorf("contents are %+v\nwant first %+v", got, want)
	}
	if got[1].Series != 0 || !got[1].First.IsZero() {
		t.Errorf("empty raw tier is %+v", got[1])
	}
}

func TestWhatIsRecordedIsReadWhileTheStoreIsOpen(t *testing.T) {
	now, dir := time.Now().Truncate(time.Minute).UTC(), t.TempDir()
	s, err := Open(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	web, api := Workload{"default", "Deployment", "web"}, Workload{"default", "Deployment", "api"}
	var want []Point
	for i := range 5 {
		want = append(want, Point{now.Add(time.Duration(i-5) * time.Minute), float64(i)})
		for _, w := range []Workload{web, api} {
			if err := s.AppendDemand(t.Context(), w, want[i].Time, want[i].Value, 7); err != nil {
				t.Fatal(err)
			}
		}
	}
	points, known, err := Recorded(t.Context(), dir, web)
	if d := cmp.Diff(want, points); err != nil || d != "" {
		t.Errorf("%v; (-want +got):\n%s", err, d)
	}
	if d := cmp.Diff([]Workload{api, web}, known); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if points, _, err := Recorded(t.Context(), dir, Workload{"default", "StatefulSet", "web"}); err != nil || len(points) != 0 {
		t.Errorf("another kind: %v, %v", points, err)
	}
	if _, _, err := Recorded(t.Context(), t.TempDir(), web); err == nil {
		t.Error("no error for a directory without a store")
	}
}

func TestInspectOfNoStoreSaysWhere(t *testing.T) {
	if _, err := Inspect(context.Background(), t.TempDir(), ""); err == nil {
		t.Error("no error for a directory without a store")
	}
}
