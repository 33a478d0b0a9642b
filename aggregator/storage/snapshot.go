package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/prometheus/tsdb/fileutil"
)

// manifestFile is what makes a folder a snapshot; it is written last.
const manifestFile = "snapshot.json"

// manifest describes a snapshot.
type manifest struct {
	// Version is of the form of the snapshot.
	Version int `json:"version"`
	// Time is when it was begun: all that had been acknowledged by then is in it.
	Time time.Time `json:"time"`
	// Store is the identity of the store it is of.
	Store string `json:"store"`
	// Tiers are its folders, with the blocks in each.
	Tiers map[string][]string `json:"tiers"`
}

const manifestVersion = 1

// Snapshot writes all that has been acknowledged before to a new folder, while reading and writing go on: the blocks as hard
// links, which take no room, and what is not in a block yet as one more. The folder must be on the file system of the store and
// must not be there; it appears when it is complete. The raw tier must be open.
func (s *Store) Snapshot(ctx context.Context, dir string) error {
	if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
		return errors.Join(fmt.Errorf("snapshot to %q: it must not be there yet", dir), err)
	}
	tmp := dir + ".tmp"
	if err := os.RemoveAll(tmp); err != nil {
		return fmt.Errorf("snapshot to %q: remove what an interrupted one left: %w", dir, err)
	}
	m := manifest{Version: manifestVersion, Time: s.opts.Now().UTC(), Store: s.ID(), Tiers: map[string][]string{}}
	err := func() error {
		for _, t := range []*tier{s.workload, s.raw} {
			if err := t.snapshot(ctx, filepath.Join(tmp, t.name)); err != nil {
				return err
			}
			blocks, err := blocksIn(filepath.Join(tmp, t.name))
			if err != nil {
				return err
			}
			m.Tiers[t.name] = blocks
		}
		content, err := json.MarshalIndent(m, "", "  ")
		if err != nil {
			return err
		}
		if err := writeFile(filepath.Join(tmp, manifestFile), append(content, '\n')); err != nil {
			return err
		}
		return fileutil.Rename(tmp, dir)
	}()
	if err != nil {
		return errors.Join(fmt.Errorf("snapshot to %q: %w", dir, err), os.RemoveAll(tmp))
	}
	return nil
}

func (t *tier) snapshot(ctx context.Context, dir string) error {
	db, err := t.use()
	if err != nil {
		return err
	}
	defer db.release()
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	// The TSDB's snapshot has the samples that came in order. Those that came late it has once they are in blocks.
	if err := db.CompactOOOHead(ctx); err != nil {
		return fmt.Errorf("write late samples of tier %s to blocks: %w", t.name, err)
	}
	if err := db.Snapshot(dir, true); err != nil {
		return fmt.Errorf("tier %s: %w", t.name, err)
	}
	return nil
}

// Restore copies a snapshot to the directory of a store that is to be opened there; it must be empty or not there. The store will
// have an identity of its own, so that agents send again what they still have.
func Restore(snapshot, dir string) error {
	if err := restore(snapshot, dir); err != nil {
		return fmt.Errorf("restore %q to %q: %w", snapshot, dir, err)
	}
	return nil
}

func restore(snapshot, dir string) error {
	m, err := readManifest(snapshot)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != "lost+found" { // of a volume that was just made
			return fmt.Errorf("the directory is not empty, it has %q: name an empty one", e.Name())
		}
	}
	// A store does not open while this is there, so one that is half restored is not taken for a whole one.
	marker := filepath.Join(dir, restoring)
	if err := writeFile(marker, nil); err != nil {
		return err
	}
	for tier, blocks := range m.Tiers {
		for _, block := range blocks {
			if err := copyTree(filepath.Join(snapshot, tier, block), filepath.Join(dir, tier, block)); err != nil {
				return err
			}
		}
	}
	if err := os.Remove(marker); err != nil {
		return err
	}
	return syncDir(dir)
}

func readManifest(snapshot string) (m manifest, err error) {
	content, err := os.ReadFile(filepath.Join(snapshot, manifestFile))
	if errors.Is(err, os.ErrNotExist) {
		return m, fmt.Errorf("it has no %s: it is not a snapshot, or not a complete one", manifestFile)
	}
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(content, &m); err != nil {
		return m, fmt.Errorf("%s: %w", manifestFile, err)
	}
	if m.Version != manifestVersion {
		return m, fmt.Errorf("%s is of version %d: this program knows %d", manifestFile, m.Version, manifestVersion)
	}
	for tier, blocks := range m.Tiers {
		found, err := blocksIn(filepath.Join(snapshot, tier))
		if err != nil {
			return m, err
		}
		if tier != "workload" && tier != "raw" || len(found) != len(blocks) {
			return m, fmt.Errorf("tier %q has %d of %d blocks: the snapshot is damaged", tier, len(found), len(blocks))
		}
	}
	return m, nil
}

// copyTree copies a folder so that it is there after a loss of power.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rest, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rest)
		if !d.IsDir() {
			return copyFile(path, target)
		}
		if err := os.MkdirAll(target, 0o777); err != nil {
			return err
		}
		return syncDir(filepath.Dir(target))
	})
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close(), syncDir(filepath.Dir(to)))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
