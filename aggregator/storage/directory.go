package storage

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/prometheus/prometheus/tsdb/fileutil"
)

// Names below the directory of a store.
const (
	lockFile = "lock"
	idFile   = "id"
	// restoring is there while a restore is under way, and stays behind when it is interrupted.
	restoring = "restoring"
)

// directory is what a store holds while it is open: no second process gets it.
type directory struct {
	path string
	// id names the history in it, for good.
	id   string
	lock fileutil.Releaser
}

// takeDirectory makes the directory when it is missing and locks it whole.
func takeDirectory(path string) (*directory, error) {
	if err := os.MkdirAll(path, 0o777); err != nil {
		return nil, fmt.Errorf("open %q: %w", path, err)
	}
	d := &directory{path: path}
	var err error
	if d.lock, _, err = fileutil.Flock(filepath.Join(path, lockFile)); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("open %q: another process holds %q: one aggregator at a time may use a directory",
				path, filepath.Join(path, lockFile))
		}
		return nil, fmt.Errorf("open %q: lock: %w", path, err)
	}
	if _, err := os.Stat(filepath.Join(path, restoring)); err == nil {
		return nil, errors.Join(fmt.Errorf("open %q: a restore into it was interrupted: empty it and restore again", path), d.release())
	}
	if d.id, err = identity(path); err != nil {
		return nil, errors.Join(fmt.Errorf("open %q: %w", path, err), d.release())
	}
	return d, nil
}

func (d *directory) release() error {
	if err := d.lock.Release(); err != nil {
		return fmt.Errorf("unlock %q: %w", d.path, err)
	}
	return nil
}

// identity returns the name of the history in a directory. A new history gets a random one.
func identity(dir string) (string, error) {
	file := filepath.Join(dir, idFile)
	content, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		id := rand.Text()
		return id, writeFile(file, []byte(id+"\n"))
	}
	if err != nil {
		return "", fmt.Errorf("read the identity: %w", err)
	}
	id := strings.TrimSpace(string(content))
	if id == "" || strings.ContainsAny(id, " \x00\n") {
		return "", fmt.Errorf("%q holds %q, which is not an identity: delete the file to get a new one; agents then send again what they still have",
			file, content)
	}
	return id, nil
}

// writeFile makes a file whole or not at all, also when the power goes.
func writeFile(file string, content []byte) error {
	tmp := file + ".tmp"
	f, err := os.Create(tmp)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = fileutil.Rename(tmp, file)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %q: %w", file, err), os.Remove(tmp))
	}
	return nil
}
