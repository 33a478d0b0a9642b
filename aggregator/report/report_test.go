package report

import (
	"encoding/json"
	"flag"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	nan    = math.NaN()
	now    = time.Date(2026, 3, 9, 12, 0, 0, 0, time.UTC)
	berlin = func() *time.Location {
		l, err := time.LoadLocation("Europe/Berlin")
		if err != nil {
			panic(err)
		}
		return l
	}()
)

// week is what is known of a policy on pods of one GPU with a target of 50 %: its demand and pods are those of the minute, each decision
// and each forecast is right.
func week(demand, pods, desired func(minute int) float64) Input {
	n := int(Span / time.Minute)
	in := Input{
		Namespace: "default", Name: "fib-gpu", Strategy: "observer", Target: "Deployment bert", Reason: "Steady", Message: "2 replicas",
		Metrics:     []Metric{{"gpu", "50 %", "47 %"}},
		TargetRatio: 0.5, GPUsPerPod: 1, Quantile: 0.95, Lead: 3 * time.Minute, Now: now, Location: berlin,
		Bounds: func(time.Time) (int32, int32) { return 1, 20 },
		Past:   Past{Start: now.Add(-Span), Lead: "15m", Reasons: make([]string, n)},
		Scores: []Score{{"15m", "1d", 0.1, 0.05, 0.95, 0.01}, {"15m", "7d", 0.1, 0.05, 0.94, 0.01}},
		Next:   Next{Start: now, Step: Step, Note: "seasonal from 168h of history"},
	}
	p := &in.Past
	for i := range n {
		p.Demand, p.Pods, p.Desired = append(p.Demand, demand(i)), append(p.Pods, pods(i)), append(p.Desired, desired(i))
		p.Proactive, p.Reactive = append(p.Proactive, desired(i)), append(p.Reactive, nan)
		p.Median, p.Upper = append(p.Median, demand(i)), append(p.Upper, demand(i))
		if !math.IsNaN(desired(i)) {
			p.Reasons[i] = "ForecastDemand"
		}
	}
	for i := range int(Ahead / Step) {
		v := demand(i * int(Step/time.Minute))
		in.Next.Median, in.Next.Upper = append(in.Next.Median, v), append(in.Next.Upper, 1.2*v)
	}
	return in
}

func always(v float64) func(int) float64 { return func(int) float64 { return v } }

// tide is low by night and high by day.
func tide(low, high float64) func(int) float64 {
	return func(minute int) float64 {
		return low + (high-low)*(1-math.Cos(2*math.Pi*float64(minute)/1440))/2
	}
}

// follow is what a right forecast asks for: as much as is needed within five minutes.
func follow(demand func(int) float64) func(int) float64 {
	return func(i int) float64 { return needed(max(demand(i), demand(i+5), demand(i+10)), 0.5) }
}

func TestUsagesAreTheOnesByHand(t *testing.T) {
	// By day 3 busy GPUs, by night 1: 6 pods of one GPU carry it at 50 %, or 2.
	demand := func(i int) float64 {
		if i%1440 < 720 {
			return 1
		}
		return 3
	}
	desired := func(i int) float64 { return 2 * demand(i+10) } // ten minutes ahead, down as well
	r := Build(week(demand, always(4), desired))
	hours := Span.Hours()
	want := []Usage{
		{ActualUsage, 4 * hours, 4, 0, 7 * 720},        // 4 pods at 3 GPUs: 75 % is over 55 %
		{PredictedUsage, 4 * hours, 4, 7 * 10, 7 * 10}, // 2 half the time, 6 the other
		{PeakFixedUsage, 6 * hours, 6, 0, 0},
	}
	for i, u := range r.Usages {
		if u.GPUHours = math.Round(u.GPUHours); u != want[i] {
			t.Errorf("%+v, want %+v", u, want[i])
		}
	}
	if r.Compared.Minutes != 7*1440 || r.Compared.MissingRatio != 0 {
		t.Errorf("compared %+v", r.Compared)
	}
}

func TestPodsThatAreDecidedServeALeadTimeLater(t *testing.T) {
	in := week(always(1), always(2), func(i int) float64 {
		if i < 5000 {
			return 1
		}
		return 2
	})
	in.Past.Demand = in.Past.Demand[:0]
	for i := range in.Past.Pods { // demand jumps in the minute in which more is decided
		v := 0.4
		if i >= 5000 {
			v = 1.5
		}
		in.Past.Demand = append(in.Past.Demand, v)
	}
	r := Build(in)
	if got := r.Usages[1].ShortMinutes; got != 3 {
		t.Errorf("short for %d minutes, want the 3 of the lead time", got)
	}
}

func TestSaturatedMinutesOfTheActualPodsAreShort(t *testing.T) {
	in := week(always(1.96), always(2), always(5))
	r := Build(in)
	if a, p := r.Usages[0], r.Usages[1]; a.ShortMinutes != 7*1440 || p.ShortMinutes != 0 {
		t.Errorf("actual %+v, predicted %+v", a, p)
	}
	if r.Advice.Verdict != Advisable || !strings.Contains(r.Advice.Text, "at a price: over 168 hours it would have taken 840 GPU-hours instead of 336 GPU-hours (+150 %)") {
		t.Errorf("%+v", r.Advice)
	}
}

func TestWhatWasNotDecidedIsWhatTheForecastAsksForWithinTheBounds(t *testing.T) {
	in := week(always(4.2), always(9), func(i int) float64 {
		if i < 1440 {
			return 7
		}
		return nan
	})
	in.Bounds = func(at time.Time) (int32, int32) {
		if at.Before(now.Add(-24 * time.Hour)) {
			return 1, 20
		}
		return 1, 8
	}
	r := Build(in)
	p := r.Pods.Predicted
	at := func(ago time.Duration) float64 { return p.Values[int(now.Add(-ago).Sub(p.Start)/Step)-1] }
	if a, b, c := at(6*24*time.Hour+time.Hour), at(3*24*time.Hour), at(time.Hour); a != 7 || b != 9 || c != 8 {
		t.Errorf("decided %v, forecast %v, bounded %v; want 7, 9 (4.2/0.5), 8", a, b, c)
	}
	if share := float64(r.Pods.DecidedShare); math.Abs(share-1445./10080) > 1e-9 {
		t.Errorf("%v was decided; want a day, and the five minutes that the last decision stands", share)
	}
	if v := last(p.Values); v != 8 {
		t.Errorf("tomorrow %v pods, want 8: the bound", v)
	}
}

func TestTheNextDayAsksForPodsALeadTimeBeforeDemand(t *testing.T) {
	in := week(always(1), always(2), always(2))
	in.Lead = 12 * time.Minute
	for i := range in.Next.Upper {
		in.Next.Upper[i] = 0.5
	}
	in.Next.Upper[100] = 3
	got := in.pending()
	for i, v := range got {
		want := 1.
		if i >= 97 && i <= 100 { // three steps of five minutes reach 12 minutes ahead
			want = 6
		}
		if v != want {
			t.Errorf("step %d: %v pods, want %v", i, v, want)
		}
	}
}

func TestGapsStayGaps(t *testing.T) {
	in := week(always(1), always(2), always(2))
	for i := 3000; i < 4000; i++ {
		in.Past.Demand[i], in.Past.Pods[i], in.Past.Desired[i], in.Past.Upper[i], in.Past.Median[i] = nan, nan, nan, nan, nan
	}
	r := Build(in)
	if r.Compared.Minutes != 9080 || math.Abs(float64(r.Compared.MissingRatio)-1000./10080) > 1e-9 {
		t.Errorf("compared %+v", r.Compared)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "null,null") {
		t.Error("a gap is not null in JSON")
	}
	var page strings.Builder
	if err := r.HTML(&page); err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []string{"NaN", "Inf", "ZgotmplZ", "%!"} {
		if strings.Contains(page.String(), wrong) {
			t.Errorf("%s is on the page", wrong)
		}
	}
	for _, class := range []string{"actual", "predicted"} {
		if path := pathOf(t, page.String(), class); strings.Count(path, "M") != 2 {
			t.Errorf("%s begins %d times, want 2: %.200s", class, strings.Count(path, "M"), path)
		}
	}
}

// pathOf is the first path of a class.
func pathOf(t *testing.T, page, class string) string {
	t.Helper()
	_, rest, ok := strings.Cut(page, `<path class="`+class+`" d="`)
	path, _, _ := strings.Cut(rest, `"`)
	if !ok {
		t.Fatalf("no path %q", class)
	}
	return path
}

// update rewrites the golden page: go test ./aggregator/report -update
var update = flag.Bool("update", false, "write testdata/observer.html anew")

func TestThePageIsTheGoldenOne(t *testing.T) {
	in := week(always(1.5), always(4), func(i int) float64 {
		switch {
		case i < 5000:
			return nan
		case i < 8000:
			return 3
		}
		return 5
	})
	for i := 2000; i < 2500; i++ {
		in.Past.Demand[i], in.Past.Pods[i] = nan, nan
	}
	in.Past.Reasons[9000] = "NoTelemetry"
	var page strings.Builder
	if err := Build(in).HTML(&page); err != nil {
		t.Fatal(err)
	}
	const file = "testdata/observer.html"
	if *update {
		if err := os.WriteFile(file, []byte(page.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), page.String()); d != "" {
		t.Errorf("-want +got; run with -update if this is meant, and look at it in a browser\n%s", d)
	}
}

func TestNothingKnownIsAPageThatSaysSo(t *testing.T) {
	in := week(always(nan), always(nan), always(nan))
	in.Next, in.Scores, in.GPUsPerPod = Next{Note: "10 known points are needed"}, nil, 0
	r := Build(in)
	if r.Advice.Verdict != NotYet || r.Usages != nil || r.Decisions != nil {
		t.Errorf("%+v", r)
	}
	var page strings.Builder
	if err := r.HTML(&page); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"It is too early", "Nothing can be compared yet", "None is known of the last 7 days", "what the policy decided; nothing is known of that", "10 known points"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("%q is not on the page", want)
		}
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
}

func TestThePageSaysThatForecastPodsAreOfBusyGPUsAlone(t *testing.T) {
	const want = "counted in busy GPUs alone, at 50\u00a0% of what"
	in := week(always(1), always(2), always(2))
	for _, c := range []struct {
		metrics []Metric
		said    bool
	}{
		{[]Metric{{"gpu", "50%", "47%"}}, false},
		{[]Metric{{"gpu", "50%", "47%"}, {"queue", "5 by pod", "2 by pod"}}, true},
		{[]Metric{{"queue", "5 by pod", "2 by pod"}}, true},
	} {
		in.Metrics = c.metrics
		var page strings.Builder
		if err := Build(in).HTML(&page); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(page.String(), want) != c.said {
			t.Errorf("%v: said is %v", c.metrics, !c.said)
		}
	}
}

func TestWhatUsersWriteIsNoMarkup(t *testing.T) {
	in := week(always(1), always(2), always(2))
	in.Message = `<script>alert("x")</script>`
	var page strings.Builder
	if err := Build(in).HTML(&page); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(page.String(), "<script") {
		t.Error("there is a script on the page")
	}
}

func TestTimesAreThoseOfThePolicysZone(t *testing.T) {
	in := week(always(1), always(2), func(i int) float64 {
		if i < 5*1440 {
			return 2
		}
		return 3
	})
	r := Build(in)
	if got := clock(r.Decisions[0].At); got != "Sat 7 Mar 13:01" {
		t.Errorf("decided at %s, want the time in Berlin", got)
	}
	p := picture{actual: r.Pods.Actual, now: now, location: berlin}.plots()[0]
	if len(p.Days) != 8 {
		t.Errorf("%d midnights in 8 days", len(p.Days))
	}
	// 11 of the 24 hours up to the first midnight in Berlin lie behind noon in UTC.
	if got, want := p.Days[0].Line, math.Round(p.Left+(p.Width-p.Left)*11/(8*24)); got != want {
		t.Errorf("the first midnight is at %v, want %v", got, want)
	}
}
