package app

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/foretide/foretide/pkg/trace"
)

// hourly is a trace of days of hours, each day the same, without the hours that are to be missing.
func hourly(t *testing.T, days int, missing ...int) string {
	t.Helper()
	var all []trace.Point
	lost := map[int]bool{}
	for _, i := range missing {
		lost[i] = true
	}
	at := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	for i := range 24 * days {
		if !lost[i] {
			all = append(all, trace.Point{Time: at.Add(time.Duration(i) * time.Hour), Value: 10 + 5*math.Sin(2*math.Pi*float64(i)/24)})
		}
	}
	return writeFile(t, "trace.csv", csv("web", all))
}

func TestBacktestSaysHowRightForecastsOfTheLastWeekWere(t *testing.T) {
	chart := filepath.Join(t.TempDir(), "page.html")
	var out, log bytes.Buffer
	if err := Backtest(t.Context(), []string{"--series=" + hourly(t, 14, 300), "--chart=" + chart}, &out, &log); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"web: 336 steps of 1h0m0s from 2026-03-02T00:00:00Z to 2026-03-16T00:00:00Z, 1 of them missing\n",
		"49 forecasts of 24h0m0s, one every 3h0m0s, each from what came before it alone\n",
		"yesterday's", "below p95", "first hour", "first 6 hours", "24 hours", "chart: " + chart,
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
	if !strings.Contains(log.String(), "40 of 49 forecasts\n") {
		t.Errorf("progress: %q", log.String())
	}
	page, err := os.ReadFile(chart)
	if err != nil {
		t.Fatal(err)
	}
	svg := page[bytes.Index(page, []byte("<svg")) : bytes.Index(page, []byte("</svg>"))+6]
	if got := classes(t, svg); got["actual"] != 1 || got["median"] != 7 || got["band"] != 7 || got["x"] != 7 || got["y"] != 4 {
		t.Errorf("the chart has %v; want what happened, seven forecasts with their bands, days and levels", got)
	}
	for _, never := range []string{"NaN", "<script", "src=", "href="} {
		if bytes.Contains(page, []byte(never)) {
			t.Errorf("the page has %s", never)
		}
	}
}

// classes counts the elements of each class, and fails where the picture is no XML.
func classes(t *testing.T, svg []byte) map[string]int {
	t.Helper()
	got := map[string]int{}
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return got
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok {
			for _, a := range e.Attr {
				if a.Name.Local == "class" {
					got[a.Value]++
				}
			}
		}
	}
}

func TestAccuracyIsOfWhatWasForecast(t *testing.T) {
	nan := math.NaN()
	b := backtest{step: 12 * time.Hour, values: []float64{10, 30, 20, nan, 10, 30}, made: []past{
		{2, [][]float64{{5, 5}, {16, 16}, {18, 18}, {20, 20}}},
		{4, [][]float64{{10, 10}, {10, 20}, {20, 20}, {20, 40}}},
	}}
	got := b.within(2)
	want := accuracy{Error: (4 + 0 + 10.0) / 60, Yesterday: (10 + 10.0) / 30, Below: []float64{1.0 / 3, 1.0 / 3, 1.0 / 3, 1}, Short: (2 + 10.0) / 60, Idle: 10.0 / 60}
	if d := cmp.Diff(want, got, cmpopts.EquateApprox(0, 1e-9)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	b = backtest{step: 12 * time.Hour, values: []float64{0, 0, 0, 0}, made: []past{{2, [][]float64{{0, 0}, {0, 0}, {0, 0}, {0, 0}}}}}
	if got := b.within(1).cells(); got[1] != "-" || got[3] != "100.0 %" {
		t.Errorf("without demand an error relative to it is not known: %q", got)
	}
}

func TestWhatCannotBeForecastIsCounted(t *testing.T) {
	var out bytes.Buffer
	missing := make([]int, 0, 100)
	for i := 24; i < 124; i++ { // four days: longer than a forecast bridges
		missing = append(missing, i)
	}
	if err := Backtest(t.Context(), []string{"--series=" + hourly(t, 8, missing...), "--chart="}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "more could not be made: history is too old") || strings.Contains(out.String(), "chart:") {
		t.Errorf("got\n%s", out.String())
	}
}

func TestBacktestByTheClockIsMoreRightAfterItChanged(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	var all []trace.Point // of office hours, until three days after clocks went forward
	for at := time.Date(2026, 3, 15, 0, 0, 0, 0, time.UTC); at.Before(time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)); at = at.Add(time.Hour) {
		value := 1.0
		if h := at.In(berlin).Hour(); h >= 9 && h < 18 {
			value = 10
		}
		all = append(all, trace.Point{Time: at, Value: value})
	}
	file := writeFile(t, "office.csv", csv("office", all))
	missed := func(args ...string) string { // of 24 hours
		var out bytes.Buffer
		if err := Backtest(t.Context(), append(args, "--series="+file, "--chart="), &out, io.Discard); err != nil {
			t.Fatal(err)
		}
		_, row, _ := strings.Cut(out.String(), "24 hours")
		return strings.Fields(row)[0]
	}
	if with, without := missed("--time-zone=Europe/Berlin"), missed(); with != "0.0" || without == "0.0" {
		t.Errorf("%s %% are missed by the clock, %s %% without it", with, without)
	}
}

func TestBacktestSaysWhatIsWrong(t *testing.T) {
	const head = "series,timestamp_unix,value\n"
	two := writeFile(t, "two.csv", head+"a,60,1\nb,60,1\n")
	odd := writeFile(t, "odd.csv", head+"a,0,1\na,7,1\na,14,1\n")
	for want, args := range map[string][]string{
		`--series is "": it must be a CSV file`:                                   {},
		`--series: open none.csv: no such file or directory`:                      {"--series=none.csv"},
		`--name is "": --series has a, b`:                                         {"--series=" + two},
		`the usual step of "a" is 0s; it must divide 24 h`:                        {"--series=" + two, "--name=a"},
		`the usual step of "a" is 7s; it must divide 24 h`:                        {"--series=" + odd},
		`"web" is 24h0m0s long; two days are needed`:                              {"--series=" + hourly(t, 1)},
		`--chart: open /none/page.html: no such file or directory`:                {"--series=" + hourly(t, 3), "--chart=/none/page.html"},
		`--time-zone is "Mars"; it must be the IANA name of a time zone`:          {"--series=" + hourly(t, 3), "--time-zone=Mars"},
		`trace.csv.gz": gzip: invalid header`:                                     {"--series=" + writeFile(t, "trace.csv.gz", head+"a,60,1\n")},
		`flag provided but not defined: -trace (aggregator backtest --help lists`: {"--trace=x"},
	} {
		if err := Backtest(t.Context(), args, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error is %v, want %s", args, err, want)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := Backtest(ctx, []string{"--series=" + hourly(t, 3)}, io.Discard, io.Discard); err == nil || err.Error() != "stopped after 0 forecasts" {
		t.Errorf("stopped: error is %v", err)
	}
	if err := Backtest(ctx, []string{"--series=" + hourly(t, 3), "--chart=/none/page.html"}, io.Discard, io.Discard); err == nil || !strings.HasPrefix(err.Error(), "--chart: ") {
		t.Errorf("a page that cannot be written is told after the forecasts: error is %v", err)
	}
}
