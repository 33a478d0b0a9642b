//go:build integration

package integration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"os"
	"path/filepath"
	"time"
)

// frontProxy writes an authority and a client certificate of it into a directory, and returns the API server's flags for its
// aggregation layer.
func frontProxy(dir string) (map[string]string, error) {
	ca, caKey, err := signed(dir, "front-proxy-ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true}, nil, nil)
	if err != nil {
		return nil, err
	}
	leaf := &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if _, _, err := signed(dir, "front-proxy-client", leaf, ca, caKey); err != nil {
		return nil, err
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	return map[string]string{
		"requestheader-client-ca-file": at("front-proxy-ca.crt"), "requestheader-allowed-names": "front-proxy-client",
		"requestheader-username-headers": "X-Remote-User", "requestheader-group-headers": "X-Remote-Group",
		"requestheader-extra-headers-prefix": "X-Remote-Extra-",
		"proxy-client-cert-file":             at("front-proxy-client.crt"), "proxy-client-key-file": at("front-proxy-client.key"),
	}, nil
}

// signed makes a certificate and its key in files of that name, signed by the authority, by itself when that is nil.
func signed(dir, name string, template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template.Subject = pkix.Name{CommonName: name}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	for ending, block := range map[string]*pem.Block{".crt": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(filepath.Join(dir, name+ending), pem.EncodeToMemory(block), 0o600); err != nil {
			return nil, nil, err
		}
	}
	certificate, err := x509.ParseCertificate(der)
	return certificate, key, err
}
