package app

import (
	"context"
	"time"

	"github.com/foretide/foretide/aggregator/controller"
	"github.com/foretide/foretide/aggregator/metric"
	"github.com/foretide/foretide/aggregator/query"
	"github.com/foretide/foretide/aggregator/workload"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// metrics is what policies name besides busy GPUs, as the controller's Metrics.
type metrics struct{ metric.Reader }

func (m metrics) Metric(ctx context.Context, target controller.Target, spec v1alpha1.MetricSpec, now time.Time) (controller.Amounts, error) {
	pods := make([]metric.Pod, 0, len(target.Pods))
	for _, p := range target.Pods {
		pods = append(pods, metric.Pod{Name: p.Name, Node: p.Node, GPUs: p.GPUs, CPU: p.CPU, Memory: p.Memory})
	}
	read, err := m.Read(ctx, target.Workload.Namespace, pods, spec, now)
	out := controller.Amounts{Whole: read.Whole, Pods: make(map[string]controller.Amount, len(read.Pods))}
	for name, v := range read.Pods {
		out.Pods[name] = controller.Amount(v)
	}
	return out, err
}

// otherMetrics reads from the engine that all shards share, else from the history here.
func (a *aggregator) otherMetrics(usages *workload.Usages) (controller.Metrics, error) {
	var r metric.Reader
	if usages != nil {
		r.Usage = func(ctx context.Context, namespace string, now time.Time) (map[string]metric.Usage, error) {
			used, err := usages.Of(ctx, namespace, now)
			out := make(map[string]metric.Usage, len(used))
			for name, u := range used {
				out[name] = metric.Usage(u)
			}
			return out, err
		}
	}
	if a.shared != nil {
		r.Ask = func(ctx context.Context, promql string, at time.Time) ([]metric.Sample, error) {
			answer, err := a.shared.client.Range(ctx, promql, at, at, time.Second)
			out := make([]metric.Sample, 0, len(answer))
			for _, s := range answer {
				out = append(out, metric.Sample{Labels: s.Labels, Value: s.Points[len(s.Points)-1].Value})
			}
			return out, err
		}
		return metrics{r}, nil
	}
	asker, err := query.NewAsker(query.Options{Queryable: a.store.Queryable(), Timeout: a.options.QueryTimeout, MaxSamples: a.options.QueryMaxSamples, Logger: a.log})
	if err != nil {
		return nil, err
	}
	r.Ask = func(ctx context.Context, promql string, at time.Time) ([]metric.Sample, error) {
		answer, err := asker.Ask(ctx, promql, at)
		out := make([]metric.Sample, 0, len(answer))
		for _, s := range answer {
			out = append(out, metric.Sample(s))
		}
		return out, err
	}
	return metrics{r}, nil
}
