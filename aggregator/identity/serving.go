package identity

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// refreshEvery is how often a Managed certificate is looked after: a replica follows another one's renewal this fast.
const refreshEvery = time.Minute

// ServerTLS is the configuration of a server whose certificate comes from the given function, asked at each handshake. It
// offers HTTP/2 and HTTP/1.1 and wants TLS 1.2 at least.
func ServerTLS(certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certificate, NextProtos: []string{"h2", "http/1.1"}}
}

// Managed is a serving certificate kept by EnsureCertificate.
type Managed struct {
	store  CertificateStore
	names  []string
	logger *slog.Logger

	mu          sync.RWMutex
	certificate *tls.Certificate
	caPEM       []byte
}

// NewManaged ensures the certificate once and returns it; Run keeps it from ageing.
func NewManaged(ctx context.Context, store CertificateStore, names []string, now time.Time, logger *slog.Logger) (*Managed, error) {
	m := &Managed{store: store, names: names, logger: logger}
	return m, m.refresh(ctx, now)
}

// GetCertificate fits tls.Config.
func (m *Managed) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.certificate, nil
}

// CA returns the PEM certificate that clients are to trust.
func (m *Managed) CA() []byte {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.caPEM
}

// Run renews the certificate in time, and takes over what another replica stored, until the context ends. When the store
// cannot be reached the present certificate stays.
func (m *Managed) Run(ctx context.Context) {
	ticker := time.NewTicker(refreshEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if err := m.refresh(ctx, time.Now()); err != nil && ctx.Err() == nil {
				m.logger.Warn("serving certificate not renewed, going on with the present one", "err", err)
			}
		}
	}
}

func (m *Managed) refresh(ctx context.Context, now time.Time) error {
	certificate, caPEM, err := EnsureCertificate(ctx, m.store, m.names, now)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.certificate == nil || !certificate.Leaf.Equal(m.certificate.Leaf) {
		m.logger.Info("serving certificate", "names", m.names, "valid_until", certificate.Leaf.NotAfter.Format(time.RFC3339))
	}
	m.certificate, m.caPEM = &certificate, caPEM
	return nil
}

// Files is a serving certificate from two PEM files that somebody else looks after. They are read again when they change.
type Files struct {
	certificatePath, keyPath string
	logger                   *slog.Logger

	mu          sync.Mutex
	certificate *tls.Certificate
	// read is the state of the files that the certificate came from.
	read filesStamp
	// complaint is the last error logged, so that each is logged once.
	complaint string
}

type filesStamp [2]fileStamp

// NewFiles reads the files once.
func NewFiles(certificatePath, keyPath string, logger *slog.Logger) (*Files, error) {
	if certificatePath == "" || keyPath == "" {
		return nil, fmt.Errorf("certificate file is %q, key file is %q: both are needed", certificatePath, keyPath)
	}
	f := &Files{certificatePath: certificatePath, keyPath: keyPath, logger: logger}
	stamp, err := f.stamp()
	if err != nil {
		return nil, err
	}
	return f, f.load(stamp)
}

// GetCertificate fits tls.Config. Files that cannot be read, or do not fit together because only one has been replaced so far,
// leave the last good certificate in use.
func (f *Files) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	stamp, err := f.stamp()
	if err == nil && stamp == f.read {
		return f.certificate, nil
	}
	if err == nil {
		err = f.load(stamp)
	}
	if err != nil && err.Error() != f.complaint {
		f.logger.Warn("serving certificate not read again, going on with the last good one", "err", err)
		f.complaint = err.Error()
	}
	return f.certificate, nil
}

func (f *Files) load(stamp filesStamp) error {
	certificate, err := tls.LoadX509KeyPair(f.certificatePath, f.keyPath)
	if err != nil {
		return fmt.Errorf("read serving certificate %q with key %q: %w", f.certificatePath, f.keyPath, err)
	}
	f.certificate, f.read, f.complaint = &certificate, stamp, ""
	return nil
}

func (f *Files) stamp() (filesStamp, error) {
	certificate, err1 := stampOf(f.certificatePath)
	key, err2 := stampOf(f.keyPath)
	if err := errors.Join(err1, err2); err != nil {
		return filesStamp{}, err
	}
	return filesStamp{certificate, key}, nil
}

// fileStamp changes when a file is written or replaced.
type fileStamp struct {
	modified time.Time
	size     int64
}

func stampOf(path string) (fileStamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return fileStamp{}, err
	}
	return fileStamp{info.ModTime(), info.Size()}, nil
}
