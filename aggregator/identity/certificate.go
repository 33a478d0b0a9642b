// Package identity says who the aggregator is and who calls it.
//
//	store (directory or Secret) → EnsureCertificate → TLS server, CA for the agents
//	agent's token → TokenReview or token file → Caller → may speak for this node
//	reader's token → TokenReview → SubjectAccessReview → may read this path
package identity

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"time"
)

const (
	authorityValidity = 10 * 365 * 24 * time.Hour
	leafValidity      = 365 * 24 * time.Hour
	// clockSkew is how much a client's clock may be behind when it meets a certificate made just now.
	clockSkew = time.Hour
	// saveTries bounds how often EnsureCertificate starts anew because somebody else was faster.
	saveTries = 8
)

// ErrConflict is returned by CertificateStore.Save when what is stored is no longer of the given version.
var ErrConflict = errors.New("stored certificate was changed by somebody else")

// Bundle is a certificate authority and the serving certificate it signed, all PEM. Parts that do not exist are empty.
type Bundle struct {
	CACertificate, CAKey []byte
	Certificate, Key     []byte
}

// CertificateStore keeps one bundle where all replicas of the aggregator find it.
type CertificateStore interface {
	// Load returns the bundle and its version; an empty bundle when there is none, its version then being what Save wants.
	Load(ctx context.Context) (b Bundle, version string, err error)
	// Save stores the bundle if the stored one still is of the version that Load gave, else it returns ErrConflict.
	Save(ctx context.Context, b Bundle, version string) error
	// Publish puts the CA's certificate where agents find it.
	Publish(ctx context.Context, caPEM []byte) error
}

// EnsureCertificate returns a serving certificate for the names (DNS names or IP addresses) and the CA's certificate to give to
// clients. What is missing, or has less than a third of its life left, is made and stored: the CA lives 10 years, the serving
// certificate one year. Two replicas that start together end up with the same one. A stored certificate whose CA key is not
// there was made by somebody else; it is used as long as it is valid and never replaced.
func EnsureCertificate(ctx context.Context, store CertificateStore, names []string, now time.Time) (tls.Certificate, []byte, error) {
	if len(names) == 0 {
		return tls.Certificate{}, nil, errors.New("a serving certificate needs at least one name")
	}
	for range saveTries {
		stored, version, err := store.Load(ctx)
		if err != nil {
			return tls.Certificate{}, nil, err
		}
		bundle, err := renewed(stored, names, now)
		if err != nil {
			return tls.Certificate{}, nil, err
		}
		if !bytes.Equal(bundle.Certificate, stored.Certificate) {
			err := store.Save(ctx, bundle, version)
			if errors.Is(err, ErrConflict) {
				continue
			}
			if err != nil {
				return tls.Certificate{}, nil, err
			}
		}
		certificate, err := bundle.serving(names, now)
		if err != nil {
			return tls.Certificate{}, nil, err
		}
		return certificate, bundle.CACertificate, store.Publish(ctx, bundle.CACertificate)
	}
	return tls.Certificate{}, nil, fmt.Errorf("%w %d times in a row", ErrConflict, saveTries)
}

// renewed returns the bundle itself when it needs nothing, else one with the missing or ageing parts made anew.
func renewed(b Bundle, names []string, now time.Time) (Bundle, error) {
	certificate, leafErr := b.serving(names, now)
	if len(b.CAKey) == 0 && len(b.Certificate) > 0 {
		if leafErr != nil {
			return b, fmt.Errorf("the stored certificate was not made by the aggregator and cannot be used: %w", leafErr)
		}
		return b, nil
	}
	authority, err := b.authority()
	if err == nil && now.Before(authority.Leaf.NotBefore) {
		return b, fmt.Errorf("the stored CA is valid from %s, the clock here says %s: one of the clocks was wrong",
			authority.Leaf.NotBefore.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	if err != nil || ageing(authority.Leaf, now) {
		if authority, b.CACertificate, b.CAKey, err = newAuthority(now); err != nil {
			return b, err
		}
	} else if leafErr == nil && !ageing(certificate.Leaf, now) {
		return b, nil
	}
	b.Certificate, b.Key, err = newLeaf(authority, names, now)
	return b, err
}

// ageing is true when less than a third of a certificate's life is left.
func ageing(c *x509.Certificate, now time.Time) bool {
	return c.NotAfter.Sub(now) < c.NotAfter.Sub(c.NotBefore)/3
}

// serving returns the bundle's certificate if a client that trusts its CA would accept it for every name.
func (b Bundle) serving(names []string, now time.Time) (tls.Certificate, error) {
	certificate, err := tls.X509KeyPair(b.Certificate, b.Key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("read serving certificate: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(b.CACertificate) {
		return tls.Certificate{}, errors.New("read CA certificate: no PEM certificate in it")
	}
	intermediates := x509.NewCertPool()
	for _, der := range certificate.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			intermediates.AddCert(c)
		}
	}
	for _, name := range names {
		if net.ParseIP(name) != nil {
			name = "[" + name + "]" // how crypto/x509 wants an address
		}
		_, err := certificate.Leaf.Verify(x509.VerifyOptions{
			DNSName: name, Roots: roots, Intermediates: intermediates, CurrentTime: now,
		})
		if err != nil {
			return tls.Certificate{}, fmt.Errorf("verify serving certificate: %w", err)
		}
	}
	return certificate, nil
}

// authority returns the CA with its key.
func (b Bundle) authority() (tls.Certificate, error) {
	authority, err := tls.X509KeyPair(b.CACertificate, b.CAKey)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("read CA: %w", err)
	}
	if !authority.Leaf.IsCA {
		return tls.Certificate{}, errors.New("read CA: its certificate may not sign others")
	}
	return authority, nil
}

func newAuthority(now time.Time) (authority tls.Certificate, certificatePEM, keyPEM []byte, err error) {
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "foretide-ca"},
		NotBefore: now.Add(-clockSkew), NotAfter: now.Add(authorityValidity),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	if certificatePEM, keyPEM, err = sign(template, nil); err != nil {
		return tls.Certificate{}, nil, nil, fmt.Errorf("make CA: %w", err)
	}
	authority, err = tls.X509KeyPair(certificatePEM, keyPEM)
	return authority, certificatePEM, keyPEM, err
}

func newLeaf(authority tls.Certificate, names []string, now time.Time) (certificatePEM, keyPEM []byte, err error) {
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "foretide-aggregator"},
		NotBefore: now.Add(-clockSkew), NotAfter: now.Add(leafValidity),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if template.NotAfter.After(authority.Leaf.NotAfter) {
		template.NotAfter = authority.Leaf.NotAfter
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	if certificatePEM, keyPEM, err = sign(template, &authority); err != nil {
		return nil, nil, fmt.Errorf("make serving certificate for %v: %w", names, err)
	}
	return certificatePEM, keyPEM, nil
}

// sign makes an ECDSA P-256 key and a certificate for it, signed by the authority, by itself when that is nil.
func sign(template *x509.Certificate, authority *tls.Certificate) (certificatePEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	parent, signer := template, crypto.PrivateKey(key)
	if authority != nil {
		parent, signer = authority.Leaf, authority.PrivateKey
	}
	// A nil serial number makes crypto/x509 draw a random one.
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), nil
}
