package scrape

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"math"
	"strings"
)

const (
	// longestLine bounds a line that is wanted, and with it what a page costs in memory. Others are skipped at any length.
	longestLine = 16 << 10
	// mostSeries bounds the wanted series of one page.
	mostSeries = 1024
)

var (
	errTooManySeries = fmt.Errorf("more than %d series of the wanted metrics", mostSeries)
	errCutShort      = errors.New("the page is cut short: its last line has no end")
)

// formatError says where a page is not in the text format.
type formatError struct {
	line int
	what string
}

func (e *formatError) Error() string {
	return fmt.Sprintf("line %d is not in the Prometheus text format: %s", e.line, e.what)
}

// page reads pages in the Prometheus text format or in OpenMetrics, one after the other, a line at a time: what is not wanted
// costs no memory, whatever the size of the page. Timestamps and exemplars are read over. Names in quotes are never wanted:
// the format has them only for names that no inference server uses.
type page struct {
	wanted map[string]Definition
	lines  *bufio.Reader
	seed   maphash.Seed
	seen   map[uint64]struct{} // series of this page
	found  map[string]tally
}

// tally is what was found of one metric.
type tally struct {
	sum    float64
	series int
	// strange is true when a series had no finite value of 0 or more. The rest would tell less than the whole.
	strange bool
}

// content is what a page says.
type content struct {
	// values has the wanted metrics, combined over their series.
	values map[string]float64
	// leftOut counts the metrics that are not in values because a series was negative, infinite or not a number.
	leftOut int
	// repeated counts the series that came a second time; the first counts.
	repeated int
}

func newPage(wanted map[string]Definition) *page {
	return &page{wanted: wanted, lines: bufio.NewReaderSize(nil, longestLine), seed: maphash.MakeSeed(),
		seen: map[uint64]struct{}{}, found: map[string]tally{}}
}

// read reads one page to its end. An error means that none of it can be used; that of the reader is passed on.
func (p *page) read(body io.Reader) (content, error) {
	p.lines.Reset(body)
	defer p.lines.Reset(nil)
	clear(p.seen)
	clear(p.found)
	var c content
	for number := 1; ; number++ {
		line, err := p.lines.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull)
		switch {
		case errors.Is(err, io.EOF):
			if rest := bytes.TrimSpace(line); len(rest) > 0 && string(rest) != "# EOF" { // of which OpenMetrics needs no end
				return content{}, errCutShort
			}
			return p.combine(c), nil
		case err != nil && !long:
			return content{}, err
		}
		if err := p.take(bytes.TrimSuffix(line, []byte("\n")), long, &c); err != nil {
			if what := formatProblem(""); errors.As(err, &what) {
				err = &formatError{number, string(what)}
			}
			return content{}, err
		}
		if long {
			if err := p.skip(); err != nil {
				return content{}, err
			}
		}
	}
}

// skip reads over the rest of a line.
func (p *page) skip() error {
	for {
		_, err := p.lines.ReadSlice('\n')
		switch {
		case err == nil:
			return nil
		case errors.Is(err, io.EOF):
			return errCutShort
		case !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}

// take takes one line, of which a long one has more than is here.
func (p *page) take(line []byte, long bool, c *content) error {
	line = bytes.TrimLeft(line, " \t")
	if len(line) == 0 || line[0] == '#' {
		return nil
	}
	if line[0] == '{' {
		if next := bytes.TrimLeft(line[1:], " \t"); len(next) == 0 || next[0] != '"' {
			return formatProblem("no metric name in quotes after {")
		}
		return nil
	}
	name, rest := cutName(line, true)
	if len(name) == 0 {
		return formatProblem("no metric name")
	}
	d, isWanted := p.wanted[string(name)]
	switch {
	case isWanted && long:
		return formatProblem(fmt.Sprintf("longer than %d bytes", longestLine))
	case isWanted:
		return p.sample(d, rest, c)
	case long && len(rest) == 0:
		return formatProblem("endless metric name")
	case len(rest) == 0 || strings.IndexByte("{ \t+-.", rest[0]) < 0:
		return formatProblem("no value after the metric name")
	}
	return nil
}

// sample takes what follows the name of a wanted metric.
func (p *page) sample(d Definition, rest []byte, c *content) error {
	series := maphash.String(p.seed, d.Name)
	repeats := false
	rest = bytes.TrimLeft(rest, " \t")
	if len(rest) > 0 && rest[0] == '{' {
		var err error
		rest, err = eachLabel(rest[1:], func(label, value []byte) {
			if len(value) > 0 { // an empty label is none
				series += p.hash(label, value) // the order of labels has no meaning
			}
			repeats = repeats || d.repeats != nil && d.repeats(label, value)
		})
		if err != nil {
			return err
		}
	}
	v, err := number(rest)
	if err != nil || repeats {
		return err
	}
	if _, twice := p.seen[series]; twice {
		c.repeated++
		return nil
	}
	if len(p.seen) == mostSeries {
		return errTooManySeries
	}
	p.seen[series] = struct{}{}
	t := p.found[d.Name]
	t.sum, t.series = t.sum+v, t.series+1
	t.strange = t.strange || v < 0 || math.IsNaN(v) || math.IsInf(t.sum, 0)
	p.found[d.Name] = t
	return nil
}

func (p *page) hash(label, value []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(p.seed)
	_, _ = h.Write(label)
	_ = h.WriteByte('"') // cannot be in a label's name
	_, _ = h.Write(value)
	return h.Sum64()
}

func (p *page) combine(c content) content {
	c.values = make(map[string]float64, len(p.found))
	for name, t := range p.found {
		switch {
		case t.strange:
			c.leftOut++
		case p.wanted[name].Combine == CombineMean:
			c.values[name] = t.sum / float64(t.series)
		default:
			c.values[name] = t.sum
		}
	}
	return c
}
