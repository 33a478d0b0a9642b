package main

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/foretide/foretide/agent/nvml"
	"github.com/foretide/foretide/agent/process"
	"github.com/foretide/foretide/pkg/telemetry"
)

// report is everything that is printed.
type report struct {
	options    options
	date       time.Time
	status     nvml.Status
	measured   *measurement
	latencies  []latency
	problems   []string
	truths     []truth
	identified string
	// has says which of the catalogue's functions the library has.
	has func(function string) bool
}

// library looks up which functions the loaded library has. It says nothing of the devices.
func (r *report) library() error {
	lib, err := openLibrary(r.status.Library)
	if err != nil {
		return fmt.Errorf("open %s again: %w", r.status.Library, err)
	}
	r.has = func(function string) bool { return lib.symbol(function) != nil }
	return nil
}

// name is the GPU's and the driver's, for a file.
func (r *report) name() string {
	return strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '.', c == '-':
			return c
		}
		return '-'
	}, strings.ToLower(r.measured.devices[0].device.Model+"-"+r.status.Driver))
}

// text returns the report, and what is wrong.
func (r *report) text() (text string, wrong []string) {
	var b bytes.Buffer
	r.head(&b)
	for _, d := range r.measured.devices {
		r.readings(&b, d)
	}
	r.calls(&b)
	for _, d := range r.measured.devices {
		r.attribution(&b, d)
	}
	list(&b, "Problems the readers named", r.problems)
	wrong = r.judge()
	list(&b, "Wrong", wrong)
	return b.String(), wrong
}

func (r *report) head(out io.Writer) {
	fmt.Fprintf(out, "gpu-check: what Foretide's agent reads on this machine, and attributes\n\n")
	t := table(out, 0)
	for _, d := range r.measured.devices {
		row(t, fmt.Sprintf("device %d", d.device.Index), title(d.device))
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	row(t, "driver", r.status.Driver)
	row(t, "kernel", strings.TrimSpace(string(kernel))+" "+runtime.GOARCH)
	row(t, "date", r.date.UTC().Format(time.RFC3339))
	namespace := "not the host's"
	if process.New("").SeesHost() {
		namespace = "the host's"
	}
	row(t, "PID namespace", namespace)
	load := "none of its own"
	if r.options.load {
		load = "two processes on the first GPU that is whole"
	}
	row(t, "load", load)
	row(t, "measured", fmt.Sprintf("%d s, one look each second", r.options.seconds))
	_ = t.Flush()
}

// readings is table 1: every row of the catalogue.
func (r *report) readings(out io.Writer, d *deviceRecord) {
	fmt.Fprintf(out, "\n1. Readings of %s\n\n", title(d.device))
	t := table(out, 0)
	row(t, "metric", "value", "support", "NVML source")
	for _, c := range telemetry.Catalogue() {
		value := d.folded(c.Metric)
		row(t, c.Name, quantity(value, c.Unit), r.support(value, c), c.Source)
	}
	_ = t.Flush()
}

// support says why a value is there, or not.
func (r *report) support(value float64, c telemetry.Definition) string {
	if !math.IsNaN(value) {
		return "yes"
	}
	answer := "not in this library"
	for source := range strings.SplitSeq(c.Source, ", ") {
		function, _, _ := strings.Cut(source, " ")
		if strings.HasPrefix(function, "NVML_FI_") {
			function = "nvmlDeviceGetFieldValues"
		}
		switch {
		case slices.ContainsFunc(r.problems, func(p string) bool { return strings.Contains(p, function+":") }):
			return "failed, see the problems"
		case r.has(function):
			answer = "not supported by this device"
		}
	}
	return answer
}

// calls is table 2: how long each took.
func (r *report) calls(out io.Writer) {
	fmt.Fprintf(out, "\n2. Latency of the calls, milliseconds\n\n")
	t := table(out, tabwriter.AlignRight)
	row(t, "calls", "p50", "p99", "max", "  function")
	for _, l := range r.latencies {
		row(t, fmt.Sprint(l.calls), milliseconds(l.p50), milliseconds(l.p99), milliseconds(l.max), "  "+l.name)
	}
	_ = t.Flush()
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()*1000) }

// attribution is table 3: what each process did, and what attribution says it did.
func (r *report) attribution(out io.Writer, d *deviceRecord) {
	if len(d.uses) == 0 {
		return
	}
	fmt.Fprintf(out, "\n3. Attribution of %s\n\n", title(d.device))
	t := table(out, tabwriter.AlignRight)
	row(t, "", "GPU asked for", "kept busy", "driver says", "attributed", "difference", "memory asked for", "driver says", "attributed", "energy", "")
	for _, u := range d.uses {
		asked, kept, memory := r.truth(u)
		row(t, u.owner.Pod, quantity(asked, "ratio"), quantity(kept, "ratio"), quantity(u.driver.mean(), "ratio"),
			quantity(u.attributed.mean(), "ratio"), points(r.difference(u)), quantity(memory, "bytes"), quantity(u.driverHeld.newest(), "bytes"),
			quantity(u.attributedHeld.newest(), "bytes"), quantity(u.drawn.total(), "joules"), "")
	}
	row(t, "unattributed", "", "", "", quantity(d.rest.mean(), "ratio"), "", "", "", "", quantity(d.restDrawn.total(), "joules"), "")
	row(t, "device", "", "", "", quantity(d.folded(telemetry.UtilizationMean), "ratio"), "", "", "", quantity(d.folded(telemetry.MemoryUsed), "bytes"),
		quantity(d.grown(), "joules"), "")
	_ = t.Flush()
	if r.identified != "" {
		fmt.Fprintf(out, "\nThe load's processes were identified %s.\n", r.identified)
	}
}
