package app

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/foretide/foretide/agent/spool"
	"github.com/foretide/foretide/agent/stream"
	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/pkg/telemetry/telemetrypb"
	"github.com/foretide/foretide/test/node"
)

// moody is an aggregator that takes most batches, defers some, loses its place in others, and ends streams without a reason.
type moody struct {
	telemetrypb.UnimplementedTelemetryServer
	store string
	mu    sync.Mutex
	has   map[uint64]float64
	twice int
}

func (m *moody) Stream(stream telemetrypb.Telemetry_StreamServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	hello := first.GetHello()
	if err := stream.Send(&telemetrypb.AggregatorMessage{Message: &telemetrypb.AggregatorMessage_Welcome{Welcome: &telemetrypb.Welcome{
		Protocol: telemetry.Protocol, Store: m.store}}}); err != nil {
		return err
	}
	decoder := telemetry.NewDecoder(hello.GetNode(), hello.GetSession())
	for {
		in, err := stream.Recv()
		if err != nil {
			return err
		}
		mood := rand.IntN(1000)
		if mood < 5 {
			return status.Error(codes.Unavailable, "a bad mood")
		}
		if mood < 20 {
			decoder = telemetry.NewDecoder(hello.GetNode(), hello.GetSession())
		}
		f, err := decoder.Decode(in.GetFrame())
		n := in.GetFrame().GetSequence()
		answer := &telemetrypb.AggregatorMessage{Message: &telemetrypb.AggregatorMessage_Ack{Ack: &telemetrypb.Ack{Sequence: n}}}
		switch {
		case err != nil:
			answer.Message = &telemetrypb.AggregatorMessage_Deferral{Deferral: &telemetrypb.Deferral{Sequence: n, Reason: err.Error(), NeedsKey: true}}
		case mood > 900:
			answer.Message = &telemetrypb.AggregatorMessage_Deferral{Deferral: &telemetrypb.Deferral{Sequence: n, Reason: "not now", PauseMilliseconds: 20}}
		default:
			m.mu.Lock()
			if _, there := m.has[n]; there {
				m.twice++
			}
			m.has[n] = f.Values[0]
			m.mu.Unlock()
		}
		if err := stream.Send(answer); err != nil {
			return err
		}
	}
}

func TestNothingIsLostOverRestartsOfTheAgentAndMoodsOfTheAggregators(t *testing.T) {
	dir := t.TempDir()
	certificate, authority, err := node.Certify()
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(dir, "ca.crt")
	if err := os.WriteFile(ca, authority, 0o600); err != nil {
		t.Fatal(err)
	}
	var list string
	var replicas []*moody
	for i := range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		m := &moody{store: fmt.Sprint("store ", i), has: map[uint64]float64{}}
		g := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&certificate)))
		telemetrypb.RegisterTelemetryServer(g, m)
		go func() { _ = g.Serve(l) }()
		t.Cleanup(g.Stop)
		replicas = append(replicas, m)
		list += "," + l.Addr().String()
	}
	addresses, err := stream.ParseAddresses(list[1:])
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(&safeBuffer{}, nil))
	put := 0
	for run := range 4 {
		kept, err := spool.Open(spool.Options{Path: filepath.Join(dir, "spool"), Logger: log})
		if err != nil {
			t.Fatal(err)
		}
		sending := stream.New(stream.Options{Addresses: addresses, CAFile: ca, Node: "node-1", Session: kept.Session(),
			Receiver: func(store string) stream.Receiver { return kept.Receiver(store) }, SetReportInterval: func(time.Duration) {}, Logger: log})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { sending.Run(ctx); close(done) }()
		for up, _ := sending.Connected(); run == 0 && up < 2; up, _ = sending.Connected() {
			time.Sleep(time.Millisecond) // nothing is kept for an aggregator that was never heard of
		}
		for range 300 {
			put++
			end := time.Now()
			kept.Put(telemetry.Batch{Node: "node-1", Start: end.Add(-time.Second), End: end, Readings: []telemetry.Reading{{
				Device: telemetry.Device{UUID: fmt.Sprint("GPU-", put/100)}, Values: telemetry.Values{telemetry.Energy: float64(put)}}}})
		}
		if run == 3 {
			if err := kept.WaitEmpty(t.Context()); err != nil {
				t.Fatal(err)
			}
		} else {
			short, stop := context.WithTimeout(t.Context(), time.Second)
			_ = kept.WaitEmpty(short)
			stop()
		}
		cancel()
		<-done
		if err := kept.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range replicas {
		values := map[float64]bool{}
		for _, v := range m.has {
			values[v] = true
		}
		if len(values) != put || len(m.has) != put {
			t.Errorf("%s has %d batches with %d values; want %d", m.store, len(m.has), len(values), put)
		}
	}
}
