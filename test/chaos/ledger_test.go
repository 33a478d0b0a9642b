//go:build chaos

package chaos

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/test/swarm"
)

// ledger is what was acknowledged.
type ledger struct {
	mu     sync.Mutex
	points map[string][]point // by series
	names  map[*telemetry.Layout][]string
	seen   map[frameID]bool
}

type point struct {
	at    int64 // Unix milliseconds
	value float64
}

// frameID tells frames apart: one that came twice because its acknowledgement was lost is one.
type frameID struct {
	node, session string
	sequence      uint64
}

func (l *ledger) acknowledged(f telemetry.Frame) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen == nil {
		l.points, l.names, l.seen = map[string][]point{}, map[*telemetry.Layout][]string{}, map[frameID]bool{}
	}
	id := frameID{f.Node, f.Session, f.Sequence}
	if l.seen[id] {
		return
	}
	l.seen[id] = true
	if l.names[f.Layout] == nil {
		l.names[f.Layout] = swarm.Series(f.Node, f.Layout)
	}
	for i, name := range l.names[f.Layout] {
		l.points[name] = append(l.points[name], point{f.End.UnixMilli(), f.Values[i]})
	}
}

// findings of a comparison. A sample is duplicated when the history has it and nobody was told so, or has it twice.
type findings struct {
	compared, lost, duplicated int
	example                    string
}

func (f *findings) note(n *int, format string, args ...any) {
	if *n++; f.example == "" {
		f.example = fmt.Sprintf(format, args...)
	}
}

// compare opens a copy of a tier's folder with a plain TSDB and compares every sample of nodes.
func (l *ledger) compare(ctx context.Context, tier, scratch string) (f findings, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	dir := filepath.Join(scratch, "copy")
	if err := os.CopyFS(dir, os.DirFS(tier)); err != nil {
		return f, err
	}
	o := tsdb.DefaultOptions()
	o.OutOfOrderTimeWindow = (4 * time.Hour).Milliseconds()
	db, err := tsdb.Open(dir, slog.New(slog.DiscardHandler), nil, o, nil)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	querier, err := db.Querier(math.MinInt64, math.MaxInt64)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, querier.Close()) }()
	left := map[string]bool{}
	for name := range l.points {
		left[name] = true
	}
	set := querier.Select(ctx, false, nil, labels.MustNewMatcher(labels.MatchRegexp, "node", ".+"))
	for set.Next() {
		name := swarm.Text(set.At().Labels().Map())
		var stored []point
		samples := set.At().Iterator(nil)
		for samples.Next() != chunkenc.ValNone {
			at, value := samples.At()
			stored = append(stored, point{at, value})
		}
		if err := samples.Err(); err != nil {
			return f, err
		}
		delete(left, name)
		f.compare(name, l.points[name], stored)
	}
	for name := range left {
		f.compare(name, l.points[name], nil)
	}
	return f, set.Err()
}

// compare walks along both.
func (f *findings) compare(series string, acknowledged, stored []point) {
	slices.SortFunc(acknowledged, func(a, b point) int { return cmp.Compare(a.at, b.at) })
	f.compared += len(acknowledged)
	i, j := 0, 0
	for i < len(acknowledged) || j < len(stored) {
		switch {
		case j == len(stored) || i < len(acknowledged) && acknowledged[i].at < stored[j].at:
			f.note(&f.lost, "%s at %v: lost %v", series, time.UnixMilli(acknowledged[i].at).UTC(), acknowledged[i].value)
			i++
		case i == len(acknowledged) || stored[j].at < acknowledged[i].at:
			f.note(&f.duplicated, "%s at %v: %v, which was not acknowledged or is there twice", series, time.UnixMilli(stored[j].at).UTC(), stored[j].value)
			j++
		default:
			if math.Float64bits(acknowledged[i].value) != math.Float64bits(stored[j].value) {
				f.note(&f.lost, "%s at %v: acknowledged %v, stored %v", series, time.UnixMilli(stored[j].at).UTC(), acknowledged[i].value, stored[j].value)
			}
			i++
			j++
		}
	}
}
