package controller

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/foretide/foretide/aggregator/scaling"
)

// telemetryGrace is how long a pod may be ready before its missing telemetry is called a problem: its node's next batch may be
// on the way. The decision does not wait for it, it takes the load as unknown from the first moment.
const telemetryGrace = 15 * time.Second

// namedPods is how many pods a message names before it only counts them.
const namedPods = 3

// observe joins a target's pods with what they do and with what they did last, NaN where that is not known; it says whether the load
// still tells of before since, and whether it is known of every ready pod.
func (e *Evaluator) observe(target Target, since, now time.Time) (pods []scaling.Pod, recent []float64, settling bool, fresh Freshness) {
	pods = make([]scaling.Pod, 0, len(target.Pods))
	recent = make([]float64, 0, len(target.Pods))
	var missing []string
	var nodes []string // of those
	ready, devices, newest := 0, false, time.Time{}
	for _, pod := range target.Pods {
		seen, last := scaling.Pod{Name: pod.Name, State: pod.State, Holds: pod.GPUs}, math.NaN()
		devices = devices || pod.GPUs > 0
		load, ok := e.loads.Load(target.Workload.Namespace, pod.Name, pod.Node, since, now)
		// A pod of whose devices only some were read is not known: the lost one may be the busy one.
		if ok && float64(load.GPUs) >= pod.GPUs && load.GPUs > 0 && load.BusyGPUs >= 0 && !math.IsInf(load.BusyGPUs, 1) {
			seen.Holds, seen.Uses, seen.Known = float64(load.GPUs), load.BusyGPUs, true
			devices = true
			newest = latest(newest, load.At)
			if load.HasRecent {
				last = load.RecentBusyGPUs
			}
			settling = settling || pod.State == scaling.Ready && !load.Settled
		}
		if pod.State == scaling.Ready {
			ready++
			if !seen.Known && now.Sub(pod.ReadySince) >= telemetryGrace {
				missing = append(missing, describePod(pod, load, ok))
				nodes = append(nodes, pod.Node)
			}
		}
		pods, recent = append(pods, seen), append(recent, last)
	}
	fresh = freshness(target, ready, devices, missing, e.troubles(nodes, now))
	fresh.Newest = newest
	return pods, recent, settling, fresh
}

// troubles says what is wrong with the nodes, each once, as far as messages name them.
func (e *Evaluator) troubles(nodes []string, now time.Time) string {
	slices.Sort(nodes)
	nodes = slices.Compact(nodes)
	var said strings.Builder
	for _, node := range nodes[:min(namedPods, len(nodes))] {
		if trouble := e.loads.Trouble(node, now); node != "" && trouble != "" {
			fmt.Fprintf(&said, "; node %s: %s", node, trouble)
		}
	}
	return said.String()
}

func describePod(pod Pod, load Load, ok bool) string {
	node := "no node"
	if pod.Node != "" {
		node = "node " + pod.Node
	}
	if ok {
		return fmt.Sprintf("%s (%s, %d of %g GPUs read)", pod.Name, node, load.GPUs, pod.GPUs)
	}
	return fmt.Sprintf("%s (%s)", pod.Name, node)
}

func freshness(target Target, ready int, devices bool, missing []string, troubles string) Freshness {
	switch {
	case len(target.Pods) == 0:
		return Freshness{State: Unknown, Note: Note{"NoPods", "the target has no pods"}}
	case !devices:
		return Freshness{State: False, Note: Note{"NoGPUs", fmt.Sprintf("none of the %d pods asks for a GPU", len(target.Pods))}}
	case ready == 0:
		return Freshness{State: Unknown, Note: Note{"NoReadyPods", fmt.Sprintf("none of the %d pods is ready", len(target.Pods))}}
	case len(missing) == 0:
		return Freshness{State: True, Note: Note{"FreshTelemetry", fmt.Sprintf("the load of all %d ready pods is known", ready)}}
	}
	named := missing
	more := ""
	if len(missing) > namedPods {
		named, more = missing[:namedPods], fmt.Sprintf(" and %d more", len(missing)-namedPods)
	}
	return Freshness{State: False, Note: Note{"MissingTelemetry", fmt.Sprintf("no fresh telemetry of %d of %d ready pods: %s%s%s",
		len(missing), ready, strings.Join(named, ", "), more, troubles)}}
}
