package identity

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
)

// minTokenBytes keeps a word out of a dictionary from being a token.
const minTokenBytes = 16

// TokenFile authenticates agents outside Kubernetes: who knows one of the file's tokens may speak for any node. The file has a
// token a line; empty lines and lines that begin with # are left out. It is read again when it changes; a change that
// cannot be read leaves the last good tokens in force.
type TokenFile struct {
	path   string
	logger *slog.Logger

	mu     sync.Mutex
	read   fileStamp
	hashes [][sha256.Size]byte
	// complaint is the last error logged, so that each is logged once.
	complaint string
}

// NewTokenFile reads the file once.
func NewTokenFile(path string, logger *slog.Logger) (*TokenFile, error) {
	f := &TokenFile{path: path, logger: logger}
	return f, f.refresh()
}

// Authenticate compares the token with every one of the file in constant time. Error: *DeniedError.
func (f *TokenFile) Authenticate(_ context.Context, token string) (Caller, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.refresh(); err != nil && err.Error() != f.complaint {
		f.complaint = err.Error()
		f.logger.Warn("token file not read again, going on with the last good tokens", "err", err)
	}
	hash := sha256.Sum256([]byte(token))
	found := 0
	for _, known := range f.hashes {
		found |= subtle.ConstantTimeCompare(hash[:], known[:])
	}
	if found != 1 {
		return Caller{}, unauthenticated("token is not one of the token file's")
	}
	return Caller{Name: "token file", AnyNode: true}, nil
}

func (f *TokenFile) refresh() error {
	stamp, err := stampOf(f.path)
	if err != nil {
		return fmt.Errorf("read token file: %w", err)
	}
	if stamp == f.read {
		return nil
	}
	content, err := os.ReadFile(f.path)
	if err != nil {
		return fmt.Errorf("read token file: %w", err)
	}
	var hashes [][sha256.Size]byte
	line := 0
	for text := range strings.Lines(string(content)) {
		line++
		token := strings.TrimSpace(text)
		if token == "" || strings.HasPrefix(token, "#") {
			continue
		}
		if len(token) < minTokenBytes {
			return fmt.Errorf("read token file %q: line %d has a token of %d bytes: at least %d are needed", f.path, line, len(token), minTokenBytes)
		}
		hashes = append(hashes, sha256.Sum256([]byte(token)))
	}
	if len(hashes) == 0 {
		return fmt.Errorf("read token file %q: there is no token in it", f.path)
	}
	f.hashes, f.read, f.complaint = hashes, stamp, ""
	return nil
}
