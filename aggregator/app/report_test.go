package app

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/foretide/foretide/aggregator/report"
	"github.com/foretide/foretide/aggregator/storage"
)

// reporting is an aggregator with a board over a history, its reports served on a free port.
func reporting(t testing.TB, dir string, now time.Time) (*aggregator, *httptest.Server) {
	t.Helper()
	store, err := storage.Open(storage.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	b, _ := boardAt(t, now)
	b.store, b.ledger.store, b.diary.store = store, store, store
	a := &aggregator{store: store, board: b, log: slog.New(slog.DiscardHandler)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /report/{namespace}/{name}", a.serveReport)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return a, server
}

// remember writes a week: 1 busy GPU by day and 0.2 by night on four pods, 15 minutes before it was said that it would be 1.2 at most, and
// for the last three days what was decided.
func remember(t testing.TB, store *storage.Store, now time.Time) {
	t.Helper()
	var demand, pods []storage.Point
	var forecasts []storage.ForecastPoint
	var decided []storage.Decided
	for i := range int(report.Span / time.Minute) {
		at := now.Add(-time.Duration(i) * time.Minute)
		busy := 0.2
		if i%1440 < 720 {
			busy = 1
		}
		demand, pods = append(demand, storage.Point{Time: at, Value: busy}), append(pods, storage.Point{Time: at, Value: 4})
		for quantile, gpus := range map[float64]float64{0.5: busy, 0.95: 1.2} {
			forecasts = append(forecasts, storage.ForecastPoint{ForecastName: nameOf(web, "15m", quantile), Made: at.Add(-15 * time.Minute), GPUs: gpus})
		}
		if i < 3*1440 {
			decided = append(decided, storage.Decided{Policy: webPolicyName, At: at, Desired: number(int32(5 + i/1440)), Reason: "ForecastDemand"})
		}
	}
	_, err := store.AppendDemandHistory(t.Context(), storage.Workload(web), demand)
	if err == nil {
		_, err = store.AppendPodsHistory(t.Context(), storage.Workload(web), pods)
	}
	if err == nil {
		err = store.AppendForecasts(t.Context(), forecasts)
	}
	if err == nil {
		err = store.AppendDecisions(t.Context(), decided)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func fetched(t *testing.T, at string) (int, string) {
	t.Helper()
	response, err := http.Get(at)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// told is what the tests read of a report in JSON.
type told struct {
	Advice    report.Advice
	Compared  report.Compared
	Usages    []report.Usage
	Decisions []struct{ From, To *float64 }
	Pods      struct {
		DecidedShare float64
		Actual       struct{ Values []*float64 }
	}
	GPUs struct {
		ForecastLead string
	}
}

func TestAReportTellsTheWeekThatTheHistoryHasAlsoAfterARestart(t *testing.T) {
	now, dir := time.Now().Truncate(time.Minute), t.TempDir()
	a, server := reporting(t, dir, now)
	remember(t, a.store, now)
	if code, body := fetched(t, server.URL+"/report/default/web"); code != http.StatusNotFound || !strings.Contains(body, "policy default/web is not known here") {
		t.Errorf("before it was decided: %d %s", code, body)
	}
	e := evaluated(now)
	e.Strategy, e.GPUsPerPod = "observer", 1
	for _, when := range []string{"first", "after a restart"} {
		a.board.Observed(e)
		code, page := fetched(t, server.URL+"/report/default/web")
		if code != http.StatusOK || !strings.Contains(page, "Predict GPU Resource Observer") || !strings.Contains(page, "gpu: target 20%, now 29%") {
			t.Errorf("%s: %d %.2000s", when, code, page)
		}
		code, text := fetched(t, server.URL+"/report/default/web?format=json")
		var r told
		if err := json.Unmarshal([]byte(text), &r); err != nil || code != http.StatusOK {
			t.Fatalf("%s: %d %v", when, code, err)
		}
		// 4 pods cost 672 GPU-hours a week; 1.2 GPUs at 20 % are 6 pods, and 7, 6 and 5 were decided.
		if u := r.Usages; len(u) != 3 || math.Abs(u[0].GPUHours-672) > 1 || math.Abs(u[1].MeanPods-6) > 0.01 || u[2].MeanPods != 5 {
			t.Errorf("%s: %+v", when, r.Usages)
		}
		if r.GPUs.ForecastLead != "15m" || math.Abs(r.Pods.DecidedShare-3./7) > 0.01 || r.Compared.Minutes < 10070 || r.Advice.Verdict != report.NotAdvisable {
			t.Errorf("%s: %+v", when, r)
		}
		if d := r.Decisions; len(d) != 3 || *d[0].From != 6 || *d[0].To != 5 || d[2].From != nil {
			t.Errorf("%s: decisions %+v", when, r.Decisions)
		}
		if err := a.store.Close(); err != nil {
			t.Fatal(err)
		}
		a, server = reporting(t, dir, now)
	}
	if code, body := fetched(t, server.URL+"/report/default/web?format=pdf"); code != http.StatusNotFound {
		t.Errorf("%d %s", code, body) // nothing was decided since the restart
	}
	a.board.Observed(e)
	if code, body := fetched(t, server.URL+"/report/default/web?format=pdf"); code != http.StatusBadRequest || !strings.Contains(body, `format is "pdf": it must be html or json`) {
		t.Errorf("%d %s", code, body)
	}
}

func TestAReportOfAPolicyWithNothingInItsHistoryIsAPage(t *testing.T) {
	now := time.Now()
	a, server := reporting(t, t.TempDir(), now)
	e := evaluated(now)
	e.Decision, e.Forecast.Forecast, e.Problem.Reason = nil, nil, "TargetNotFound"
	a.board.Observed(e)
	if code, page := fetched(t, server.URL+"/report/default/web"); code != http.StatusOK || !strings.Contains(page, "TargetNotFound") || !strings.Contains(page, "too early") {
		t.Errorf("%d %s", code, page)
	}
}

func TestAReplicaThatDoesNotDecideHasTheReportFromTheOneThatDoes(t *testing.T) {
	now := time.Now().Truncate(time.Minute)
	decides, first := reporting(t, t.TempDir(), now)
	other, second := reporting(t, t.TempDir(), now)
	one, err := url.Parse(first.URL)
	if err != nil {
		t.Fatal(err)
	}
	two, err := url.Parse(second.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []*aggregator{decides, other} {
		a.peers = &peers{app: a, urls: []*url.URL{two, one}, authorities: func() []byte { return nil }}
	}
	if code, body := fetched(t, second.URL+"/report/default/web"); code != http.StatusNotFound {
		t.Errorf("nobody decides: %d %s", code, body)
	}
	decides.board.Observed(evaluated(now))
	want, text := fetched(t, first.URL+"/report/default/web?format=json")
	if code, body := fetched(t, second.URL+"/report/default/web?format=json"); code != http.StatusOK || code != want || len(body) != len(text) {
		t.Errorf("%d, %d bytes; want what the other says: %d, %d bytes", code, len(body), want, len(text))
	}
	if code, body := fetched(t, second.URL+"/report/default/web"); code != http.StatusOK || !strings.Contains(body, "default/web") {
		t.Errorf("%d %s", code, body)
	}
}

func TestAReportIsWrittenByTheCommand(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.report("first", 3, 0.8)
	w.eventually("a decision", func() bool { return w.status("web", "/report/default/web") == http.StatusOK })
	if _, page := w.get("web", "/"); !strings.Contains(page, `href="/report/default/web"`) {
		t.Error("the page does not lead to the report")
	}
	file, address := filepath.Join(t.TempDir(), "observer.html"), "--aggregator.url=http://"+w.address("web")
	if err := Report(t.Context(), []string{"--policy=default/web", "--out=" + file, address}, io.Discard); err != nil {
		t.Fatal(err)
	}
	if page, err := os.ReadFile(file); err != nil || !bytes.HasPrefix(page, []byte("<!doctype html>")) {
		t.Errorf("%.100s (%v)", page, err)
	}
	var out bytes.Buffer
	if err := Report(t.Context(), []string{"--policy=default/web", "--json", address}, &out); err != nil || !json.Valid(out.Bytes()) {
		t.Errorf("%.200s (%v)", out.String(), err)
	}
	for want, args := range map[string][]string{
		`--policy is "web": it must be namespace/name`:     {"--policy=web"},
		`--aggregator.url is "here": it must be a URL`:     {"--policy=default/web", "--aggregator.url=here"},
		`policy default/other is not known here: there is`: {"--policy=default/other", address},
		`--kubernetes.kubeconfig: `:                        {"--policy=default/web", "--kubernetes.kubeconfig=none"},
		`--aggregator.http-config-file: "none"`:            {"--policy=default/web", address, "--aggregator.http-config-file=none"},
		`--out: open `:                                     {"--policy=default/web", address, "--out=" + filepath.Join(file, "x")},
	} {
		if err := Report(t.Context(), args, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", args, err, want)
		}
	}
}

// BenchmarkReport reads a week of a policy and makes page and JSON of it.
func BenchmarkReport(b *testing.B) {
	now := time.Now().Truncate(time.Minute)
	a, _ := reporting(b, b.TempDir(), now)
	remember(b, a.store, now)
	e := evaluated(now)
	e.GPUsPerPod = 1
	a.board.Observed(e)
	var made observed
	for b.Loop() {
		var err error
		if made, _, err = a.report(b.Context(), "default", "web", now); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(made.page))/1000, "kB_page")
	b.ReportMetric(float64(len(made.data))/1000, "kB_json")
}
