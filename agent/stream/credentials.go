package stream

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"

	"google.golang.org/grpc/credentials"
)

// transport reads the CA anew: it may have been published, or renewed, since the last attempt. The server is dialed by its IP
// address and known by its host's name.
func (o Options) transport(host string) (credentials.TransportCredentials, error) {
	config := &tls.Config{ServerName: cmp.Or(o.ServerName, host), MinVersion: tls.VersionTLS12}
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("certificate authority of the aggregator: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("certificate authority of the aggregator: %q holds no PEM certificate", o.CAFile)
		}
	}
	return credentials.NewTLS(config), nil
}

// fileToken sends the token in a file, read anew for each stream: the kubelet replaces it long before it expires.
type fileToken string

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (f fileToken) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	token, err := os.ReadFile(string(f))
	if err != nil {
		return nil, fmt.Errorf("token for the aggregator: %w", err)
	}
	text := strings.TrimSpace(string(token))
	if text == "" {
		return nil, fmt.Errorf("token for the aggregator: %q is empty", string(f))
	}
	return map[string]string{"authorization": "Bearer " + text}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials: a token is never sent in the clear.
func (fileToken) RequireTransportSecurity() bool { return true }
