package storage

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/fileutil"
	"github.com/prometheus/prometheus/tsdb/record"
	"github.com/prometheus/prometheus/tsdb/wlog"
)

const (
	// walDir is the folder of a tier's write-ahead log.
	walDir = "wal"
	// repairSuffix is what a segment's name ends with while the TSDB repairs it.
	repairSuffix = ".repair"
	// rewriting is the folder of a log in which a segment is written anew.
	rewriting = "rewriting"
)

// repairLogs makes the logs of a tier such that the TSDB reads from them all that can be read, and tells whether something was
// damaged: usually the record that was being written when the power went.
func repairLogs(tier string, logger *slog.Logger) (damaged bool, err error) {
	if err := undoInterruptedRepairs(tier, logger); err != nil {
		return false, err
	}
	for _, repair := range []func(string, *slog.Logger) (bool, error){repairLog, cleanLateLog} {
		found, err := repair(tier, logger)
		if err != nil {
			return false, fmt.Errorf("repair the logs: %w", err)
		}
		damaged = damaged || found
	}
	return damaged, nil
}

// undoInterruptedRepairs puts segments of the log back whose repair did not end. The TSDB repairs a segment by writing it anew; when
// the disk is full, or the process dies, it leaves the beginning in its place, takes that for all of it at the next start, and never
// looks again at the whole one, which it had renamed.
func undoInterruptedRepairs(tier string, logger *slog.Logger) error {
	for _, log := range []string{walDir, wlog.WblDirName} {
		left, err := filepath.Glob(filepath.Join(tier, log, "*"+repairSuffix))
		if err != nil {
			return err
		}
		for _, whole := range left {
			if err := fileutil.Rename(whole, strings.TrimSuffix(whole, repairSuffix)); err != nil {
				return fmt.Errorf("put back the segment of an interrupted repair: %w", err)
			}
			logger.Warn("a repair of the log was interrupted and begins again", "segment", whole)
		}
	}
	return nil
}

// repairLog cuts off what is damaged in the write-ahead log. The TSDB would do so while it opens, but would then not read the log of
// late samples, and would delete that unread at its next compaction.
func repairLog(tier string, logger *slog.Logger) (bool, error) {
	dir := filepath.Join(tier, walDir)
	first, last, err := segments(dir)
	if err != nil {
		return false, err
	}
	// What comes before the head's own file is not read when the tier opens.
	offset := 0
	if _, segment, at, err := tsdb.LastChunkSnapshot(tier); err == nil && segment >= first && segment <= last {
		first, offset = segment, at
	}
	for i := first; i <= last; i++ {
		damage := readSegment(wlog.SegmentName(dir, i), offset, nil)
		if damage != nil && offset > 0 {
			damage = readSegment(wlog.SegmentName(dir, i), 0, nil) // which counts from the beginning
		}
		offset = 0
		switch {
		case isDamage(damage):
			logger.Warn("write-ahead log is damaged: what can be read is kept, the rest is cut off", "dir", dir, "err", damage)
			log, err := wlog.New(logger, nil, dir, walCompression)
			if err != nil {
				return false, err
			}
			return true, errors.Join(log.Repair(damage), log.Close())
		case damage != nil:
			return false, damage
		}
	}
	return false, nil
}

// cleanLateLog cuts off what is damaged in the log of late samples, and takes out what it says of chunks: that the samples before
// are in one on the disk. When a process dies that may not be so, because the TSDB writes chunks later than it says. The TSDB
// notices only as long as no other chunk has been written behind that place, and then drops the samples. Samples that are both in
// a chunk and in the log do no harm.
func cleanLateLog(tier string, logger *slog.Logger) (damaged bool, err error) {
	dir := filepath.Join(tier, wlog.WblDirName)
	first, last, err := segments(dir)
	if err != nil {
		return false, err
	}
	for i := first; i <= last; i++ {
		marked := false
		file := wlog.SegmentName(dir, i)
		damage := readSegment(file, 0, func(r []byte) error {
			marked = marked || isMarker(r)
			return nil
		})
		if damage != nil && !isDamage(damage) {
			return damaged, damage
		}
		if damage != nil {
			damaged = true
			logger.Warn("the log of late samples is damaged: what can be read is kept, the rest is cut off", "segment", file, "err", damage)
		}
		if damage != nil || marked {
			if err := rewriteSegment(file, logger); err != nil {
				return damaged, fmt.Errorf("rewrite %q: %w", file, err)
			}
		}
	}
	return damaged, nil
}

// rewriteSegment puts in the place of a segment what can be read of it, without markers.
func rewriteSegment(file string, logger *slog.Logger) error {
	tmp := filepath.Join(filepath.Dir(file), rewriting)
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	log, err := wlog.NewSize(logger, nil, tmp, 2*wlog.DefaultSegmentSize, walCompression) // so large that there is only one
	if err != nil {
		return err
	}
	err = readSegment(file, 0, func(r []byte) error {
		if isMarker(r) {
			return nil
		}
		return log.Log(r)
	})
	if isDamage(err) {
		err = nil
	}
	if err = errors.Join(err, log.Close()); err == nil {
		err = fileutil.Rename(wlog.SegmentName(tmp, 0), file)
	}
	return errors.Join(err, os.RemoveAll(tmp))
}

func isMarker(r []byte) bool {
	var d record.Decoder
	return d.Type(r) == record.MmapMarkers
}

func isDamage(err error) bool {
	var corruption *wlog.CorruptionErr
	return errors.As(err, &corruption)
}

// segments returns the first and the last segment of a log; the last is less than the first when there is none.
func segments(dir string) (first, last int, err error) {
	first, last, err = wlog.Segments(dir)
	if errors.Is(err, os.ErrNotExist) || err == nil && last < 0 {
		return 0, -1, nil
	}
	return first, last, err
}

// readSegment calls each, unless it is nil, for every record from an offset on. The error is a *wlog.CorruptionErr when the segment
// is damaged. A segment that is not there has no records.
func readSegment(file string, offset int, each func(r []byte) error) error {
	segment, err := wlog.OpenReadSegment(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	in, err := wlog.NewSegmentBufReaderWithOffset(offset, segment)
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return errors.Join(err, segment.Close())
	}
	defer func() { _ = in.Close() }()
	records := wlog.NewReader(in)
	for records.Next() {
		if each == nil {
			continue
		}
		if err := each(records.Record()); err != nil {
			return err
		}
	}
	return records.Err()
}
