//go:build conformance

// Package conformance runs the shipped agent against everything it promises: a table of cases, each on a scripted libnvidia-ml.so.1 through
// the real go-nvml, some of them on a real kubelet too.
//
//	go test -tags conformance ./test/conformance        prints the table; the cases of the real kubelet need KUBECONFIG
//	… -update                                           writes it into agent/README.md
package conformance

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the table of results into agent/README.md")

// Where a case runs.
const (
	scripted = "scripted node" // the agent's binary, a scripted NVML, the kubelet's sockets and /proc played by test/node
	kubelet  = "real kubelet"  // the agent's DaemonSet on the cluster of test/cluster
)

// kase is one row of the table.
type kase struct {
	area string // what it is about, such as attribution
	name string // what holds, in words
	on   string
	run  func(t *testing.T)
}

// cases lists every case, in the order of the table.
func cases() []kase {
	var all []kase
	for _, area := range [][]kase{readings(), attributions(), faults(), expositions(), workloads(), engines(), onTheKubelet()} {
		all = append(all, area...)
	}
	return all
}

func TestConformance(t *testing.T) {
	results := make([]string, 0, len(cases()))
	passed := 0
	for _, c := range cases() {
		began := time.Now()
		result := "not run"
		t.Run(strings.ReplaceAll(c.area+"/"+c.name, " ", "_"), func(t *testing.T) {
			defer func() {
				switch {
				case t.Failed():
					result = "failed"
				case !t.Skipped():
					result = "passed"
				}
			}()
			if c.on == kubelet && os.Getenv("KUBECONFIG") == "" {
				t.Skip("needs the cluster of test/cluster: make conformance")
			}
			c.run(t)
		})
		if result == "passed" {
			passed++
		}
		results = append(results, result)
		fmt.Printf("%-7s %-13s %-12s %s (%.1f s)\n", result, c.on, c.area, c.name, time.Since(began).Seconds())
	}
	table := format(results)
	fmt.Print("\n", table)
	if *update {
		if err := writeReadme(table); err != nil {
			t.Error(err)
		}
	}
	fmt.Printf("BENCH conformance_cases_passed %d of %d\n", passed, len(results))
}

// format is the table in Markdown.
func format(results []string) string {
	var b strings.Builder
	fmt.Fprintln(&b, "| about | what holds | on | result |\n|---|---|---|---|")
	for i, c := range cases() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", c.area, c.name, c.on, results[i])
	}
	return b.String()
}

const (
	readme     = "../../agent/README.md"
	begin, end = "<!-- conformance: begin, written by make conformance -->\n", "<!-- conformance: end -->\n"
)

func writeReadme(table string) error {
	text, err := os.ReadFile(readme)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no place for the table: want the lines %q and %q", readme, begin, end)
	}
	return os.WriteFile(readme, []byte(before+begin+table+end+after), 0o644)
}
