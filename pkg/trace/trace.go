// Package trace reads recorded load from CSV: series,timestamp_unix,value, one point a line.
//
// A point that is not in the file is missing data. It is not zero.
package trace

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"sort"
	"strconv"
	"strings"
	"time"
)

// maxUnix is the last second of the year 9999, the last that RFC 3339 can write.
const maxUnix = 253402300799

// Point is one value and the time at which it was recorded, in UTC.
type Point struct {
	Time  time.Time
	Value float64 // unit of the recording; finite, not negative
}

// Series is the points of one name, oldest first, no two at the same time.
type Series struct {
	Name   string
	Points []Point
}

// header is the first line of every file.
var header = [3]string{"series", "timestamp_unix", "value"}

// Read returns the series of a trace in the order in which they first appear, each with at least one point. Rows may come in
// any order. An error names the line, the field, its value and what is allowed there.
func Read(r io.Reader) ([]Series, error) {
	rows := csv.NewReader(r)
	rows.ReuseRecord = true
	rows.FieldsPerRecord = -1 // counted below, with a message that says what was expected
	if err := readHeader(rows); err != nil {
		return nil, err
	}
	var all []Series
	index := map[string]int{}
	lines := map[string][]int{} // line of each point, to name a duplicate
	for {
		record, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read trace: %w", err)
		}
		line, _ := rows.FieldPos(0)
		name, point, err := parse(record)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		i, ok := index[name]
		if !ok {
			i = len(all)
			name = strings.Clone(name)
			index[name] = i
			all = append(all, Series{Name: name})
		}
		all[i].Points = append(all[i].Points, point)
		lines[name] = append(lines[name], line)
	}
	if len(all) == 0 {
		return nil, errors.New("trace has a header and no points")
	}
	for i := range all {
		if err := order(all[i], lines[all[i].Name]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func readHeader(rows *csv.Reader) error {
	record, err := rows.Read()
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("trace is empty; the first line must be %s", strings.Join(header[:], ","))
	}
	if err != nil {
		return fmt.Errorf("read trace header: %w", err)
	}
	record[0] = strings.TrimPrefix(record[0], "\ufeff") // spreadsheets write a byte order mark
	if len(record) != len(header) || [3]string(record) != header {
		return fmt.Errorf("line 1: header is %q; it must be %q", strings.Join(record, ","), strings.Join(header[:], ","))
	}
	return nil
}

func parse(record []string) (string, Point, error) {
	if len(record) != len(header) {
		return "", Point{}, fmt.Errorf("row has %d fields; it must have %d: %s", len(record), len(header), strings.Join(header[:], ","))
	}
	if record[0] == "" {
		return "", Point{}, errors.New(`series is ""; it must be a name`)
	}
	seconds, err := strconv.ParseInt(record[1], 10, 64)
	if err != nil || seconds < 0 || seconds > maxUnix {
		return "", Point{}, fmt.Errorf("timestamp_unix is %q; it must be whole seconds from 0 to %d", record[1], int64(maxUnix))
	}
	value, err := strconv.ParseFloat(record[2], 64)
	if err != nil || math.IsNaN(value) || math.IsInf(value, 0) || value < 0 {
		return "", Point{}, fmt.Errorf("value is %q; it must be a finite number of at least 0 (leave the row out where data is missing)", record[2])
	}
	return record[0], Point{Time: time.Unix(seconds, 0).UTC(), Value: value}, nil
}

// order sorts the points of one series by time and refuses two at the same time.
func order(s Series, lines []int) error {
	sort.Sort(byTime{s.Points, lines})
	for i := 1; i < len(s.Points); i++ {
		if s.Points[i].Time.Equal(s.Points[i-1].Time) {
			first, second := min(lines[i-1], lines[i]), max(lines[i-1], lines[i])
			return fmt.Errorf("line %d: timestamp_unix is %d, which series %q already has in line %d; each time may appear once",
				second, s.Points[i].Time.Unix(), s.Name, first)
		}
	}
	return nil
}

type byTime struct {
	points []Point
	lines  []int
}

func (b byTime) Len() int           { return len(b.points) }
func (b byTime) Less(i, j int) bool { return b.points[i].Time.Before(b.points[j].Time) }
func (b byTime) Swap(i, j int) {
	b.points[i], b.points[j] = b.points[j], b.points[i]
	b.lines[i], b.lines[j] = b.lines[j], b.lines[i]
}
