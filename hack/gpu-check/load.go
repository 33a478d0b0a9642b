package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"runtime"
	"time"
)

// period is what a load's share is of. It is shorter than any of the driver's sampling periods (1/6 s to 1 s).
const period = 100 * time.Millisecond

// maxShare leaves the time in which the next turn is got ready.
const maxShare = 0.9

// load is what one process does to the GPU: from each period's turn on it keeps all multiprocessors busy for its share. Turns are
// by the wall clock, so that two processes whose turns do not overlap never wait for each other, and what each of them uses is
// known exactly.
type load struct {
	share, turn float64 // of the period
	memoryMiB   uint64
	length      time.Duration // at most
}

func parseLoad(args []string) (load, error) {
	var l load
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	flags.Float64Var(&l.share, "share", 0.3, "share of the time to keep the GPU busy")
	flags.Float64Var(&l.turn, "turn", 0, "where in each period of 100 ms to begin, as a share of it")
	flags.Uint64Var(&l.memoryMiB, "memory-mib", 512, "device memory to allocate")
	seconds := flags.Float64("seconds", 60, "when to end at the latest; before that the end of standard input ends it")
	if err := flags.Parse(args); err != nil {
		return load{}, err
	}
	l.length = time.Duration(*seconds * float64(time.Second))
	switch {
	case !(l.share >= 0 && l.share <= maxShare) || !(l.turn >= 0 && l.turn < 1):
		return load{}, fmt.Errorf("--share=%v --turn=%v: a share is from 0 to %v, a turn from 0 to below 1", l.share, l.turn, maxShare)
	case l.length <= 0:
		return load{}, fmt.Errorf("--seconds=%v: it must be more than 0", *seconds)
	}
	return l, nil
}

func (l load) args() []string {
	return []string{"load", fmt.Sprint("--share=", l.share), fmt.Sprint("--turn=", l.turn), fmt.Sprint("--memory-mib=", l.memoryMiB),
		fmt.Sprint("--seconds=", l.length.Seconds())}
}

// What a load says on standard output: ready when it is on the GPU, and at its end the share for which it kept the GPU busy.
const (
	sayReady = "ready"
	sayKept  = "kept"
)

// runLoad puts the load on the GPU until in ends or its time is over.
func runLoad(args []string, in io.Reader, out io.Writer) error {
	l, err := parseLoad(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	runtime.LockOSThread() // the CUDA context belongs to it
	gpu, err := openCUDA(l.memoryMiB << 20)
	if err != nil {
		return err
	}
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		_, _ = io.Copy(io.Discard, in)
	}()
	if _, err := gpu.run(time.Millisecond); err != nil {
		return err
	}
	fmt.Fprintln(out, sayReady)
	kept, err := l.keep(gpu.run, stop)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, sayKept, kept)
	return nil
}

// keep runs the load, and returns the share of the time, in whole periods, for which it kept the GPU busy.
func (l load) keep(run func(time.Duration) (time.Duration, error), stop <-chan struct{}) (float64, error) {
	length := time.Duration(l.share * float64(period))
	var busy time.Duration
	first := l.next(time.Now())
	for turn := first; ; turn = l.next(time.Now()) {
		timer := time.NewTimer(time.Until(turn))
		select {
		case <-stop:
			timer.Stop()
			if turn.Equal(first) {
				return 0, nil
			}
			return busy.Seconds() / turn.Sub(first).Seconds(), nil
		case <-timer.C:
		}
		if turn.Sub(first) >= l.length {
			return busy.Seconds() / turn.Sub(first).Seconds(), nil
		}
		if length == 0 {
			continue
		}
		was, err := run(length)
		if err != nil {
			return 0, err
		}
		busy += was
	}
}

// next is when the load's turn comes after now.
func (l load) next(now time.Time) time.Time {
	turn := now.Truncate(period).Add(time.Duration(l.turn * float64(period)))
	if !turn.After(now) {
		turn = turn.Add(period)
	}
	return turn
}
