package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/client_golang/prometheus"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	receiver "github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/compression"
	"golang.org/x/sync/errgroup"

	"github.com/foretide/foretide/test/swarm"
	"github.com/foretide/foretide/test/swarm/shipped"
)

const (
	// samplesPerRequest is Prometheus' own default.
	samplesPerRequest = 2000
	// senders is how many requests are under way at a time: more do not make the receiver busier on the machines this runs on.
	senders = 4
)

// receiveRemoteWrite is Prometheus' own receiver on a TSDB with the options of the aggregator's raw tier.
func receiveRemoteWrite(ctx context.Context, dir string) (err error) {
	o := tsdb.DefaultOptions()
	o.WALCompression = compression.Snappy
	o.RetentionDuration = (7 * 24 * time.Hour).Milliseconds()
	o.OutOfOrderTimeWindow = (2 * time.Hour).Milliseconds()
	o.OutOfOrderCapMax = 120
	db, err := tsdb.Open(filepath.Join(dir, "tsdb"), slog.New(slog.DiscardHandler), nil, o, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	handler := receiver.NewWriteHandler(slog.New(slog.DiscardHandler), prometheus.NewRegistry(), db, remote.MessageTypes{remote.WriteV2MessageType}, false, false)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	defer func() { err = errors.Join(err, server.Close()) }()
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	if err := say(listener.Addr().String()); err != nil {
		return err
	}
	return untilDone(ctx, ended)
}

// throughRemoteWrite gives samples per second of the receiver's processor time.
func (s settings) throughRemoteWrite(ctx context.Context, dir string, b *swarm.Backlog) (perCore float64, err error) {
	c, err := startChild("remote-write", dir)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, c.stop(nil)) }()
	began := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	perRequest := max(1, samplesPerRequest/(20*s.gpus))
	for sender := range senders {
		var loads []*load
		for first := sender * perRequest; first < s.agents; first += senders * perRequest {
			l := &load{}
			for i := first; i < min(first+perRequest, s.agents); i++ {
				l.add(swarm.NewNode(fmt.Sprintf("node-%05d", i), "session", i, s.seed, swarm.NodeOptions{GPUs: s.gpus}))
			}
			loads = append(loads, l)
		}
		group.Go(func() error {
			for at := b.From; at.Before(b.To); at = at.Add(b.Window) {
				for _, l := range loads {
					if err := l.send(ctx, c.address, at, at.Add(b.Window)); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return 0, err
	}
	took := time.Since(began).Seconds()
	used, err := shipped.UsageOf(c.process.Process.Pid)
	if err != nil {
		return 0, err
	}
	samples := float64(s.agents*s.gpus*20) * float64(b.To.Sub(b.From)/b.Window)
	perCore = samples / used.CPUSeconds
	fmt.Printf("remote write: %.1f M samples, the same ones, in requests of %d over plain HTTP into Prometheus' receiver: %.1f s, %.1f s of processor time, %.2f M samples/s per core, %.2f GiB at most\n",
		samples/1e6, samplesPerRequest, took, used.CPUSeconds, perCore/1e6, used.PeakResident/(1<<30))
	return perCore, nil
}

// load is what some nodes say in one request.
type load struct {
	nodes   []*swarm.Node
	symbols writev2.SymbolsTable
	request writev2.Request
	buffer  []byte
}

func (l *load) add(n *swarm.Node) { l.nodes = append(l.nodes, n) }

// send makes the request of one window and waits for its answer.
func (l *load) send(ctx context.Context, address string, start, end time.Time) error {
	first := l.request.Timeseries == nil
	if first {
		l.symbols = writev2.NewSymbolTable()
	}
	at := 0
	for _, n := range l.nodes {
		f := n.Next(start, end)
		if first {
			for _, labels := range swarm.SeriesLabels(f.Node, f.Layout) {
				l.request.Timeseries = append(l.request.Timeseries, writev2.TimeSeries{LabelsRefs: l.refs(labels), Samples: make([]writev2.Sample, 1)})
			}
		}
		for _, v := range f.Values {
			l.request.Timeseries[at].Samples[0] = writev2.Sample{Value: v, Timestamp: end.UnixMilli()}
			at++
		}
	}
	l.request.Symbols = l.symbols.Symbols()
	var err error
	if l.buffer, err = l.request.OptimizedMarshal(l.buffer[:0]); err != nil {
		return err
	}
	body, err := compression.Encode(compression.Snappy, l.buffer, nil)
	if err != nil {
		return err
	}
	return post(ctx, "http://"+address, body)
}

func (l *load) refs(labels map[string]string) (refs []uint32) {
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		refs = append(refs, l.symbols.Symbolize(name), l.symbols.Symbolize(labels[name]))
	}
	return refs
}

func post(ctx context.Context, url string, body []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/x-protobuf;proto=io.prometheus.write.v2.Request")
	request.Header.Set("Content-Encoding", "snappy")
	request.Header.Set("X-Prometheus-Remote-Write-Version", "2.0.0")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if text, err := io.ReadAll(response.Body); err != nil || response.StatusCode/100 != 2 {
		return fmt.Errorf("remote write answered %d, %.200s: %w", response.StatusCode, text, err)
	}
	return nil
}
