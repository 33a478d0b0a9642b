package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
)

// child is this command as a receiver. It says where it listens on its first line, and its results, if it has any, on its last.
type child struct {
	address string
	process *exec.Cmd
	out     *bufio.Reader
}

func startChild(as, dir string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{process: exec.Command(self, "--as="+as, "--dir="+dir)}
	c.process.Stderr = os.Stderr
	c.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := c.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.process.Start(); err != nil {
		return nil, err
	}
	c.out = bufio.NewReader(out)
	if err := c.read(&c.address); err != nil {
		return nil, fmt.Errorf("receiver %s did not start: %w, %w", as, err, c.process.Wait())
	}
	return c, nil
}

func (c *child) read(into any) error {
	line, err := c.out.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, into)
}

// stop ends the receiver and reads its result; nil wants none.
func (c *child) stop(result any) error {
	if err := c.process.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if result != nil {
		if err := c.read(result); err != nil {
			return err
		}
	}
	_, _ = io.Copy(io.Discard, c.out)
	return c.process.Wait()
}

// say is how a receiver tells.
func say(what any) error {
	text, err := json.Marshal(what)
	if err != nil {
		return err
	}
	_, err = fmt.Println(string(text))
	return err
}

// untilDone waits for the end of ctx, unless something ends before.
func untilDone(ctx context.Context, ended <-chan error) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-ended:
		return err
	}
}
