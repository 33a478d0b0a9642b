package scrape

import (
	"bytes"
	"strconv"
)

// formatProblem says what is wrong with a line.
type formatProblem string

func (p formatProblem) Error() string { return string(p) }

// cutName cuts a name without quotes off the beginning; colons are for metrics only.
func cutName(line []byte, colon bool) (name, rest []byte) {
	n := 0
	for n < len(line) {
		b := line[n]
		letter := b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b == '_' || colon && b == ':'
		if !letter && (n == 0 || b < '0' || b > '9') {
			break
		}
		n++
	}
	return line[:n], line[n:]
}

// eachLabel reads what follows an opening brace to the closing one and returns what follows that. Values are handed on with
// their escapes: each has exactly one way to be written.
func eachLabel(rest []byte, do func(label, value []byte)) ([]byte, error) {
	for {
		rest = bytes.TrimLeft(rest, " \t")
		if len(rest) == 0 {
			return nil, formatProblem("no } after the labels")
		}
		if rest[0] == '}' {
			return rest[1:], nil
		}
		var label, value []byte
		var err error
		if rest[0] == '"' {
			label, rest, err = cutQuoted(rest)
		} else {
			label, rest = cutName(rest, false)
		}
		if err != nil {
			return nil, err
		}
		if len(label) == 0 {
			return nil, formatProblem("no label name")
		}
		rest = bytes.TrimLeft(rest, " \t")
		if len(rest) == 0 || rest[0] != '=' {
			return nil, formatProblem("no = after a label's name")
		}
		if value, rest, err = cutQuoted(bytes.TrimLeft(rest[1:], " \t")); err != nil {
			return nil, err
		}
		do(label, value)
		rest = bytes.TrimLeft(rest, " \t")
		switch {
		case len(rest) > 0 && rest[0] == ',':
			rest = rest[1:]
		case len(rest) == 0 || rest[0] != '}':
			return nil, formatProblem("no , or } after a label's value")
		}
	}
}

// cutQuoted cuts a string in quotes off the beginning.
func cutQuoted(line []byte) (text, rest []byte, err error) {
	if len(line) == 0 || line[0] != '"' {
		return nil, nil, formatProblem("no opening quote")
	}
	for i := 1; i < len(line); i++ {
		switch line[i] {
		case '"':
			return line[1:i], line[i+1:], nil
		case '\\':
			i++
			if i == len(line) || line[i] != '\\' && line[i] != 'n' && line[i] != '"' {
				return nil, nil, formatProblem(`a backslash that is not of \\, \n or \"`)
			}
		}
	}
	return nil, nil, formatProblem("no closing quote")
}

// number reads a value and makes sure that only a timestamp and an exemplar follow it.
func number(rest []byte) (float64, error) {
	value, rest := cutField(rest)
	v, err := parseFloat(value)
	if err != nil {
		return 0, formatProblem("the value is not a number")
	}
	after, rest := cutField(rest)
	if len(after) > 0 && after[0] != '#' {
		if _, err := parseFloat(after); err != nil {
			return 0, formatProblem("the timestamp is not a number")
		}
		after, _ = cutField(rest)
	}
	if len(after) > 0 && string(after) != "#" {
		return 0, formatProblem("something follows the value")
	}
	return v, nil
}

// cutField cuts what ends at a blank off the beginning, after blanks.
func cutField(line []byte) (field, rest []byte) {
	line = bytes.TrimLeft(line, " \t")
	if i := bytes.IndexAny(line, " \t"); i >= 0 {
		return line[:i], line[i:]
	}
	return line, nil
}

// parseFloat reads a number as the format has it: without Go's hexadecimal digits and underscores.
func parseFloat(field []byte) (float64, error) {
	if bytes.ContainsAny(field, "pP_") {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseFloat(string(field), 64)
}
