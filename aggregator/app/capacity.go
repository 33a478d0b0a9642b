package app

import (
	"cmp"
	"iter"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	rating "github.com/foretide/foretide/aggregator/accuracy"
	"github.com/foretide/foretide/aggregator/capacity"
	"github.com/foretide/foretide/aggregator/controller"
	"github.com/foretide/foretide/aggregator/exporter"
	"github.com/foretide/foretide/aggregator/workload"
)

// newCapacity counts what the directory knows of nodes and pods.
func newCapacity(d *workload.Directory) *capacity.Cluster {
	return capacity.New(capacity.Options{
		Nodes: d.GPUNodes, Changes: d.Changes,
		Pods: func() iter.Seq[capacity.Pod] {
			return func(yield func(capacity.Pod) bool) {
				for claim := range d.Claims() {
					if !yield(capacity.Pod(claim)) {
						return
					}
				}
			}
		},
	})
}

// room is the cluster's capacity as the controller's.
type room struct{ cluster *capacity.Cluster }

func (r room) Room(shape *corev1.PodSpec, node string, most int32) controller.Room {
	return controller.Room(r.cluster.Room(shape, node, most))
}

// horizons are those over which the need for GPUs is told.
var horizons = []lead{{"1h", time.Hour}, {"6h", 6 * time.Hour}, {"24h", 24 * time.Hour}}

// outlookStep is that of the outlook, and of forecasts.
const outlookStep = 5 * time.Minute

// clusterMetrics shows which GPUs there are and which are needed.
func (a *aggregator) clusterMetrics(c *capacity.Cluster) error {
	return a.registry.Register(exporter.NewCluster(exporter.ClusterOptions{
		GPUs: func() []exporter.GPUs {
			var out []exporter.GPUs
			for _, t := range c.Totals() {
				out = append(out, exporter.GPUs{Type: t.Type, Allocatable: float64(t.Allocatable), Requested: float64(t.Requested), Free: float64(t.Free)})
			}
			return out
		},
		Needed: a.board.needed,
	}))
}

// needed is what the policies need, as far as they were decided a moment ago.
func (b *board) needed(now time.Time) []exporter.Needed {
	var ahead []time.Duration
	for _, h := range horizons {
		ahead = append(ahead, h.ahead)
	}
	sums, peaks := capacity.Outlook(b.needs(now), now, outlookStep, ahead...)
	byType := map[string]*exporter.Needed{}
	for i, p := range peaks {
		if byType[p.Type] == nil {
			byType[p.Type] = &exporter.Needed{Type: p.Type, Now: sums[p.Type]}
		}
		byType[p.Type].Ever = append(byType[p.Type].Ever, exporter.Horizon{Name: horizons[i%len(horizons)].name, Mean: p.Mean, Upper: p.Upper})
	}
	out := make([]exporter.Needed, 0, len(byType))
	for _, n := range byType {
		out = append(out, *n)
	}
	slices.SortFunc(out, func(x, y exporter.Needed) int { return cmp.Compare(x.Type, y.Type) })
	return out
}

// needs are those of each workload, by the policy that scales it, or else by one that observes it.
func (b *board) needs(now time.Time) []capacity.Need {
	b.mu.Lock()
	defer b.mu.Unlock()
	chosen := map[controller.Workload]controller.Evaluation{}
	for _, e := range b.latest {
		if e.Decision == nil || e.GPUs.Type == "" || !(e.GPUs.PerPod > 0) || e.GPUTarget() < 1 || now.Sub(e.At) > exporter.DefaultStaleAfter {
			continue
		}
		if other, twice := chosen[e.Workload]; !twice || before(e, other) {
			chosen[e.Workload] = e
		}
	}
	out := make([]capacity.Need, 0, len(chosen))
	for _, e := range chosen {
		need := capacity.Need{
			Type: e.GPUs.Type, NowGPUs: float64(e.Decision.Replicas) * e.GPUs.PerPod, Target: float64(e.GPUTarget()) / 100,
			LeastGPUs: float64(e.Min) * e.GPUs.PerPod, MostGPUs: float64(e.Max) * e.GPUs.PerPod,
		}
		if f := e.Forecast.Forecast; f != nil && e.Forecast.Acts {
			if upper, err := f.Quantile(rating.Upper); err == nil {
				need.Start, need.Step, need.Mean, need.Upper = f.Start, f.Step, f.Mean, upper
			}
		}
		out = append(out, need)
	}
	return out
}

// before tells which of two policies of a workload is the one that counts.
func before(a, b controller.Evaluation) bool {
	if acts := a.Strategy.Acts(); acts != b.Strategy.Acts() {
		return acts
	}
	return a.Name < b.Name
}
