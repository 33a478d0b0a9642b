package storage

import (
	"context"
	"testing"
	"time"
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

func TestInspectOfNoStoreSaysWhere(t *testing.T) {
	if _, err := Inspect(context.Background(), t.TempDir(), ""); err == nil {
		t.Error("no error for a directory without a store")
	}
}
