package forecastbench

import (
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// data writes a data set of one series of six-hour steps; NaN is left out.
func data(t *testing.T, values ...float64) string {
	t.Helper()
	var rows strings.Builder
	rows.WriteString("series,timestamp_unix,value\n")
	for i, v := range values {
		if v == v {
			fmt.Fprintf(&rows, "s,%d,%v\n", 1e9+21600*i, v)
		}
	}
	directory := t.TempDir()
	if err := os.Mkdir(filepath.Join(directory, "set"), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(directory, "set", "series.csv.gz"))
	if err != nil {
		t.Fatal(err)
	}
	w := gzip.NewWriter(f)
	if _, err := w.Write([]byte(rows.String())); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return directory
}

func ramp(n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = float64(i)
	}
	return out
}

func TestTasksAreSpreadOverTheSeries(t *testing.T) {
	cases, err := Tasks(data(t, ramp(200)...))
	if err != nil {
		t.Fatal(err)
	}
	var origins, lengths []int
	for i, c := range cases {
		origins = append(origins, int(c.Origin-1e9)/21600)
		lengths = append(lengths, len(c.History))
		o := float64(origins[i])
		if d := cmp.Diff(Values{o, o + 1, o + 2, o + 3}, c.Actual); d != "" || c.History[len(c.History)-1] != o-1 || c.History[0] != float64(c.Start-1e9)/21600 {
			t.Errorf("%s: actual %s, history from %v to %v", c.ID, d, c.History[0], c.History[len(c.History)-1])
		}
		if c.ID != fmt.Sprintf("set/s#%d", i) || c.Source() != "set" || c.Horizon != 4 || c.StepSeconds != 21600 || c.Scale != 4 {
			t.Errorf("task %d: %q of %q, horizon %d, step %d, scale %v", i, c.ID, c.Source(), c.Horizon, c.StepSeconds, c.Scale)
		}
	}
	if d := cmp.Diff([]int{28, 52, 76, 100, 124, 148, 172, 196}, origins); d != "" {
		t.Errorf("origins (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]int{28, 52, 76, 100, 112, 112, 112, 112}, lengths); d != "" {
		t.Errorf("lengths of histories (-want +got):\n%s", d)
	}
}

func TestSeriesTooShortOrTooHollowMakeNoTasks(t *testing.T) {
	for name, values := range map[string][]float64{
		"short":            ramp(31),
		"hollow history":   append([]float64{1, nan, nan, nan, nan, nan, nan}, ramp(25)...),
		"hollow afterward": append(ramp(28), nan, nan, nan, 1),
	} {
		if cases, err := Tasks(data(t, values...)); err != nil || len(cases) > 0 {
			t.Errorf("%s: %d tasks, %v", name, len(cases), err)
		}
	}
}

func TestFolderWithoutDataIsNamed(t *testing.T) {
	directory := t.TempDir()
	if _, err := Tasks(directory); err == nil || !strings.Contains(err.Error(), directory+" has no <dataset>/series.csv.gz") {
		t.Errorf("error is %v", err)
	}
	if err := os.Mkdir(filepath.Join(directory, "set"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(directory, "set", "series.csv.gz"), []byte("series"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Tasks(directory); err == nil || !strings.Contains(err.Error(), "set/series.csv.gz: decompress") {
		t.Errorf("error is %v", err)
	}
}

func TestGapsAreFilledFromTheDayBeforeThenInALine(t *testing.T) {
	for name, c := range map[string]struct{ in, want []float64 }{
		"day before":       {[]float64{1, 2, 3, nan}, []float64{1, 2, 3, 2}},
		"filled before":    {[]float64{1, 2, nan, 4, nan, 6}, []float64{1, 2, 1, 4, 1, 6}},
		"line":             {[]float64{1, nan, 3, 4}, []float64{1, 2, 3, 4}},
		"beginning":        {[]float64{nan, nan, 3, 4}, []float64{3, 3, 3, 4}},
		"end of first day": {[]float64{7, nan}, []float64{7, 7}},
		"nothing":          {[]float64{nan, nan}, []float64{nan, nan}},
	} {
		if d := cmp.Diff(c.want, filled(c.in, 2), cmpopts.EquateNaNs()); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func TestScaleIsOfTheDayBeforeOrOfWhatThereIs(t *testing.T) {
	for name, c := range map[string]struct {
		in   []float64
		want float64
	}{
		"day before":     {[]float64{1, 2, 4, nan}, 3},
		"days are equal": {[]float64{1, 2, 1, 2}, 1},
		"constant":       {[]float64{5, 5, nan, 5}, 0.05},
		"zero":           {[]float64{0, 0, 0}, 1e-9},
	} {
		if got := scale(c.in, 2); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
