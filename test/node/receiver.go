package node

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/pkg/telemetry/telemetrypb"
)

// Receiver takes the agent's batches as the aggregator does: TLS, an acknowledgement for each.
type Receiver struct {
	telemetrypb.UnimplementedTelemetryServer
	// Address is what to give the agent, CAFile what it must trust.
	Address, CAFile string
	grpc            *grpc.Server
	take            func(telemetry.Batch) *telemetrypb.Ack
}

// Receive listens on an address of the loopback, 127.0.0.1:0 for a free port, with a certificate of its own. take is called for each
// batch, one stream at a time in order, and answers with the acknowledgement; a nil one leaves the batch unanswered.
func Receive(address, caFile string, take func(telemetry.Batch) *telemetrypb.Ack) (*Receiver, error) {
	certificate, authority, err := Certify()
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(caFile, authority, 0o600); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	r := &Receiver{Address: listener.Addr().String(), CAFile: caFile, take: take, grpc: grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&certificate)))}
	telemetrypb.RegisterTelemetryServer(r.grpc, r)
	go func() { _ = r.grpc.Serve(listener) }()
	return r, nil
}

// Stop ends every stream.
func (r *Receiver) Stop() { r.grpc.Stop() }

// Stream implements the aggregator's API.
func (r *Receiver) Stream(stream telemetrypb.Telemetry_StreamServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	welcome := &telemetrypb.Welcome{Protocol: telemetry.Protocol, Store: "receiver"}
	if err := stream.Send(&telemetrypb.AggregatorMessage{Message: &telemetrypb.AggregatorMessage_Welcome{Welcome: welcome}}); err != nil {
		return err
	}
	decoder := telemetry.NewDecoder(first.GetHello().GetNode(), first.GetHello().GetSession())
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		f, err := decoder.Decode(m.GetFrame())
		if err != nil {
			return err
		}
		ack := r.take(f.Batch())
		if ack == nil {
			continue
		}
		ack.Sequence = f.Sequence
		if err := stream.Send(&telemetrypb.AggregatorMessage{Message: &telemetrypb.AggregatorMessage_Ack{Ack: ack}}); err != nil {
			return err
		}
	}
}

// Certify makes a certificate for the loopback that is its own authority.
func Certify() (tls.Certificate, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, nil, fmt.Errorf("make a certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}
