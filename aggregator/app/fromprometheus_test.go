package app

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/foretide/foretide/aggregator/query"
	"github.com/foretide/foretide/aggregator/storage"
)

// recorded is another aggregator's history behind its PromQL API, and the ranges it was asked for.
type recorded struct {
	*httptest.Server
	store *storage.Store
	asked []span
	// refuses may answer a range in its place.
	refuses func(w http.ResponseWriter, s span) bool
}

func newRecorded(t *testing.T) *recorded {
	t.Helper()
	store, err := storage.Open(storage.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.WaitRaw(t.Context()); err != nil {
		t.Fatal(err)
	}
	api, err := query.New(query.Options{Queryable: store.Queryable()})
	if err != nil {
		t.Fatal(err)
	}
	r := &recorded{store: store}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		s := span{unix(request.FormValue("start")), unix(request.FormValue("end"))}
		r.asked = append(r.asked, s)
		if r.refuses == nil || !r.refuses(w, s) {
			api.Handler().ServeHTTP(w, request)
		}
	}))
	t.Cleanup(func() {
		r.Close()
		_ = store.Close()
	})
	return r
}

func unix(text string) time.Time {
	seconds, _ := strconv.ParseFloat(text, 64)
	return time.Unix(int64(seconds), 0)
}

var (
	webWorkload = storage.Workload{Namespace: "default", Kind: "Deployment", Name: "web"}
	apiWorkload = storage.Workload{Namespace: "prod", Kind: "StatefulSet", Name: "api"}
)

// record writes a value for each minute of (from, to]: the minute of the day.
func (r *recorded) record(t *testing.T, w storage.Workload, from, to time.Time) {
	t.Helper()
	var points []storage.Point
	for at := from.Add(time.Minute); !at.After(to); at = at.Add(time.Minute) {
		points = append(points, storage.Point{Time: at, Value: float64(at.Unix() / 60 % 1440)})
	}
	if _, err := r.store.AppendDemandHistory(t.Context(), w, points); err != nil {
		t.Fatal(err)
	}
}

const byWorkload = "--query=max by (namespace, kind, name) (avg_over_time(foretide_workload_demand_gpus[$step]))"

// take runs the import and returns what it printed.
func (r *recorded) take(t *testing.T, ctx context.Context, dir string, args ...string) (string, error) {
	t.Helper()
	r.asked = nil
	var out bytes.Buffer
	err := ImportPrometheus(ctx, append([]string{"--storage.path=" + dir, "--prometheus.url=" + r.URL}, args...), &out)
	return out.String(), err
}

func expectHistory(t *testing.T, r *recorded, dir string, w storage.Workload, from, to time.Time) {
	t.Helper()
	store, err := storage.Open(storage.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	want, err := r.store.Demand(t.Context(), w, from, to, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	got, err := store.Demand(t.Context(), w, from, to, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got, cmpopts.EquateNaNs()); d != "" {
		t.Errorf("history of %v (-want +got):\n%s", w, d)
	}
}

func TestEveryWorkloadsHistoryIsImportedAndGapsStayGaps(t *testing.T) {
	r, dir := newRecorded(t), t.TempDir()
	now := time.Now().Truncate(time.Minute)
	r.record(t, webWorkload, now.Add(-50*time.Hour), now.Add(-30*time.Hour))
	r.record(t, webWorkload, now.Add(-29*time.Hour), now.Add(-2*time.Minute))
	r.record(t, apiWorkload, now.Add(-3*time.Hour), now.Add(-time.Hour))
	out, err := r.take(t, t.Context(), dir, byWorkload, "--since=60h")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if last := lines[len(lines)-1]; last != fmt.Sprintf("imported %d minutes of demand of 2 workloads", 49*60-2+120) {
		t.Errorf("it ends with %q", last)
	}
	if len(lines) < 3 || !strings.HasPrefix(lines[len(lines)-2], "100 %  2.5 of 2.5 days, 2 workloads") {
		t.Errorf("progress:\n%s", out)
	}
	expectHistory(t, r, dir, webWorkload, now.Add(-60*time.Hour), now.Add(-2*time.Minute))
	expectHistory(t, r, dir, apiWorkload, now.Add(-60*time.Hour), now.Add(-2*time.Minute))
}

func TestAStoppedImportGoesOnWhereItWas(t *testing.T) {
	r, dir := newRecorded(t), t.TempDir()
	now := time.Now().Truncate(time.Minute)
	r.record(t, webWorkload, now.Add(-100*time.Hour), now)
	ctx, stop := context.WithCancel(t.Context())
	r.refuses = func(http.ResponseWriter, span) bool {
		if len(r.asked) == 3 {
			stop()
		}
		return len(r.asked) == 3
	}
	_, err := r.take(t, ctx, dir, byWorkload, "--since=96h")
	if err == nil || !strings.Contains(err.Error(), "stopped at") || !strings.Contains(err.Error(), "the same command goes on from there") {
		t.Fatalf("error is %v", err)
	}
	reached := r.asked[1].To
	r.refuses = nil
	if _, err = r.take(t, t.Context(), dir, byWorkload, "--since=96h"); err != nil {
		t.Fatal(err)
	}
	for _, s := range r.asked {
		if !s.From.After(reached) {
			t.Errorf("asked for %v to %v, of which up to %v was there", s.From, s.To, reached)
		}
	}
	expectHistory(t, r, dir, webWorkload, now.Add(-95*time.Hour), now.Add(-2*time.Minute))

	reached = r.asked[len(r.asked)-1].To
	if _, err = r.take(t, t.Context(), dir, byWorkload, "--since=96h"); err != nil {
		t.Fatal(err)
	}
	for _, s := range r.asked { // a minute may have begun meanwhile
		if !s.From.After(reached) {
			t.Errorf("a third time it asked for %v to %v again", s.From, s.To)
		}
	}
	out, err := r.take(t, t.Context(), dir, byWorkload, "--since=96h", "--again")
	if err != nil || !strings.Contains(out, "imported 0 minutes") && !strings.Contains(out, "imported 1 minutes") || !strings.Contains(out, "that are in the history already") {
		t.Errorf("asked anew: %v\n%s", err, out)
	}
}

func TestWhatIsTooMuchAtOnceIsAskedForInParts(t *testing.T) {
	r, dir := newRecorded(t), t.TempDir()
	now := time.Now().Truncate(time.Minute)
	r.record(t, webWorkload, now.Add(-24*time.Hour), now)
	r.refuses = func(w http.ResponseWriter, s span) bool {
		if s.To.Sub(s.From) > 2*time.Hour {
			w.WriteHeader(http.StatusUnprocessableEntity)
			fmt.Fprint(w, `{"status":"error","errorType":"execution","error":"query processing would load too many samples into memory"}`)
			return true
		}
		return false
	}
	if _, err := r.take(t, t.Context(), dir, byWorkload, "--since=20h"); err != nil {
		t.Fatal(err)
	}
	expectHistory(t, r, dir, webWorkload, now.Add(-19*time.Hour), now.Add(-2*time.Minute))
	r.refuses = func(w http.ResponseWriter, _ span) bool {
		w.WriteHeader(http.StatusUnprocessableEntity)
		fmt.Fprint(w, `{"status":"error","errorType":"execution","error":"many-to-many matching not allowed"}`)
		return true
	}
	if _, err := r.take(t, t.Context(), dir, byWorkload, "--since=20h", "--again"); err == nil || !strings.Contains(err.Error(), "many-to-many matching not allowed") {
		t.Errorf("error is %v", err)
	}
	if n := len(r.asked); n > 6 {
		t.Errorf("asked %d times for what never works", n)
	}
}

func TestAValueOfALongerStepStandsForEachOfItsMinutes(t *testing.T) {
	r, dir := newRecorded(t), t.TempDir()
	now := time.Now().Truncate(10 * time.Minute)
	r.record(t, webWorkload, now.Add(-5*time.Hour), now)
	if _, err := r.take(t, t.Context(), dir, byWorkload, "--since=3h", "--step=10m"); err != nil {
		t.Fatal(err)
	}
	store, err := storage.Open(storage.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	from, to := now.Add(-2*time.Hour), now.Add(-10*time.Minute)
	want, err := r.store.Demand(t.Context(), webWorkload, from, to, 10*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	got, err := store.Demand(t.Context(), webWorkload, from, to, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range got {
		if v != want[i/10] {
			t.Fatalf("minute %d is %v, want %v", i, v, want[i/10])
		}
	}
}

func TestAnImportFromPrometheusSaysWhatIsWrong(t *testing.T) {
	r := newRecorded(t)
	now := time.Now().Truncate(time.Minute)
	r.record(t, webWorkload, now.Add(-2*time.Hour), now)
	r.record(t, apiWorkload, now.Add(-2*time.Hour), now)
	for want, args := range map[string][]string{
		`--step is 30s: it must be 1m to 1h in whole minutes`:                      {"--step=30s"},
		`--step is 1m30s: it must be 1m to 1h`:                                     {"--step=90s"},
		`--since is 2400h0m0s: it must be at least --step and at most`:             {"--since=2400h"},
		`--workload is "web": it must be namespace/Kind/name`:                      {"--workload=web", "--query=1"},
		`--query is "": with --workload it must be the expression`:                 {"--workload=a/B/c"},
		`it must be name:value`:                                                    {"--prometheus.header=x"},
		`"nowhere" is no URL of an engine: it must be like http://prometheus:9090`: {"--prometheus.url=nowhere"},
		`"namespace", "kind" and "name" must name the workload (--label.…)`:        {"--query=sum(foretide_workload_demand_gpus)", "--since=1h"},
		`--query gives several series for`:                                         {"--query=label_replace(foretide_workload_demand_gpus, 'a', '$1', 'name', '(.+)') or label_replace(foretide_workload_demand_gpus, 'b', '$1', 'name', '(.+)')", "--since=1h"},
		`--query gives 2 series: with --workload it must give one`:                 {"--query=foretide_workload_demand_gpus", "--workload=a/B/c", "--since=1h"},
		`it must be a finite number of 0 or more`:                                  {"--query=-foretide_workload_demand_gpus", "--since=1h"},
		`parse error`:                {"--query=sum(", "--since=1h"},
		`--query gave no value from`: {"--since=1h"},
		`max by (namespace, replicaset, owner_kind, owner_name) (kube_replicaset_own`: {"--since=1h"},
	} {
		dir := t.TempDir()
		if out, err := r.take(t, t.Context(), dir, args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, output %q; want %s", args, err, out, want)
		}
	}
}

func TestWhatIsCoveredIsWhatIsNotMissing(t *testing.T) {
	at := func(h int) time.Time { return noon().Add(time.Duration(h) * time.Hour) }
	c, err := openCovered(t.TempDir(), false, "query")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []span{{at(2), at(4)}, {at(8), at(9)}, {at(3), at(5)}, {at(5), at(6)}} {
		if err := c.add(s.From, s.To); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range []struct {
		from, to int
		want     []span
	}{
		{0, 10, []span{{at(0), at(2)}, {at(6), at(8)}, {at(9), at(10)}}},
		{2, 6, nil},
		{3, 7, []span{{at(6), at(7)}}},
		{0, 1, []span{{at(0), at(1)}}},
		{9, 12, []span{{at(9), at(12)}}},
	} {
		if d := cmp.Diff(x.want, c.missing(at(x.from), at(x.to)), cmpopts.EquateEmpty()); d != "" {
			t.Errorf("missing of %d to %d (-want +got):\n%s", x.from, x.to, d)
		}
	}
}
