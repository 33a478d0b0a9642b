package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/foretide/foretide/test/cluster/proc"
)

// pick finds a component by name.
func pick(l layout, bin, name string) (component, error) {
	var known []string
	for _, c := range components(l, bin) {
		if c.name == name {
			return c, nil
		}
		known = append(known, c.name)
	}
	return component{}, fmt.Errorf("component %q: want one of %s", name, strings.Join(known, ", "))
}

// startOne starts one component of a cluster that was brought up before, and waits until it is ready. After a kubelet
// it also waits until the GPUs are offered again by the device plugin and the DRA driver, unless they are stopped.
func startOne(ctx context.Context, l layout, name string, out io.Writer) error {
	bin, err := cacheDir()
	if err != nil {
		return err
	}
	c, err := pick(l, bin, name)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := ensure(ctx, l, c); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, offering := range []string{"gpu-plugin", "dra-driver"} {
		if _, runs, err := proc.Running(l.pidFile(offering)); name != "kubelet" || err != nil || !runs {
			continue
		}
		c, err := pick(l, bin, offering)
		if err != nil {
			return err
		}
		if err := ensure(ctx, l, c); err != nil {
			return fmt.Errorf("%s: %w", offering, err)
		}
	}
	fmt.Fprintf(out, "%s is ready, %s\n", name, since(began))
	return nil
}

// stopOne stops one component and leaves everything else as it is.
func stopOne(l layout, name string, out io.Writer) error {
	if _, err := pick(l, "", name); err != nil {
		return err
	}
	began := time.Now()
	id, running, err := proc.Running(l.pidFile(name))
	if err != nil {
		return err
	}
	if !running {
		fmt.Fprintf(out, "%s is not running\n", name)
		return nil
	}
	if left := proc.Stop([]proc.ID{id}, 5*time.Second); len(left) > 0 {
		return fmt.Errorf("%s: %s does not end", name, proc.Describe(id))
	}
	fmt.Fprintf(out, "%s stopped, %s\n", name, since(began))
	return nil
}

// status prints a table of the components; it is an error if one of them is not ready.
func status(ctx context.Context, l layout, out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "COMPONENT\tPID\tALIVE\tREADY")
	bad := 0
	for _, c := range components(l, "") {
		id, alive, err := proc.Running(l.pidFile(c.name))
		if err != nil {
			return err
		}
		ready := "no: not running"
		if alive {
			ready = "yes"
			if err := c.ready(ctx, time.Time{}); err != nil {
				ready = "no: " + strings.ReplaceAll(err.Error(), "\n", " ")
			}
		}
		if ready != "yes" {
			bad++
		}
		fmt.Fprintf(table, "%s\t%d\t%t\t%s\n", c.name, id.Pid, alive, ready)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if bad > 0 {
		return fmt.Errorf("%d components are not ready", bad)
	}
	return nil
}
