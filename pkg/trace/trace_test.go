package trace

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestReadKeepsTheOrderOfSeriesAndSortsTheirPoints(t *testing.T) {
	got, err := Read(strings.NewReader("\ufeffseries,timestamp_unix,value\nb,120,2\na,60,0.5\nb,60,1\n"))
	if err != nil {
		t.Fatal(err)
	}
	at := func(s int64) time.Time { return time.Unix(s, 0).UTC() }
	want := []Series{
		{Name: "b", Points: []Point{{at(60), 1}, {at(120), 2}}},
		{Name: "a", Points: []Point{{at(60), 0.5}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("series differ (-want +got):\n%s", diff)
	}
}

func TestReadNamesLineFieldAndValueOfWhatIsWrong(t *testing.T) {
	const head = "series,timestamp_unix,value\n"
	for name, c := range map[string]struct{ in, want string }{
		"empty":          {"", "trace is empty; the first line must be series,timestamp_unix,value"},
		"header":         {"name,time,value\n", `line 1: header is "name,time,value"`},
		"no points":      {head, "a header and no points"},
		"fields":         {head + "a,1\n", "line 2: row has 2 fields"},
		"series":         {head + ",1,2\n", `line 2: series is ""`},
		"time":           {head + "a,1,2\na,2025-01-01,2\n", `line 3: timestamp_unix is "2025-01-01"`},
		"negative time":  {head + "a,-1,2\n", `timestamp_unix is "-1"`},
		"late time":      {head + "a,9999999999999,2\n", `timestamp_unix is "9999999999999"`},
		"value":          {head + "a,1,x\n", `line 2: value is "x"`},
		"empty value":    {head + "a,1,\n", `line 2: value is ""`},
		"NaN":            {head + "a,1,NaN\n", `value is "NaN"`},
		"infinite":       {head + "a,1,1e999\n", `value is "1e999"`},
		"negative value": {head + "a,1,-0.1\n", `value is "-0.1"`},
		"duplicate":      {head + "a,5,1\nb,5,1\na,5,2\n", `line 4: timestamp_unix is 5, which series "a" already has in line 2`},
		"quote":          {head + "a\"b,1,2\n", "line 2"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Read(strings.NewReader(c.in))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestReadRecordedTrace(t *testing.T) {
	f, err := os.Open("../../test/replay/servegen_small.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := Read(f)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Name != "total" || got[1].Name != "c5" {
		t.Fatalf("got %d series", len(got))
	}
	for _, s := range got {
		if len(s.Points) != 1979 {
			t.Errorf("%s has %d points, want 1979", s.Name, len(s.Points))
		}
		if first := s.Points[0].Time; !first.Equal(time.Date(2025, 1, 7, 0, 0, 0, 0, time.UTC)) {
			t.Errorf("%s begins at %s", s.Name, first)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add("series,timestamp_unix,value\na,1,2\n")
	f.Add("series,timestamp_unix,value\n\"a\nb\",1,2\na,1,0x1p-2\n")
	f.Fuzz(func(t *testing.T, in string) {
		all, err := Read(strings.NewReader(in))
		if err != nil {
			return
		}
		for _, s := range all {
			for i, p := range s.Points {
				if p.Value < 0 || i > 0 && !s.Points[i-1].Time.Before(p.Time) {
					t.Errorf("series %q is not valid at %d", s.Name, i)
				}
			}
		}
	})
}
