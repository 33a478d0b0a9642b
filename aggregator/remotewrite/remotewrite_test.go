package remotewrite

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	remoteapi "github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/compression"
)

// engine is Prometheus' own receiver over a storage that counts.
type engine struct {
	*httptest.Server
	// answers are asked before the receiver is; one that returns a status of its own keeps the request from it.
	answer atomic.Pointer[func() int]

	mu       sync.Mutex
	received map[string]map[int64]int // series → time → how often
	changed  chan struct{}
}

func newEngine(t *testing.T, accepts ...remoteapi.WriteMessageType) *engine {
	t.Helper()
	e := &engine{received: map[string]map[int64]int{}, changed: make(chan struct{}, 1)}
	receiver := remote.NewWriteHandler(promslog.NewNopLogger(), prometheus.NewRegistry(), e, accepts, false, false)
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answer := e.answer.Load(); answer != nil {
			if status := (*answer)(); status != 0 {
				w.WriteHeader(status)
				return
			}
		}
		receiver.ServeHTTP(w, r)
	}))
	t.Cleanup(e.Close)
	return e
}

func (e *engine) answers(f func() int) { e.answer.Store(&f) }

func (e *engine) AppenderV2(context.Context) storage.AppenderV2 { return &transaction{engine: e} }

// transaction counts what was appended when it is committed.
type transaction struct {
	engine  *engine
	samples []func()
}

func (t *transaction) Append(_ storage.SeriesRef, ls labels.Labels, _, at int64, _ float64, _ *histogram.Histogram, _ *histogram.FloatHistogram, _ storage.AOptions) (storage.SeriesRef, error) {
	series := ls.String()
	t.samples = append(t.samples, func() {
		if t.engine.received[series] == nil {
			t.engine.received[series] = map[int64]int{}
		}
		t.engine.received[series][at]++
	})
	return 1, nil
}

func (t *transaction) AppendExemplars(storage.SeriesRef, labels.Labels, []exemplar.Exemplar) (storage.SeriesRef, error) {
	return 0, nil
}

func (t *transaction) Commit() error {
	t.engine.mu.Lock()
	defer t.engine.mu.Unlock()
	for _, count := range t.samples {
		count()
	}
	select {
	case t.engine.changed <- struct{}{}:
	default:
	}
	return nil
}

func (t *transaction) Rollback() error { return nil }

// waitFor returns the samples of the series once the engine has that of a moment.
func (e *engine) waitFor(t *testing.T, at int64) map[int64]int {
	t.Helper()
	for {
		e.mu.Lock()
		got := maps.Clone(e.received[received])
		e.mu.Unlock()
		if got[at] > 0 {
			return got
		}
		select {
		case <-e.changed:
		case <-t.Context().Done():
			t.Fatalf("the sample of %d never arrived", at)
		}
	}
}

func (e *engine) names() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []string
	for series := range e.received {
		out = append(out, series)
	}
	return out
}

func configFor(t *testing.T, e *engine, more string) *Config {
	t.Helper()
	file := write(t, fmt.Sprintf("remote_write:\n- url: %s\n  queue_config: {batch_send_deadline: 20ms, min_backoff: 10ms, max_backoff: 20ms, max_shards: 1, capacity: 2000}\n%s", e.URL, more))
	c, err := Load(file, "one")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// follow starts a writer on a directory that it sees first, and opens the TSDB there.
func follow(t *testing.T, dir string, c *Config) (*Writer, *tsdb.DB) {
	t.Helper()
	w := New(Options{Config: c})
	w.flushAtMost = 10 * time.Millisecond
	notified, err := w.Follow("raw", dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	db := openTSDB(t, dir)
	db.SetWriteNotified(notified)
	return w, db
}

func openTSDB(t *testing.T, dir string) *tsdb.DB {
	t.Helper()
	o := tsdb.DefaultOptions()
	o.WALCompression = compression.Snappy
	o.OutOfOrderTimeWindow = time.Hour.Milliseconds()
	db, err := tsdb.Open(dir, promslog.NewNopLogger(), nil, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// add commits one sample of each series for each time.
func add(t *testing.T, db *tsdb.DB, series []labels.Labels, times ...int64) {
	t.Helper()
	app := db.AppenderV2(t.Context())
	for _, at := range times {
		for _, ls := range series {
			if _, err := app.Append(0, ls, 0, at, float64(at), nil, nil, storage.AOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
}

const received = `{__name__="foretide_x", aggregator="one"}`

var series = []labels.Labels{labels.FromStrings("__name__", "foretide_x")}

func TestEverySampleArrivesOnceInEitherProtocol(t *testing.T) {
	for protocol, more := range map[remoteapi.WriteMessageType]string{
		remoteapi.WriteV1MessageType: "",
		remoteapi.WriteV2MessageType: "  protobuf_message: io.prometheus.write.v2.Request\n",
	} {
		t.Run(string(protocol), func(t *testing.T) {
			e := newEngine(t, protocol)
			_, db := follow(t, t.TempDir(), configFor(t, e, more))
			begin := time.Now().Add(time.Minute).UnixMilli()
			for i := int64(0); i < 500; i++ {
				add(t, db, series, begin+1000*i)
				if i%7 == 0 { // late: between two that are there
					add(t, db, series, begin+1000*(i/2)+500)
				}
			}
			got := e.waitFor(t, begin+1000*499)
			want := 500 + 72
			if len(got) != want {
				t.Errorf("%d samples arrived, want %d", len(got), want)
			}
			for at, n := range got {
				if n != 1 {
					t.Errorf("the sample of %d arrived %d times", at-begin, n)
				}
			}
		})
	}
}

func TestWhatIsOlderThanTheStartIsLeftOut(t *testing.T) {
	e := newEngine(t, remoteapi.WriteV1MessageType)
	dir := t.TempDir()
	now := time.Now().UnixMilli()
	db := openTSDB(t, dir)
	add(t, db, series, now-90_000)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	_, db = follow(t, dir, configFor(t, e, ""))
	add(t, db, series, now-60_000) // an agent's backlog of the time nobody listened
	add(t, db, series, now+60_000)
	add(t, db, series, now+30_000) // late, but of after the start
	got := e.waitFor(t, now+30_000)
	if len(got) != 2 || got[now+60_000] != 1 {
		t.Errorf("arrived: %v; want only the samples of after the start, one each", got)
	}
}

func TestARestartLeavesOutWhatTheEngineHadNotTaken(t *testing.T) {
	e := newEngine(t, remoteapi.WriteV1MessageType)
	asked := make(chan struct{}, 1)
	e.answers(func() int {
		select {
		case asked <- struct{}{}:
		default:
		}
		return http.StatusServiceUnavailable
	})
	dir, c := t.TempDir(), configFor(t, e, "")
	w, db := follow(t, dir, c)
	for sent := false; !sent; { // the watcher's start may be later than Follow's return
		add(t, db, series, time.Now().UnixMilli())
		select {
		case <-asked:
			sent = true
		case <-time.After(time.Millisecond):
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	e.answers(func() int { return 0 })
	_, db = follow(t, dir, c)
	after := time.Now().Add(time.Minute).UnixMilli()
	add(t, db, series, after)
	if got := e.waitFor(t, after); len(got) != 1 {
		t.Errorf("arrived: %v; what was in the queue at the stop is expected to be left out", got)
	}
}

func TestAnEngineThatDoesNotAnswerHoldsUpNoWriteAndIsCaughtUpWith(t *testing.T) {
	e := newEngine(t, remoteapi.WriteV1MessageType)
	release := make(chan struct{})
	e.answers(func() int { <-release; return 0 })
	_, db := follow(t, t.TempDir(), configFor(t, e, ""))
	begin := time.Now().Add(time.Minute).UnixMilli()
	const commits, perCommit = 60, 1000 // far more than the queue holds
	for i := int64(0); i < commits; i++ {
		times := make([]int64, perCommit)
		for j := range times {
			times[j] = begin + i*perCommit + int64(j)
		}
		add(t, db, series, times...)
	}
	close(release)
	got := e.waitFor(t, begin+commits*perCommit-1)
	if len(got) != commits*perCommit {
		t.Errorf("%d samples arrived, want %d", len(got), commits*perCommit)
	}
}

func TestAPlainURLSendsTheProjectsOwnSeries(t *testing.T) {
	e := newEngine(t, remoteapi.WriteV1MessageType)
	c, err := ForURL(e.URL, "one")
	if err != nil {
		t.Fatal(err)
	}
	_, db := follow(t, t.TempDir(), c)
	at := time.Now().Add(time.Minute).UnixMilli()
	add(t, db, []labels.Labels{labels.FromStrings("__name__", "vllm:requests"), series[0]}, at)
	e.waitFor(t, at)
	if got := e.names(); len(got) != 1 {
		t.Errorf("arrived: %v", got)
	}
}

func TestMetricsNameTheTierAndGoWithTheWriter(t *testing.T) {
	e := newEngine(t, remoteapi.WriteV1MessageType)
	registry := prometheus.NewRegistry()
	w := New(Options{Config: configFor(t, e, ""), Registerer: registry})
	for _, tier := range []string{"raw", "workload"} {
		if _, err := w.Follow(tier, t.TempDir()); err != nil {
			t.Fatal(err)
		}
	}
	tiers := map[string]bool{}
	for _, f := range gather(t, registry) {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "tier" && strings.HasPrefix(f.GetName(), "prometheus_remote_storage_samples_pending") {
					tiers[l.GetValue()] = true
				}
			}
		}
	}
	if len(tiers) != 2 {
		t.Errorf("samples pending of tiers %v, want of raw and workload", tiers)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if left := gather(t, registry); len(left) != 0 {
		t.Errorf("%d metrics are left, such as %s", len(left), left[0].GetName())
	}
}
