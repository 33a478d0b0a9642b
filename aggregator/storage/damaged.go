package storage

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/fileutil"
)

// damagedDir is the folder of a tier for blocks that could not be opened.
const damagedDir = "damaged"

// setDamagedBlocksAside moves the blocks that do not open out of the TSDB's sight: it would not open at all, or, where only
// meta.json is damaged, pass over them without a word. A block that opens may still have damage inside, which a query meets.
func setDamagedBlocksAside(dir string, logger *slog.Logger) error {
	blocks, err := blocksIn(dir)
	if err != nil {
		return err
	}
	for _, block := range blocks {
		from, to := filepath.Join(dir, block), filepath.Join(dir, damagedDir, block)
		damage := tryBlock(from)
		if damage == nil {
			continue
		}
		// Too many open files or a disk that does not answer say nothing about the block.
		if errno := syscall.Errno(0); errors.As(damage, &errno) && errno != syscall.ENOENT {
			return fmt.Errorf("try block %s: %w", block, damage)
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
			return err
		}
		if err := fileutil.Rename(from, to); err != nil {
			return errors.Join(fmt.Errorf("block %s is damaged: %w", block, damage), fmt.Errorf("move it to %q: %w", to, err))
		}
		logger.Warn("a block is damaged and was set aside: its hours are missing from the history", "block", block, "moved_to", to, "err", damage)
	}
	return nil
}

// damagedBlocks is how many have been set aside.
func damagedBlocks(dir string) int {
	blocks, err := blocksIn(filepath.Join(dir, damagedDir))
	if err != nil {
		return 0
	}
	return len(blocks)
}

// blocksIn lists the folders that are blocks. A directory that is not there has none.
func blocksIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var blocks []string
	for _, e := range entries {
		if _, err := ulid.ParseStrict(e.Name()); err == nil && e.IsDir() {
			blocks = append(blocks, e.Name())
		}
	}
	return blocks, nil
}

func tryBlock(dir string) error {
	block, err := tsdb.OpenBlock(slog.New(slog.DiscardHandler), dir, nil, nil)
	if err != nil {
		return err
	}
	return block.Close()
}
