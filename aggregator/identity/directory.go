package identity

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Files of a Directory, and keys of the Secret.
const (
	caCertificateFile = "ca.crt"
	caKeyFile         = "ca.key"
	certificateFile   = "tls.crt"
	keyFile           = "tls.key"
)

// Directory is a CertificateStore of four files (ca.crt, ca.key, tls.crt, tls.key), mode 0600, in a folder of its own.
type Directory string

// Load reads the files; those that do not exist are empty. It waits for a Save that is under way: half of a set would look like somebody
// else's.
func (d Directory) Load(context.Context) (Bundle, string, error) {
	lock, err := d.lock(os.O_RDONLY, syscall.LOCK_SH)
	if errors.Is(err, fs.ErrNotExist) {
		b, digest, err := d.read()
		if lock, again := d.lock(os.O_RDONLY, syscall.LOCK_SH); again == nil { // the first Save began meanwhile
			defer func() { _ = lock.Close() }()
			return d.read()
		}
		return b, digest, err
	}
	if err != nil {
		return Bundle{}, "", fmt.Errorf("load certificate: %w", err)
	}
	defer func() { _ = lock.Close() }()
	return d.read()
}

// lock opens the lock file and locks it; closing it ends the lock.
func (d Directory) lock(flags, how int) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(string(d), "lock"), flags, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), how); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %q: %w", lock.Name(), err), lock.Close())
	}
	return lock, nil
}

func (d Directory) read() (Bundle, string, error) {
	var b Bundle
	for _, part := range b.parts() {
		read, err := os.ReadFile(filepath.Join(string(d), part.name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return Bundle{}, "", fmt.Errorf("load certificate: %w", err)
		}
		*part.content = read
	}
	return b, b.digest(), nil
}

// Save writes the files, each of them whole or not at all. A crash between two files leaves a set that does not fit together,
// which EnsureCertificate makes anew.
func (d Directory) Save(_ context.Context, b Bundle, version string) error {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return fmt.Errorf("save certificate: %w", err)
	}
	lock, err := d.lock(os.O_CREATE|os.O_RDWR, syscall.LOCK_EX)
	if err != nil {
		return fmt.Errorf("save certificate: %w", err)
	}
	defer func() { _ = lock.Close() }()
	if _, current, err := d.read(); err != nil {
		return err
	} else if current != version {
		return ErrConflict
	}
	for _, part := range b.parts() {
		if err := writeFile(filepath.Join(string(d), part.name), *part.content); err != nil {
			return fmt.Errorf("save certificate: %w", err)
		}
	}
	return nil
}

// Publish does nothing: ca.crt lies in the directory.
func (d Directory) Publish(context.Context, []byte) error { return nil }

type part struct {
	name    string
	content *[]byte
}

// parts lists the bundle's parts by file name. The CA's key comes first: where it is missing, the rest is somebody else's.
func (b *Bundle) parts() []part {
	return []part{
		{caKeyFile, &b.CAKey}, {caCertificateFile, &b.CACertificate}, {keyFile, &b.Key}, {certificateFile, &b.Certificate},
	}
}

func (b *Bundle) digest() string {
	h := sha256.New()
	for _, part := range b.parts() {
		fmt.Fprintf(h, "%d:%s", len(*part.content), *part.content)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// writeFile replaces a file by rename, so that a reader sees the old or the new content.
func writeFile(path string, content []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if _, err := f.Write(content); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
