package scaling

import "time"

// gpuPolicy is a policy whose one metric is gpu.
type gpuPolicy struct {
	Policy
	TargetPercent int32
}

// gpu is a workload of which that is known.
type gpu struct {
	Current    int32
	Pods       []Pod
	GPUsPerPod float64
	Forecast   Demand
	Settling   bool
}

func (g gpu) metric(percent int32) Metric {
	return Metric{Name: "gpu", Target: Target{Percent: percent}, Pods: g.Pods, PerReplica: g.GPUsPerPod, Forecast: g.Forecast, Hides: true}
}

func decide(p gpuPolicy, in gpu, w *Window, now time.Time) Decision {
	return Decide(p.Policy, Inputs{Current: in.Current, Metrics: []Metric{in.metric(p.TargetPercent)}, Settling: in.Settling}, w, now)
}

// percent is the utilization that a decision was made on.
func percent(d Decision) *int32 {
	if len(d.Metrics) == 0 {
		return nil
	}
	return d.Metrics[0].Percent
}
