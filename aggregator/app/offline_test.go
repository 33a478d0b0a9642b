package app

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/foretide/foretide/aggregator/storage"
	"github.com/foretide/foretide/pkg/trace"
)

// noon is a full minute two days ago: within every retention, whenever the test runs.
func noon() time.Time { return time.Now().Add(-48 * time.Hour).Truncate(time.Minute).UTC() }

// points are values at offsets from noon.
func points(at time.Time, pairs ...float64) []trace.Point {
	var out []trace.Point
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, trace.Point{Time: at.Add(time.Duration(pairs[i]) * time.Second), Value: pairs[i+1]})
	}
	return out
}

func TestShiftMovesTheTraceSoThatUntilFallsOnEnd(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	now := at.Add(1000 * time.Hour)
	in := points(at, 0, 1, 60, 2, 120, 3)
	cases := []struct {
		name, until, end string
		by               time.Duration
		kept             int
	}{
		{"the last point is now", "", "", now.Sub(in[2].Time), 3},
		{"until is now, what comes later is left out", "2026-03-01T12:01:00Z", "", now.Sub(in[1].Time), 2},
		{"until may lie between points", "2026-03-01T12:01:30Z", "", now.Sub(at.Add(90 * time.Second)), 2},
		{"until may lie behind the trace", "2026-03-01T13:00:00Z", "", now.Sub(at.Add(time.Hour)), 3},
		{"the last point is at a given time", "", "2026-03-02T12:02:00Z", 24 * time.Hour, 3},
		{"until is at a given time", "2026-03-01T12:01:00Z", "2026-03-02T12:01:00+00:00", 24 * time.Hour, 2},
		{"the trace's own times", "", "same", 0, 3},
		{"the trace's own times up to until", "2026-03-01T12:01:00Z", "same", 0, 2},
	}
	for _, c := range cases {
		got, err := shift(in, c.until, c.end, now)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var want []trace.Point
		for _, p := range in[:c.kept] {
			want = append(want, trace.Point{Time: p.Time.Add(c.by), Value: p.Value})
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, d)
		}
	}
}

func TestMinutesAreInterpolatedAndGapsStayAbsent(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	cases := []struct {
		name string
		in   []trace.Point
		want []trace.Point
	}{
		{"on the grid", points(at, 0, 1, 60, 2, 120, 4), points(at, 60, 2, 120, 4)},
		{"between the grid", points(at, 30, 0, 90, 6, 150, 0), points(at, 60, 3, 120, 3)},
		{"five minutes apart", points(at, 0, 0, 300, 5), points(at, 60, 1, 120, 2, 180, 3, 240, 4, 300, 5)},
		{"finer than a minute", points(at, 0, 0, 40, 4, 80, 8, 120, 12), points(at, 60, 6, 120, 12)},
		{"a missing point is bridged", points(at, 0, 1, 60, 2, 180, 4, 240, 5), points(at, 60, 2, 120, 3, 180, 4, 240, 5)},
		{"a gap is not", points(at, 0, 1, 60, 2, 240, 4, 300, 5), points(at, 60, 2, 300, 5)},
		{"one odd point makes no gaps", points(at, 0, 1, 60, 2, 61, 2, 120, 4, 180, 8), points(at, 60, 2, 120, 4, 180, 8)},
		{"within one minute", points(at, 10, 1, 20, 2), nil},
	}
	for _, c := range cases {
		var want []storage.Point
		for _, p := range c.want {
			want = append(want, storage.Point{Time: p.Time, Value: 2 * p.Value})
		}
		if d := cmp.Diff(want, perMinute(c.in, 2), cmpopts.EquateApprox(0, 1e-9)); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, d)
		}
	}
}

func TestImportedDemandIsInTheHistoryAndGapsAreNot(t *testing.T) {
	dir, at := t.TempDir(), noon()
	file := writeFile(t, "trace.csv", csv("prod", points(at, 0, 10, 60, 20, 120, 30, 600, 40, 660, 50))+
		strings.TrimPrefix(csv("test", points(at, 0, 1, 60, 1)), "series,timestamp_unix,value\n"))
	args := []string{"--storage.path=" + dir, "--trace=" + file, "--series=prod", "--workload=default/Deployment/web", "--scale=0.1", "--end=same"}
	var out bytes.Buffer
	if err := Import(t.Context(), args, &out); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("imported 3 minutes of demand for default/Deployment/web, %s to %s\n",
		at.Add(time.Minute).Format(time.RFC3339), at.Add(11*time.Minute).Format(time.RFC3339))
	if out.String() != want {
		t.Errorf("got  %swant %s", out.String(), want)
	}
	store, err := storage.Open(storage.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	web := storage.Workload{Namespace: "default", Kind: "Deployment", Name: "web"}
	got, err := store.Demand(t.Context(), web, at, at.Add(11*time.Minute), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	nan := math.NaN()
	if d := cmp.Diff([]float64{2, 3, nan, nan, nan, nan, nan, nan, nan, nan, 5}, got, cmpopts.EquateNaNs(), cmpopts.EquateApprox(0, 1e-9)); d != "" {
		t.Errorf("demand (-want +got):\n%s", d)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if err := Import(t.Context(), args, &out); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out.String(), "imported 0 minutes") || !strings.Contains(out.String(), "left out 3 minutes that are in the history already") {
		t.Errorf("a second time: %s", out.String())
	}
}

func TestOldDemandIsImportedWhereTheRetentionKeepsIt(t *testing.T) {
	file := writeFile(t, "old.csv", csv("a", points(noon().Add(-300*24*time.Hour), 0, 1, 60, 1, 120, 1)))
	args := []string{"--storage.path=" + t.TempDir(), "--trace=" + file, "--workload=default/Deployment/web", "--end=same"}
	var out bytes.Buffer
	if err := Import(t.Context(), args, &out); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out.String(), "imported 0 minutes") || !strings.Contains(out.String(), "older than --storage.workload-retention=2160h0m0s") {
		t.Errorf("90 days: %s", out.String())
	}
	out.Reset()
	if err := Import(t.Context(), append(args, "--storage.workload-retention=8760h"), &out); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out.String(), "imported 2 minutes") || strings.Contains(out.String(), "left out") {
		t.Errorf("a year: %s", out.String())
	}
}

func TestImportSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	good := writeFile(t, "good.csv", csv("a", points(noon(), 0, 1, 60, 1, 120, 1)))
	two := writeFile(t, "two.csv", csv("a", points(noon(), 0, 1))+"b,60,1\n")
	short := writeFile(t, "short.csv", csv("a", points(noon(), 10, 1, 20, 1)))
	broken := writeFile(t, "broken.csv", "series,timestamp_unix,value\na,60,-1\n")
	const web = "--workload=default/Deployment/web"
	for want, args := range map[string][]string{
		`--workload is "": it must be namespace/Kind/name`:                             {"--trace=" + good},
		`--workload is "default/web": it must be namespace/Kind/name`:                  {"--trace=" + good, "--workload=default/web"},
		`--workload is "a//b": it must be namespace/Kind/name`:                         {"--trace=" + good, "--workload=a//b"},
		`--scale is 0: it must be a number above 0`:                                    {"--trace=" + good, web, "--scale=0"},
		`--scale is +Inf: it must be a number above 0`:                                 {"--trace=" + good, web, "--scale=Inf"},
		`--scale is NaN: it must be a number above 0`:                                  {"--trace=" + good, web, "--scale=NaN"},
		`--trace is "": it must be a CSV file`:                                         {web},
		`--trace: open none.csv: no such file or directory`:                            {"--trace=none.csv", web},
		`broken.csv": line 2: value is "-1"; it must be a finite number of at least 0`: {"--trace=" + broken, web},
		`--series is "": --trace has a, b`:                                             {"--trace=" + two, web},
		`--series is "c": --trace has a, b`:                                            {"--trace=" + two, web, "--series=c"},
		`--until is "": the trace has 1 points up to then, at least 2 are needed`:      {"--trace=" + two, web, "--series=a"},
		`--until is "noon": it must be a time such as 2026-01-31T18:00:00Z`:            {"--trace=" + good, web, "--until=noon"},
		`--until is "2001-01-01T00:00:00Z": the trace has 0 points up to then`:         {"--trace=" + good, web, "--until=2001-01-01T00:00:00Z"},
		`--end is "later": it must be a time such as 2026-01-31T18:00:00Z, or same`:    {"--trace=" + good, web, "--end=later"},
		`short.csv": its 2 points lie within one minute`:                               {"--trace=" + short, web, "--end=same"},
		`--storage.path: raw retention is 1h0m0s: it must be at least 24h0m0s`:         {"--trace=" + good, web, "--storage.raw-retention=1h"},
		`points[0].time`: {"--trace=" + good, web, "--end=2100-01-01T00:00:00Z"},
		`argument "good.csv": there are only flags (aggregator import --help lists the `: {"good.csv"},
	} {
		var out bytes.Buffer
		err := Import(t.Context(), append([]string{"--storage.path=" + dir}, args...), &out)
		if err == nil || !strings.Contains(err.Error(), want) || out.Len() > 0 {
			t.Errorf("%q: error %v, output %q; want %s", args, err, out.String(), want)
		}
	}
}

func TestImportIsRefusedWhileTheHistoryIsInUse(t *testing.T) {
	dir := t.TempDir()
	store, err := storage.Open(storage.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	file := writeFile(t, "trace.csv", csv("a", points(noon(), 0, 1, 60, 1)))
	err = Import(t.Context(), []string{"--storage.path=" + dir, "--trace=" + file, "--workload=default/Deployment/web"}, &bytes.Buffer{})
	if err == nil || !strings.Contains(err.Error(), "another process holds") {
		t.Errorf("error = %v", err)
	}
}

func TestInspectSaysWhatEachTierHolds(t *testing.T) {
	dir, at := t.TempDir(), noon()
	store, err := storage.Open(storage.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"web", "web", "api"} {
		w := storage.Workload{Namespace: "default", Kind: "Deployment", Name: name}
		if err := store.AppendDemand(t.Context(), w, at.Add(time.Duration(i)*time.Minute), 1, 2); err != nil {
			t.Fatal(err)
		}
	}
	from, to := at.Format(time.RFC3339), at.Add(2*time.Minute).Format(time.RFC3339)
	open := inspect(t, dir, "foretide_workload_pods")
	want := "workload: 2 series, 3 samples, " + from + " to " + to + "\nfewest samples in a series: 1\nmost samples in a series: 2\nraw: empty\n"
	if open != want {
		t.Errorf("while open:\n%swant\n%s", open, want)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if got := inspect(t, dir, ""); !strings.HasPrefix(got, "workload: 4 series, 6 samples, "+from) {
		t.Errorf("all series:\n%s", got)
	}
}

func TestInspectNamesADirectoryWithoutHistory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none")
	err := Inspect(t.Context(), []string{"--storage.path=" + path}, &bytes.Buffer{})
	if err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error = %v", err)
	}
}

// inspect is aggregator inspect for one series; "" means all.
func inspect(t *testing.T, dir, series string) string {
	t.Helper()
	var out bytes.Buffer
	if err := Inspect(context.Background(), []string{"--storage.path=" + dir, "--series=" + series}, &out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// csv is a trace of one series.
func csv(series string, points []trace.Point) string {
	var out strings.Builder
	out.WriteString("series,timestamp_unix,value\n")
	for _, p := range points {
		fmt.Fprintf(&out, "%s,%d,%v\n", series, p.Time.Unix(), p.Value)
	}
	return out.String()
}

func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
