package stream

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/pkg/telemetry/telemetrypb"
)

// name is what the aggregator's certificate is for.
const name = "aggregator.test"

// aggregator is a real gRPC server over TLS that welcomes each agent and then does with the stream what the test says.
type aggregator struct {
	telemetrypb.UnimplementedTelemetryServer
	address string
	// store is "store" when it is empty.
	store    string
	interval time.Duration
	// keepalive is how long the connections last.
	keepalive keepalive.ServerParameters
	// greet is called instead of sending the Welcome when it is set.
	greet func(hello *telemetrypb.Hello, stream telemetrypb.Telemetry_StreamServer) error
	serve func(hello *telemetrypb.Hello, stream telemetrypb.Telemetry_StreamServer) error
}

func (a *aggregator) Stream(stream telemetrypb.Telemetry_StreamServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	greet := a.greet
	if greet == nil {
		greet = func(_ *telemetrypb.Hello, stream telemetrypb.Telemetry_StreamServer) error {
			return stream.Send(welcome(telemetry.Protocol, cmp.Or(a.store, "store"), a.interval))
		}
	}
	if err := greet(first.GetHello(), stream); err != nil {
		return err
	}
	return a.serve(first.GetHello(), stream)
}

// start listens with a certificate for aggregator.test and returns the file of the authority that signed it.
func (a *aggregator) start(t *testing.T) (caFile string) {
	t.Helper()
	certificate, ca := certify(t)
	a.listen(t, certificate, "127.0.0.1:0")
	return writeFile(t, "ca.crt", ca)
}

// listen serves at an address until the returned function is called or the test ends.
func (a *aggregator) listen(t *testing.T, certificate tls.Certificate, address string) (stop func()) {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	a.address = listener.Addr().String()
	g := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&certificate)), grpc.KeepaliveParams(a.keepalive))
	telemetrypb.RegisterTelemetryServer(g, a)
	go func() { _ = g.Serve(listener) }()
	t.Cleanup(g.Stop)
	return g.Stop
}

func certify(t *testing.T) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func writeFile(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// agent is a stream with batches to send, running until the test ends.
type agent struct {
	*Stream
	box  *outbox
	log  *safeBuffer
	pace chan time.Duration
}

// runAgent sends to the aggregators at an address, and others with the same port, by the name in their certificate.
func runAgent(t *testing.T, batches int, where string, change func(*Options), others ...string) *agent {
	t.Helper()
	a := &agent{box: newOutbox(batches), log: &safeBuffer{}, pace: make(chan time.Duration, 10_000)}
	at := netip.MustParseAddrPort(where)
	o := Options{Addresses: []Address{{Host: name, Port: at.Port()}}, Node: "node-1", Session: "word", Version: "v1", Receiver: a.box.receiver,
		SetReportInterval: func(d time.Duration) { a.pace <- d }, Logger: slog.New(slog.NewTextHandler(a.log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	change(&o)
	a.Stream = New(o)
	a.find = func(context.Context, string, string) ([]netip.Addr, error) {
		ips := []netip.Addr{at.Addr()}
		for _, other := range others {
			ips = append(ips, netip.MustParseAddrPort(other).Addr())
		}
		return ips, nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { a.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return a
}

// up is how many aggregators are connected.
func (a *agent) up() int {
	n, _ := a.Connected()
	return n
}

func welcome(protocol uint32, store string, interval time.Duration) *telemetrypb.AggregatorMessage {
	return &telemetrypb.AggregatorMessage{Message: &telemetrypb.AggregatorMessage_Welcome{Welcome: &telemetrypb.Welcome{
		Protocol: protocol, Store: store, ReportIntervalMilliseconds: uint32(interval.Milliseconds())}}}
}

func deferral(n uint64, pause time.Duration, needsKey bool) *telemetrypb.AggregatorMessage {
	return &telemetrypb.AggregatorMessage{Message: &telemetrypb.AggregatorMessage_Deferral{Deferral: &telemetrypb.Deferral{
		Sequence: n, Reason: "the disk is full", PauseMilliseconds: uint32(pause.Milliseconds()), NeedsKey: needsKey}}}
}

func ack(n uint64, interval time.Duration) *telemetrypb.AggregatorMessage {
	return &telemetrypb.AggregatorMessage{Message: &telemetrypb.AggregatorMessage_Ack{
		Ack: &telemetrypb.Ack{Sequence: n, ReportIntervalMilliseconds: uint32(interval.Milliseconds())}}}
}

func refuse(n uint64, reason string) *telemetrypb.AggregatorMessage {
	return &telemetrypb.AggregatorMessage{Message: &telemetrypb.AggregatorMessage_Refusal{
		Refusal: &telemetrypb.Refusal{Sequence: n, Reason: reason}}}
}

func token(stream telemetrypb.Telemetry_StreamServer) string {
	md, _ := metadata.FromIncomingContext(stream.Context())
	if v := md.Get("authorization"); len(v) == 1 {
		return v[0]
	}
	return ""
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// eventually waits for what another goroutine is about to do.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for t.Context().Err() == nil {
		if holds() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}
