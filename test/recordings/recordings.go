// Package recordings reads the recorded series that tests and benchmarks use: <data set>/series.csv.gz.
package recordings

import (
	"cmp"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/foretide/foretide/pkg/trace"
)

// Set is a data set.
type Set struct {
	Name   string
	File   string
	Series []trace.Series // by name
}

// Read reads directory/<data set>/series.csv.gz, by name; the data set may be a pattern, such as *. It is an error when there is none.
func Read(directory, dataset string) ([]Set, error) {
	files, err := filepath.Glob(filepath.Join(directory, dataset, "series.csv.gz"))
	if err != nil {
		return nil, fmt.Errorf("find data: %w", err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no data: %s has no <dataset>/series.csv.gz with a <dataset> like %q", directory, dataset)
	}
	var all []Set
	for _, file := range files {
		series, err := read(file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		slices.SortFunc(series, func(a, b trace.Series) int { return cmp.Compare(a.Name, b.Name) })
		all = append(all, Set{Name: filepath.Base(filepath.Dir(file)), File: file, Series: series})
	}
	return all, nil
}

func read(file string) ([]trace.Series, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	return trace.Read(r)
}
