package main

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	agent "github.com/foretide/foretide/agent/exporter"
	"github.com/foretide/foretide/aggregator/app"
	aggregator "github.com/foretide/foretide/aggregator/exporter"
	"github.com/foretide/foretide/aggregator/external"
	"github.com/foretide/foretide/aggregator/ingest"
	"github.com/foretide/foretide/aggregator/live"
	"github.com/foretide/foretide/aggregator/query"
	"github.com/foretide/foretide/aggregator/storage"
	"github.com/foretide/foretide/aggregator/workload"
	"github.com/foretide/foretide/pkg/telemetry"
)

// agentMetrics are those of a node with one GPU that a pod holds, while everything works.
func agentMetrics() ([]metric, error) {
	r := newRegistry()
	e, err := agent.New(agent.Options{
		Interval: func() time.Duration { return time.Hour }, // so long the batch below is the present
		Self: func() agent.Self {
			return agent.Self{NVMLState: "ok", NVMLStates: []string{"ok"}, LastTick: time.Now(),
				Scraping: &agent.Scraping{Scrapes: map[string]uint64{"ok": 1}}, Sending: &agent.Sending{}}
		},
		Registerer: r,
	})
	if err != nil {
		return nil, err
	}
	values := telemetry.Values{}
	for _, row := range telemetry.Catalogue() {
		values[row.Metric] = 1
	}
	e.ObserveCall("nvmlDeviceGetSamples", time.Millisecond)
	e.Put(telemetry.Batch{
		OwnersKnown: true,
		Readings:    []telemetry.Reading{{Device: telemetry.Device{UUID: "GPU-0"}, Values: values, Unattributed: values}},
		Usages:      []telemetry.Usage{{Owner: telemetry.Owner{Namespace: "default", Pod: "web-1"}, DeviceUUID: "GPU-0", Values: values}},
		Pods:        []telemetry.Pod{{Namespace: "default", Name: "web-1"}},
	})
	return r.metrics()
}

// aggregatorMetrics are those with one node, one workload, and one policy of which everything is known.
func aggregatorMetrics() (_ []metric, err error) {
	r := newRegistry()
	r.MustRegister(app.BuildInfo(""))
	e, err := aggregator.New(aggregator.Options{
		Demands: func(time.Time) []aggregator.Demand { return make([]aggregator.Demand, 1) },
		Forecasts: func(time.Time) []aggregator.Forecast {
			return []aggregator.Forecast{{Points: make([]aggregator.Point, 1), Scores: make([]aggregator.Score, 1)}}
		},
		Nodes:           func(time.Time) []aggregator.Node { return make([]aggregator.Node, 1) },
		DecisionReasons: []string{"Steady"}, LimitReasons: []string{"ScaleUpLimit"}, AHPANames: true,
	})
	if err != nil {
		return nil, err
	}
	var n int32
	var fresh bool
	e.Observe(aggregator.Policy{At: time.Now(), Current: &n, Desired: &n, Proactive: &n, Reactive: &n, TargetPercent: 1, UtilizationPercent: &n,
		Reason: "Steady", DataFresh: &fresh, Saturated: &fresh, Peaks: make([]aggregator.Peak, 1), Accuracies: make([]aggregator.Accuracy, 1)})
	r.MustRegister(e, aggregator.NewCluster(aggregator.ClusterOptions{
		GPUs:   func() []aggregator.GPUs { return make([]aggregator.GPUs, 1) },
		Needed: func(time.Time) []aggregator.Needed { return []aggregator.Needed{{Ever: make([]aggregator.Horizon, 1)}} },
	}))

	dir, err := os.MkdirTemp("", "foretide-docgen-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	store, err := storage.Open(storage.Options{Dir: dir, Registerer: r})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	view, err := live.New(live.Options{})
	if err != nil {
		return nil, err
	}
	agents, err := ingest.NewServer(ingest.Options{
		Registerer: r, Appender: store, Sink: view, TLS: &tls.Config{MinVersion: tls.VersionTLS12},
		Authenticate: func(context.Context, string) (ingest.Caller, error) { return ingest.Caller{}, nil },
	})
	if err != nil {
		return nil, err
	}
	defer agents.Stop()
	promql, err := query.New(query.Options{Queryable: store.Queryable(), Writer: store.RawAppender(), Registerer: r})
	if err != nil {
		return nil, err
	}
	promql.Handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/api/v1/status/buildinfo", nil))
	if _, err := external.New(external.Options{URL: "http://localhost", Logger: slog.New(slog.DiscardHandler), Registerer: r}); err != nil {
		return nil, err
	}
	if _, err := workload.NewRecorder(workload.RecorderOptions{
		Workloads:  func() []workload.Workload { return nil },
		Load:       func(_, _, _ string, _, _ time.Time) workload.Load { return workload.Load{} },
		Append:     func(context.Context, workload.ID, time.Time, float64, float64) error { return nil },
		Logger:     slog.New(slog.DiscardHandler),
		Registerer: r,
	}); err != nil {
		return nil, err
	}
	return r.metrics()
}
