// Command docgen prints METRICS.md: every metric of both binaries, as the collectors that serve it tell its name, type, labels
// and meaning.
//
//	collectors of the rooms + one example of everything → registry → a table for each binary
//	catalogue → a table of where each reading comes from
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
` + "`--web.dcgm-names=false`" + ` leaves them out. Of a shared GPU they have a line for each container with its part and one without a pod with
the rest. A scraper that asks for OpenMetrics gets the units too. Besides these there are the Go runtime's (` + "`go_*`" + `) and the process's (` + "`process_*`" + `).
`

const aggregatorHead = `
## Aggregator

Port 8443. The names that begin with ` + "`ahpa_`" + ` are those of Alibaba Cloud's AHPA; ` + "`--web.ahpa-names`" + ` shows them. Besides these there are the Go runtime's (` + "`go_*`" + `), the process's (` + "`process_*`" + `), the scrape handler's (` + "`promhttp_*`" + `) and
those of Prometheus' own parts: the two stores (` + "`prometheus_tsdb_*`" + `, with the label ` + "`tier`" + `), the PromQL engine (` + "`prometheus_engine_*`" + `), and where
they are used remote reads and writes (` + "`prometheus_remote_*`" + `, ` + "`prometheus_wal_watcher_*`" + `, ` + "`prometheus_api_remote_write_*`" + `).
`

const catalogueHead = `
## Readings

What is read of a GPU and of a MIG instance, and what of it a container has. A name below ` + "`foretide_device_`" + ` is also one below
` + "`foretide_pod_`" + ` unless the container's part is "none", and below ` + "`foretide_unattributed_`" + ` where the parts add up. The source is
where NVML has it, best first.
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
	return head + agentHead + table(agent) + aggregatorHead + table(aggregator) +
		catalogueHead + catalogue(), nil
}
