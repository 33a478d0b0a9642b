package storage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// Contents says what one tier holds.
type Contents struct {
	Tier string
	// Series is how many series there are, Samples how many samples in all, Fewest and Most how many in one of them.
	Series, Samples, Fewest, Most int
	// First and Last are the times of the oldest and the newest sample; zero when there is none.
	First, Last time.Time
}

// Inspect reads the directory of a store without changing it, also while an aggregator has it open. Only series of the given
// name are counted; an empty name counts all.
func Inspect(ctx context.Context, dir, series string) ([]Contents, error) {
	var all []Contents
	for _, tier := range []string{"workload", "raw"} {
		c, err := inspectTier(ctx, filepath.Join(dir, tier), series)
		if err != nil {
			return nil, fmt.Errorf("inspect %q: %w", filepath.Join(dir, tier), err)
		}
		c.Tier = tier
		all = append(all, c)
	}
	return all, nil
}

func inspectTier(ctx context.Context, dir, series string) (c Contents, err error) {
	querier, done, err := readOnly(dir)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, done()) }()

	matcher := labels.MustNewMatcher(labels.MatchRegexp, model.MetricNameLabel, ".+")
	if series != "" {
		matcher = labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, series)
	}
	set := querier.Select(ctx, false, nil, matcher)
	for set.Next() {
		n := 0
		samples := set.At().Iterator(nil)
		for samples.Next() != chunkenc.ValNone {
			at := time.UnixMilli(samples.AtT()).UTC()
			if n++; c.First.IsZero() || at.Before(c.First) {
				c.First = at
			}
			if at.After(c.Last) {
				c.Last = at
			}
		}
		if err := samples.Err(); err != nil {
			return c, err
		}
		if c.Series++; c.Series == 1 || n < c.Fewest {
			c.Fewest = n
		}
		c.Samples, c.Most = c.Samples+n, max(c.Most, n)
	}
	return c, set.Err()
}

// readOnly opens a tier to read all of it, also while an aggregator has it open. done is to be called in the end.
func readOnly(dir string) (querier storage.Querier, done func() error, err error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, nil, err
	}
	sandbox, err := os.MkdirTemp("", "foretide-inspect-")
	if err != nil {
		return nil, nil, err
	}
	db, err := tsdb.OpenDBReadOnly(dir, sandbox, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(sandbox))
	}
	if querier, err = db.Querier(math.MinInt64, math.MaxInt64); err != nil {
		return nil, nil, errors.Join(err, db.Close(), os.RemoveAll(sandbox))
	}
	return querier, func() error { return errors.Join(querier.Close(), db.Close(), os.RemoveAll(sandbox)) }, nil
}
