package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/foretide/foretide/test/forecastbench"
)

// peer is a program of someone else's forecasts. Its check ends well where what it needs is installed.
type peer struct {
	name    string
	command []string
	check   []string
	comes   string // the Debian packages that it comes with
}

const (
	pythonPeer = "test/bench/forecast/peers/exponential.py"
	rPeer      = "test/bench/forecast/peers/decomposed.R"
	// Debian's own, which its packages belong to.
	python = "/usr/bin/python3"
	r      = "/usr/bin/Rscript"
)

var (
	pythonCheck = []string{python, "-c", "import statsmodels"}
	rCheck      = []string{r, "-e", "library(forecast); library(jsonlite)"}
)

var peers = []peer{
	{"statsmodels HW", []string{python, pythonPeer, "holt-winters"}, pythonCheck, "python3-statsmodels"},
	{"statsmodels STL", []string{python, pythonPeer, "stl-ets"}, pythonCheck, "python3-statsmodels"},
	{"R mstl+ETS", []string{r, rPeer, "ets"}, rCheck, "r-cran-forecast and r-cran-jsonlite"},
	{"R mstl+theta", []string{r, rPeer, "theta"}, rCheck, "r-cran-forecast and r-cran-jsonlite"},
}

func peerNames() []string {
	var names []string
	for _, p := range peers {
		names = append(names, p.name)
	}
	return names
}

func (p peer) installed(ctx context.Context) error {
	if err := exec.CommandContext(ctx, p.check[0], p.check[1:]...).Run(); err != nil {
		return fmt.Errorf("%s is not installed (%w)", p.comes, err)
	}
	return nil
}

// ask gives a program the tasks and returns what it answers. What it says goes to stderr. One that ends badly may have answered some.
func ask(ctx context.Context, cases []forecastbench.Case, stderr io.Writer, command ...string) (map[string]forecastbench.Forecast, error) {
	var tasks bytes.Buffer
	for _, c := range cases {
		line, err := json.Marshal(c.Task)
		if err != nil {
			return nil, fmt.Errorf("task %s: %w", c.ID, err)
		}
		tasks.Write(append(line, '\n'))
	}
	program := exec.CommandContext(ctx, command[0], command[1:]...)
	program.Stdin, program.Stderr = &tasks, stderr
	// One thread each, so that CPU time is what one forecast costs.
	program.Env = append(os.Environ(), "OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1")
	out, err := program.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := program.Start(); err != nil {
		return nil, err
	}
	answers, err := decode(out)
	if err := errors.Join(err, program.Wait()); err != nil {
		return answers, fmt.Errorf("%q: %w", command, err)
	}
	if len(answers) == 0 {
		return nil, fmt.Errorf("%q answered nothing", command)
	}
	return answers, nil
}

// decode reads forecasts to the end.
func decode(r io.Reader) (map[string]forecastbench.Forecast, error) {
	all := map[string]forecastbench.Forecast{}
	for d := json.NewDecoder(bufio.NewReader(r)); ; {
		var f forecastbench.Forecast
		err := d.Decode(&f)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			_, _ = io.Copy(io.Discard, r) // the program is not to wait for its reader
			return nil, fmt.Errorf("forecast %d: %w", len(all)+1, err)
		}
		all[f.ID] = f
	}
}
