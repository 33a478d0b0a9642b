package storage

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// Recorded reads all that a store's directory has of a workload's demand, oldest first, without changing it, also while an aggregator has
// it open. Of a workload that it does not know there are no points; known are those that it knows.
func Recorded(ctx context.Context, dir string, workload Workload) (points []Point, known []Workload, err error) {
	querier, done, err := readOnly(filepath.Join(dir, "workload"))
	if err != nil {
		return nil, nil, fmt.Errorf("read %q: %w", dir, err)
	}
	defer func() { err = errors.Join(err, done()) }()
	set := querier.Select(ctx, true, nil, labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, demandSeries))
	for set.Next() {
		l := set.At().Labels()
		at := Workload{l.Get("namespace"), l.Get("kind"), l.Get("name")}
		known = append(known, at)
		if at != workload {
			continue
		}
		samples := set.At().Iterator(nil)
		for samples.Next() == chunkenc.ValFloat {
			t, v := samples.At()
			points = append(points, Point{time.UnixMilli(t).UTC(), v})
		}
		if err := samples.Err(); err != nil {
			return nil, nil, fmt.Errorf("read %q: %w", dir, err)
		}
	}
	return points, known, set.Err()
}
