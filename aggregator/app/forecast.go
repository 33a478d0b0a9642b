package app

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// usualQuantiles are the levels of tasks that name none.
const usualQuantiles = "0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,0.95,0.99"

// toldEvery is how many forecasts there are between two lines of progress.
const toldEvery = 100

// Forecast is `aggregator forecast`: it answers each task that comes in with a forecast. A line that is no task, or whose history
// forecasts nothing, is named in the log and the rest goes on; at the end that is an error.
func Forecast(ctx context.Context, args []string, in io.Reader, out, log io.Writer) error {
	f := flag.NewFlagSet("aggregator forecast", flag.ContinueOnError)
	horizon := f.Duration("horizon", 24*time.Hour, "how far to forecast where a task does not say")
	levels := f.String("quantiles", usualQuantiles, "`levels` between 0 and 1 where a task names none, as a comma-separated list")
	if err := Parse(f, "Reads tasks, one line of JSON each, and writes their forecasts, one line each. A task has an id, step_seconds, the history "+
		"(null is missing) and the origin, the Unix time at which it ends; it may have start, horizon (steps), quantiles, time_zone "+
		"(whose clock habits live by), days that are like other weekdays ({\"2026-12-25\":\"Sunday\"}) and "+
		"scales of days with so many times the usual demand ({\"2026-11-27\":2.5}).", args, out); err != nil {
		return err
	}
	d := defaults{horizon: *horizon}
	if *horizon <= 0 {
		return fmt.Errorf("--horizon is %v: it must be more than 0", *horizon)
	}
	for text := range strings.SplitSeq(*levels, ",") {
		level, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		if err != nil || !(level > 0 && level < 1) {
			return fmt.Errorf("--quantiles has %q: each must be a number between 0 and 1", text)
		}
		d.quantiles = append(d.quantiles, level)
	}
	begin := cpuTime()
	made, failed := 0, 0
	next := lines(ctx, in)
	for l, more := next(); more; l, more = next() {
		if l.err != nil {
			return fmt.Errorf("read tasks: %w", l.err)
		}
		text, err := respond(l.text, d)
		if err != nil {
			failed++
			fmt.Fprintf(log, "line %d: %v\n", l.number, err)
			continue
		}
		if _, err := out.Write(text); err != nil {
			return fmt.Errorf("write forecasts: %w", err)
		}
		if made++; made%toldEvery == 0 {
			fmt.Fprintf(log, "%d forecasts\n", made)
		}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("stopped after %d forecasts", made)
	}
	fmt.Fprintf(log, "%d forecasts in %.1f s of CPU time\n", made, (cpuTime() - begin).Seconds())
	if failed > 0 {
		return fmt.Errorf("%d of %d lines have no forecast", failed, made+failed)
	}
	return nil
}

// respond turns a task into a forecast, each a line.
func respond(line []byte, d defaults) ([]byte, error) {
	t, err := parseTask(line, d)
	if err != nil {
		return nil, err
	}
	a, err := t.answer()
	if err != nil {
		return nil, fmt.Errorf("task %q: %w", t.ID, err)
	}
	text, err := json.Marshal(a)
	return append(text, '\n'), err
}

// line is one that has something on it, or why there are no more.
type line struct {
	number int
	text   []byte
	err    error
}

// lines gives one after the other as they are written, until the end of the input or of ctx. It may be left waiting for input.
func lines(ctx context.Context, in io.Reader) (next func() (line, bool)) {
	all := make(chan line)
	go func() {
		defer close(all)
		r := bufio.NewReader(in)
		for n := 1; ; n++ {
			text, err := r.ReadBytes('\n')
			l := line{number: n, text: bytes.TrimSpace(text)}
			if err != nil && !errors.Is(err, io.EOF) {
				l.err = err
			}
			if len(l.text) > 0 || l.err != nil {
				select {
				case all <- l:
				case <-ctx.Done():
					return
				}
			}
			if err != nil {
				return
			}
		}
	}()
	return func() (line, bool) {
		select {
		case l, more := <-all:
			return l, more
		case <-ctx.Done():
			return line{}, false
		}
	}
}

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil { // only for an address or a kind that is none
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
