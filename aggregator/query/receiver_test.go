package query

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

const (
	waiting = "vllm:num_requests_waiting"
	forged  = "foretide_pod_utilization_ratio"
)

// write sends a sample of each name, of the given moment.
func write(t *testing.T, server string, protocol remote.WriteMessageType, at time.Time, names ...string) (remote.WriteResponseStats, error) {
	t.Helper()
	api, err := remote.NewAPI(server, remote.WithAPIBackoff(remote.BackoffConfig{Min: time.Millisecond, Max: time.Millisecond, MaxRetries: 1}))
	if err != nil {
		t.Fatal(err)
	}
	if protocol == remote.WriteV1MessageType {
		request := &prompb.WriteRequest{}
		for _, name := range names {
			request.Timeseries = append(request.Timeseries, prompb.TimeSeries{
				Labels:  []prompb.Label{{Name: model.MetricNameLabel, Value: name}, {Name: "pod", Value: "web-0"}},
				Samples: []prompb.Sample{{Timestamp: at.UnixMilli(), Value: 7}}})
		}
		return api.Write(t.Context(), protocol, request)
	}
	symbols := writev2.NewSymbolTable()
	request := &writev2.Request{}
	for _, name := range names {
		request.Timeseries = append(request.Timeseries, writev2.TimeSeries{
			LabelsRefs: symbols.SymbolizeLabels(labels.FromStrings(model.MetricNameLabel, name, "pod", "web-0"), nil),
			Samples:    []writev2.Sample{{Timestamp: at.UnixMilli(), Value: 7}}})
	}
	request.Symbols = symbols.Symbols()
	return api.Write(t.Context(), protocol, request)
}

// stored counts the samples of each series.
func stored(t *testing.T, db *tsdb.DB) map[string]int {
	t.Helper()
	q, err := db.Querier(math.MinInt64, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = q.Close() }()
	counts := map[string]int{}
	set := q.Select(t.Context(), false, nil, labels.MustNewMatcher(labels.MatchRegexp, model.MetricNameLabel, ".+"))
	for set.Next() {
		for it := set.At().Iterator(nil); it.Next() != chunkenc.ValNone; {
			counts[set.At().Labels().String()]++
		}
	}
	if set.Err() != nil {
		t.Fatal(set.Err())
	}
	return counts
}

func TestBothProtocolsOfRemoteWriteAreTaken(t *testing.T) {
	for _, protocol := range []remote.WriteMessageType{remote.WriteV1MessageType, remote.WriteV2MessageType} {
		db := openDB(t)
		server := serve(t, shared(t, db, db))
		if _, err := write(t, server, protocol, time.Now(), waiting, "up"); err != nil {
			t.Errorf("%s: %v", protocol, err)
		}
		if diff := cmp.Diff(map[string]int{`{__name__="up", pod="web-0"}`: 1, `{__name__="vllm:num_requests_waiting", pod="web-0"}`: 1}, stored(t, db)); diff != "" {
			t.Errorf("%s (-want +got): %s", protocol, diff)
		}
	}
}

func TestARemoteWriterCannotForgeTelemetry(t *testing.T) {
	store, registry := &swapped{}, prometheus.NewRegistry()
	server := serve(t, newAPI(t, Options{Queryable: store, Writer: store, Registerer: registry}))
	for i, protocol := range []remote.WriteMessageType{remote.WriteV1MessageType, remote.WriteV2MessageType} {
		db := openDB(t)
		store.now, store.writer = db, db
		written, err := write(t, server, protocol, time.Now(), waiting, forged, "foretide_workload_demand_gpus")
		switch {
		case protocol == remote.WriteV1MessageType && err != nil:
			t.Errorf("1.0: %v", err)
		case protocol == remote.WriteV2MessageType && (err == nil || !strings.Contains(err.Error(), `name is "foretide_pod_utilization_ratio"`) || written.Samples != 1):
			t.Errorf("2.0: %d samples written, error %v", written.Samples, err)
		}
		if diff := cmp.Diff(map[string]int{`{__name__="vllm:num_requests_waiting", pod="web-0"}`: 1}, stored(t, db)); diff != "" {
			t.Errorf("%s (-want +got): %s", protocol, diff)
		}
		if err := testutil.GatherAndCompare(registry, strings.NewReader(fmt.Sprintf(`
# HELP foretide_aggregator_query_write_own_names_total Samples of remote writers that were left out because only this aggregator's agents may write names that begin with foretide_.
# TYPE foretide_aggregator_query_write_own_names_total counter
foretide_aggregator_query_write_own_names_total %d
`, 2*(i+1))), "foretide_aggregator_query_write_own_names_total"); err != nil {
			t.Errorf("%s: %v", protocol, err)
		}
	}
}

func TestAnotherForetideMayWriteOurNamesWhenItIsAllowed(t *testing.T) {
	db := openDB(t)
	server := serve(t, newAPI(t, Options{Queryable: db, Writer: db, AcceptOwnNames: true}))
	if _, err := write(t, server, remote.WriteV2MessageType, time.Now(), forged); err != nil {
		t.Error(err)
	}
	if n := len(stored(t, db)); n != 1 {
		t.Errorf("%d series stored", n)
	}
}

func TestWhatLiesFarAheadOfTheClockIsRefused(t *testing.T) {
	for _, protocol := range []remote.WriteMessageType{remote.WriteV1MessageType, remote.WriteV2MessageType} {
		db := openDB(t)
		lines := &lines{}
		server := serve(t, newAPI(t, Options{Queryable: db, Writer: db, Logger: slog.New(lines)}))
		for range 5 {
			if _, err := write(t, server, protocol, time.Now().Add(11*time.Minute), waiting, "up"); err == nil || !strings.Contains(err.Error(), "400") {
				t.Errorf("%s: %v", protocol, err)
			}
		}
		if n := len(stored(t, db)); n != 0 {
			t.Errorf("%s: %d series stored", protocol, n)
		}
		if n := len(lines.all()); n != 1 {
			t.Errorf("%s: %d lines logged, want 1: %q", protocol, n, lines.all())
		}
	}
}

// full is a store whose disk is full.
type full struct{}

type fullAppender struct{ storage.AppenderV2 }

func (full) AppenderV2(context.Context) storage.AppenderV2 { return fullAppender{} }
func (fullAppender) Append(storage.SeriesRef, labels.Labels, int64, int64, float64, *histogram.Histogram, *histogram.FloatHistogram, storage.AOptions) (storage.SeriesRef, error) {
	return 0, errors.New("disk is full")
}
func (fullAppender) Rollback() error { return nil }

func TestAStoreThatCannotTakeItNowMakesTheSenderTryAgain(t *testing.T) {
	server := serve(t, shared(t, openDB(t), full{}))
	for _, protocol := range []remote.WriteMessageType{remote.WriteV1MessageType, remote.WriteV2MessageType} {
		if _, err := write(t, server, protocol, time.Now(), waiting); err == nil || !strings.Contains(err.Error(), "500") || !strings.Contains(err.Error(), "disk is full") {
			t.Errorf("%s: %v", protocol, err)
		}
	}
}

func TestWhatIsNoRemoteWriteIsRefused(t *testing.T) {
	db := openDB(t)
	response, err := http.Post(serve(t, shared(t, db, db))+"/api/v1/write", "application/x-protobuf", strings.NewReader("nonsense"))
	if err != nil {
		t.Fatal(err)
	}
	if text := body(t, response); response.StatusCode != http.StatusBadRequest {
		t.Errorf("%s %s", response.Status, text)
	}
}
