package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/foretide/foretide/pkg/telemetry"
)

// readyIn is how long a load may take to be on the GPU: without persistence mode the driver is initialized first, and then it
// compiles the kernel.
const readyIn = 60 * time.Second

// worker is a process of this program's own that puts load on the GPU.
type worker struct {
	load  load
	owner telemetry.Owner // made up: the pod it stands for

	cmd    *exec.Cmd
	stdin  io.Closer
	lines  *bufio.Scanner
	stderr bytes.Buffer
}

// startWorker starts a load on a GPU, given by UUID, and returns when it is there.
func startWorker(ctx context.Context, l load, owner telemetry.Owner, uuid string) (*worker, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	w := &worker{load: l, owner: owner, cmd: exec.Command(self, l.args()...)}
	// NVML and CUDA number the GPUs differently.
	w.cmd.Env = append(os.Environ(), "CUDA_VISIBLE_DEVICES="+uuid)
	w.cmd.Stderr = &w.stderr
	// A load ends when its standard input does, so also when this process is killed.
	if w.stdin, err = w.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	w.lines = bufio.NewScanner(out)
	if err := w.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a load: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, readyIn)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = w.cmd.Process.Kill() })()
	if w.lines.Scan() && w.lines.Text() == sayReady {
		return w, nil
	}
	return nil, w.ended(ctx.Err())
}

// endIn is how long a load may take to end: its kernel first has to.
const endIn = 10 * time.Second

// stop ends the load and returns the share of the time for which it kept the GPU busy.
func (w *worker) stop() (kept float64, err error) {
	_ = w.stdin.Close()
	timer := time.AfterFunc(endIn, func() { _ = w.cmd.Process.Kill() })
	defer timer.Stop()
	told := false
	for w.lines.Scan() {
		_, err := fmt.Sscanf(w.lines.Text(), sayKept+" %g", &kept)
		told = told || err == nil
	}
	if told {
		return kept, w.cmd.Wait()
	}
	return 0, w.ended(nil)
}

// ended waits for a load that did not do what it should, and says why.
func (w *worker) ended(because error) error {
	_ = w.stdin.Close()
	err := cmp.Or(because, w.cmd.Wait(), errors.New("it ended too early"))
	return fmt.Errorf("%s: %w: %s", w.owner.Pod, err, strings.TrimSpace(w.stderr.String()))
}
