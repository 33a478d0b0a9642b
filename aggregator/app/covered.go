package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// span is the time from From, which it leaves out, up to and with To.
type span struct{ From, To time.Time }

// covered remembers in a file what an import has read, for one query at one place, so that it can go on after it was stopped.
// The history itself cannot tell: a minute without a value may have been asked for, or not.
type covered struct {
	file string
	// What names the import, for whoever opens the file.
	Import []string
	Done   []span
}

// openCovered reads the file of an import, which is kept below the history's directory; afresh forgets what it says.
func openCovered(dir string, afresh bool, what ...string) (*covered, error) {
	name := fnv.New64a()
	for _, w := range what {
		fmt.Fprintf(name, "%q\n", w)
	}
	c := &covered{file: filepath.Join(dir, "import", fmt.Sprintf("%016x.json", name.Sum64())), Import: what}
	content, err := os.ReadFile(c.file)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && afresh:
		return c, nil
	case err != nil:
		return nil, fmt.Errorf("what was imported before: %w", err)
	}
	if err := json.Unmarshal(content, c); err != nil {
		return nil, fmt.Errorf("what was imported before: %q: %w (--again starts afresh)", c.file, err)
	}
	return c, nil
}

// missing returns what is not covered of (from, to], oldest first.
func (c *covered) missing(from, to time.Time) []span {
	var out []span
	for _, done := range c.Done {
		if done.From.After(from) && from.Before(to) {
			out = append(out, span{from, earliest(done.From, to)})
		}
		if done.To.After(from) {
			from = done.To
		}
	}
	if from.Before(to) {
		out = append(out, span{from, to})
	}
	return out
}

// add remembers that (from, to] is in the history.
func (c *covered) add(from, to time.Time) error {
	c.Done = append(c.Done, span{from.UTC(), to.UTC()})
	slices.SortFunc(c.Done, func(a, b span) int { return a.From.Compare(b.From) })
	merged := c.Done[:1]
	for _, s := range c.Done[1:] {
		last := &merged[len(merged)-1]
		if s.From.After(last.To) {
			merged = append(merged, s)
		} else if s.To.After(last.To) {
			last.To = s.To
		}
	}
	c.Done = merged
	if err := c.save(); err != nil {
		return fmt.Errorf("remember what was imported: %w", err)
	}
	return nil
}

func (c *covered) save() error {
	content, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(c.file), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(c.file+".tmp", content, 0o644); err != nil {
		return err
	}
	return os.Rename(c.file+".tmp", c.file)
}
