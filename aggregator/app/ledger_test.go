package app

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"

	rating "github.com/foretide/foretide/aggregator/accuracy"
	"github.com/foretide/foretide/aggregator/controller"
	"github.com/foretide/foretide/aggregator/exporter"
	"github.com/foretide/foretide/aggregator/forecast"
	"github.com/foretide/foretide/aggregator/query"
	"github.com/foretide/foretide/aggregator/storage"
)

// books are a ledger over a history, and a clock that the test walks.
type books struct {
	*ledger
	t   testing.TB
	now time.Time
	log safeBuffer
	dir string
}

func openBooks(t testing.TB, dir string, now time.Time) *books {
	t.Helper()
	b := &books{t: t, now: now, dir: dir}
	store, err := storage.Open(storage.Options{Dir: dir, Now: func() time.Time { return b.now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	b.ledger = newLedger(store, slog.New(slog.NewTextHandler(&b.log, nil)))
	return b
}

var web = controller.Workload{Namespace: "default", Kind: "Deployment", Name: "web"}

// flat is a forecast of a day that says the same of each minute.
func flat(made time.Time, median, upper float64) controller.Evaluation {
	path := func(v float64) []float64 {
		out := make([]float64, 1440)
		for i := range out {
			out[i] = v
		}
		return out
	}
	return forecastOf(&forecast.Forecast{
		Start: made, Step: time.Minute, Levels: []float64{0.5, 0.8, 0.95}, Method: forecast.MethodSeasonal, History: 36 * time.Hour,
		Mean: path(median), Quantiles: [][]float64{path(median), path((median + upper) / 2), path(upper)},
	})
}

func forecastOf(f *forecast.Forecast) controller.Evaluation {
	return controller.Evaluation{Namespace: "default", Name: "web", Workload: web, Quantile: 0.95, Forecast: controller.Prediction{Forecast: f}}
}

// demand is that of the minute that ends now, as the recorder tells it.
func (b *books) demand(gpus float64) {
	b.t.Helper()
	if err := b.store.AppendDemand(b.t.Context(), storage.Workload(web), b.now, gpus, 1); err != nil {
		b.t.Fatal(err)
	}
	b.came(web, b.now, gpus)
}

func (b *books) scores() map[string]exporter.Score {
	out := map[string]exporter.Score{}
	for _, f := range b.forecasts(b.now) {
		for _, s := range f.Scores {
			out[s.Lead+" over "+s.Over] = s
		}
	}
	return out
}

func TestEachForecastIsWrittenWithWhenItWasMade(t *testing.T) {
	begin := noon()
	b := openBooks(t, t.TempDir(), begin)
	rising := make([]float64, 1440) // the value of a minute is which one it is
	for i := range rising {
		rising[i] = float64(i + 1)
	}
	for range 3 {
		b.observe(forecastOf(&forecast.Forecast{
			Start: b.now, Step: time.Minute, Levels: []float64{0.5, 0.95}, Mean: rising, Quantiles: [][]float64{rising, rising},
		}))
		b.keep(t.Context(), b.now.Add(30*time.Second))
		b.now = b.now.Add(time.Minute)
	}
	for lead, want := range map[string]float64{"1m": 1, "15m": 15, "1h": 60, "24h": 1440} {
		for _, quantile := range []float64{0.5, 0.95} {
			got, err := b.store.Forecasts(t.Context(), nameOf(web, lead, quantile), begin.Add(-time.Minute), begin.Add(3*time.Minute), time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff([]float64{want, want, want, math.NaN()}, got, cmpopts.EquateNaNs()); d != "" {
				t.Errorf("%s ahead at %v (-want +got):\n%s", lead, quantile, d)
			}
		}
	}
}

// The steps that end 15 minutes, an hour and a day after the forecast was made; a minute is in the first.
func TestOfStepsOfFiveMinutesThoseOfTheLeadsAreKept(t *testing.T) {
	b := openBooks(t, t.TempDir(), noon())
	rising := make([]float64, 288) // the value of a step is which one it is
	for i := range rising {
		rising[i] = float64(i + 1)
	}
	b.observe(forecastOf(&forecast.Forecast{
		Start: b.now, Step: 5 * time.Minute, Levels: []float64{0.5, 0.95}, Mean: rising, Quantiles: [][]float64{rising, rising},
	}))
	got := map[string]float64{}
	for _, p := range b.forecasts(b.now)[0].Points {
		got[p.Lead] = p.GPUs
	}
	if d := cmp.Diff(map[string]float64{"1m": 1, "15m": 3, "1h": 12, "24h": 288}, got); d != "" {
		t.Errorf("points (-want +got):\n%s", d)
	}
}

// The query in the README: what was forecast an hour ago of now.
func TestForecastsOfAnHourAgoLieOverTheDemandThatCame(t *testing.T) {
	b := openBooks(t, t.TempDir(), noon())
	for i := range 2 * 60 {
		b.demand(float64(i))
		b.observe(flat(b.now, float64(i+60), 200)) // what comes in an hour
		b.keep(t.Context(), b.now)
		b.now = b.now.Add(time.Minute)
	}
	b.now = b.now.Add(-time.Minute)
	api, err := query.New(query.Options{Queryable: b.store.Queryable(), Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(promql string) string {
		r := httptest.NewRecorder()
		at := strconv.FormatInt(b.now.Unix(), 10)
		api.Handler().ServeHTTP(r, httptest.NewRequest(http.MethodGet, "/api/v1/query?time="+at+"&query="+url.QueryEscape(promql), nil))
		var answer struct {
			Data struct{ Result []struct{ Value [2]any } }
		}
		if err := json.Unmarshal(r.Body.Bytes(), &answer); err != nil || len(answer.Data.Result) != 1 {
			t.Fatalf("%s: %s (%v)", promql, r.Body, err)
		}
		return fmt.Sprint(answer.Data.Result[0].Value[1])
	}
	came, said := ask(`foretide_workload_demand_gpus{name="web"}`), ask(`foretide_forecast_demand_gpus{name="web",lead="1h",quantile="0.5"} offset 1h`)
	if came != "119" || said != came {
		t.Errorf("demand %s, forecast an hour before %s; want 119 of both", came, said)
	}
}

func TestThePolicysOwnQuantileIsKeptBesideTheOthers(t *testing.T) {
	b := openBooks(t, t.TempDir(), noon())
	e := flat(b.now, 1, 3)
	b.observe(e)
	e.Quantile = 0.8 // another policy on the same workload
	b.observe(e)
	b.observe(e)
	b.keep(t.Context(), b.now)
	got := b.forecasts(b.now)
	if len(got) != 1 || len(got[0].Points) != 12 || got[0].Method != "seasonal" || got[0].History != 36*time.Hour || !got[0].Made.Equal(b.now) {
		t.Errorf("forecasts %+v", got)
	}
	written, err := b.store.Forecasts(t.Context(), nameOf(web, "1h", 0.8), b.now.Add(-time.Minute), b.now, time.Minute)
	if err != nil || written[0] != 2 {
		t.Errorf("at 0.8 %v is written, %v; want 2", written, err)
	}
}

// Demand is 2 and 3 by turns; 2.5 lies above half of it, and 3 above all.
func TestAccuracyIsThatOfThePolicysOwnQuantileAndLead(t *testing.T) {
	b := openBooks(t, t.TempDir(), noon())
	if _, ok := b.Accuracy(web, 0.95, 0, b.now); ok {
		t.Error("known of a workload that nothing was forecast of")
	}
	walk := func(b *books, minutes int) {
		for i := range minutes {
			b.demand(2 + float64(i/30%2))
			e := flat(b.now, 2, 3)
			b.observe(e)
			e.Quantile = 0.8 // of another policy: 2.5
			b.observe(e)
			b.keep(t.Context(), b.now)
			b.now = b.now.Add(time.Minute)
		}
	}
	walk(b, 1440)
	for quantile, coverage := range map[float64]float64{0.95: 1, 0.8: 0.5} {
		for ahead, lead := range map[time.Duration]time.Duration{0: 15 * time.Minute, 15 * time.Minute: 15 * time.Minute, 16 * time.Minute: time.Hour, 2 * time.Hour: time.Hour} {
			a, ok := b.Accuracy(web, quantile, ahead, b.now)
			if !ok || a.Lead != lead || a.Day == nil || a.Week != nil {
				t.Fatalf("at %v, %v ahead: %+v, %v", quantile, ahead, a, ok)
			}
			if math.Abs(a.Day.Coverage-coverage) > 0.05 || math.Abs(a.Day.WAPE-0.2) > 0.01 || math.Abs(a.Day.Bias+0.2) > 0.01 {
				t.Errorf("at %v, %v ahead: %+v, want a coverage of %v, a fifth too little", quantile, ahead, *a.Day, coverage)
			}
		}
	}
	before, _ := b.Accuracy(web, 0.8, 0, b.now)
	again := openBooks(t, t.TempDir(), b.now)
	again.ledger = newLedger(b.store, slog.New(slog.DiscardHandler))
	e := flat(b.now, 2, 3)
	e.Quantile = 0.8
	again.observe(e)
	if _, ok := again.Accuracy(web, 0.8, 0, b.now); ok {
		t.Error("known before it is read")
	}
	again.keep(t.Context(), b.now)
	if after, ok := again.Accuracy(web, 0.8, 0, b.now); !ok || *after.Day != *before.Day {
		t.Errorf("after a restart %+v, before %+v", after.Day, before.Day)
	}
	for range 2 { // the policy with that quantile is gone
		b.now = b.now.Add(time.Minute)
		b.observe(flat(b.now, 2, 3))
	}
	if _, ok := b.Accuracy(web, 0.8, 0, b.now); ok {
		t.Error("kept though nobody wants it")
	}
}

func TestAccuracyIsTheSameAfterARestart(t *testing.T) {
	b := openBooks(t, t.TempDir(), noon())
	for i := range 3*1440 + 30 {
		if i%7 != 3 { // some demand is never known
			b.demand(2 + float64(i/30%2))
		}
		if i%100 > 8 { // now and then nothing is forecast
			b.observe(flat(b.now, 2, 2.5))
		}
		b.keep(t.Context(), b.now)
		b.now = b.now.Add(time.Minute)
	}
	before := b.scores()
	s := before["1h over 1d"]
	if math.Abs(s.WAPE-0.2) > 0.01 || math.Abs(s.Coverage-0.5) > 0.02 || math.Abs(s.Bias+0.2) > 0.01 || s.Pinball < 0.1 || s.Pinball > 0.3 {
		t.Errorf("scores before: %+v", before)
	}
	if _, told := before["24h over 7d"]; told || len(before) != 5 {
		t.Errorf("%d scores, want all but a day ahead over a week, of which too little could be compared: %v", len(before), before)
	}
	if err := b.store.Close(); err != nil {
		t.Fatal(err)
	}

	again := openBooks(t, b.dir, b.now)
	again.observe(flat(b.now, 2, 2.5))
	if n := len(again.scores()); n != 0 {
		t.Errorf("%d scores before the history is read", n)
	}
	again.keep(t.Context(), b.now)
	if d := cmp.Diff(before, again.scores(), cmpopts.EquateApprox(0, 1e-6)); d != "" {
		t.Errorf("scores after a restart (-before +after):\n%s", d)
	}
}

func TestForecastsThatCannotBeWrittenAreToldOnceAndTriedAgain(t *testing.T) {
	b := openBooks(t, t.TempDir(), noon())
	b.now = b.now.Add(-time.Hour) // the history's clock is behind, and takes nothing of a future
	ahead := b.now.Add(time.Hour)
	b.observe(flat(ahead, 1, 2))
	b.keep(t.Context(), ahead)
	b.keep(t.Context(), ahead)
	if n := strings.Count(b.log.String(), "forecasts cannot be written"); n != 1 {
		t.Errorf("told %d times:\n%s", n, b.log.String())
	}
	b.now = ahead
	b.keep(t.Context(), ahead)
	got, err := b.store.Forecasts(t.Context(), nameOf(web, "1h", 0.95), ahead.Add(-time.Minute), ahead, time.Minute)
	if err != nil || got[0] != 2 {
		t.Errorf("%v, %v; want it written", got, err)
	}
}

func TestAWorkloadWithoutForecastsIsForgotten(t *testing.T) {
	b := openBooks(t, t.TempDir(), noon())
	b.observe(controller.Evaluation{Workload: web}) // none could be made
	if len(b.entries) != 0 {
		t.Error("an evaluation without a forecast is kept")
	}
	b.observe(flat(b.now, 1, 2))
	b.keep(t.Context(), b.now.Add(forecastOver))
	if n := len(b.forecasts(b.now.Add(forecastOver))); n != 1 {
		t.Errorf("%d forecasts shown while it may be the newest, want 1", n)
	}
	over := b.now.Add(forecastOver + time.Second)
	if n := len(b.forecasts(over)); n != 0 {
		t.Errorf("%d forecasts shown when it is over", n)
	}
	b.keep(t.Context(), over)
	if len(b.entries) != 0 {
		t.Error("it is still there")
	}
}

// BenchmarkLedger is a minute of twenty thousand workloads: each has a new forecast, its points are written, and its demand comes.
func BenchmarkLedger(b *testing.B) {
	const workloads = 20_000
	books := openBooks(b, b.TempDir(), noon())
	ids := make([]controller.Workload, workloads)
	for i := range ids {
		ids[i] = controller.Workload{Namespace: "default", Kind: "Deployment", Name: fmt.Sprintf("web-%d", i)}
	}
	minute := func() {
		e := flat(books.now, 1, 2)
		for _, id := range ids {
			e.Workload = id
			books.observe(e)
		}
		books.write(b.Context())
		books.now = books.now.Add(time.Minute)
		for _, id := range ids {
			books.came(id, books.now, 1)
		}
	}
	minute()
	for _, id := range ids {
		books.begin(recordKey{id, rating.Upper}, newRecord(rating.Upper))
	}
	b.ReportAllocs()
	for b.Loop() {
		minute()
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/workloads, "µs/workload")
}

// BenchmarkRebuild reads eight days of one workload, which the ledger does once.
func BenchmarkRebuild(b *testing.B) {
	books := openBooks(b, b.TempDir(), noon())
	for range 8 * 1440 {
		if err := books.store.AppendDemand(b.Context(), storage.Workload(web), books.now, 1, 1); err != nil {
			b.Fatal(err)
		}
		books.observe(flat(books.now, 1, 2))
		books.write(b.Context())
		books.now = books.now.Add(time.Minute)
	}
	for b.Loop() {
		if _, err := rebuild(b.Context(), books.store, web, rating.Upper, books.now); err != nil {
			b.Fatal(err)
		}
	}
}
