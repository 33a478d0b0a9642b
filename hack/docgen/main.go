// Command docgen prints METRICS.md: every metric of both binaries, as the collectors that serve it tell its name, type, labels
// and meaning.
//
//	collectors of the rooms + one example of everything → registry → a table for each binary
package main

import (
	"fmt"
	"os"
)

func main() {
	text, err := reference()
	if err != nil {
		fmt.Fprintln(os.Stderr, "docgen:", err)
		os.Exit(1)
	}
	fmt.Print(text)
}

const head = `# Metrics

Both binaries serve these at ` + "`/metrics`" + `. A value that is not known has no series; it is never shown as 0. Written by
` + "`make generate`" + ` from the collectors themselves.
`

const agentHead = `
## Agent

On every node, port 9400. The names that begin with ` + "`DCGM_`" + ` are those of NVIDIA's dcgm-exporter, with its labels and units;
` + "`--web.dcgm-names=false`" + ` leaves them out. Besides these there are the Go runtime's (` + "`go_*`" + `) and the process's (` + "`process_*`" + `).
`

const aggregatorHead = `
## Aggregator

Port 8443. Besides these there are the Go runtime's (` + "`go_*`" + `), the process's (` + "`process_*`" + `), the scrape handler's (` + "`promhttp_*`" + `) and
those of the two stores (` + "`prometheus_tsdb_*`" + `, with the label ` + "`tier`" + `).
`

// reference returns the whole document.
func reference() (string, error) {
	agent, err := agentMetrics()
	if err != nil {
		return "", fmt.Errorf("agent: %w", err)
	}
	aggregator, err := aggregatorMetrics()
	if err != nil {
		return "", fmt.Errorf("aggregator: %w", err)
	}
	return head + agentHead + table(agent) + aggregatorHead + table(aggregator), nil
}
