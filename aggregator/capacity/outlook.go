package capacity

import (
	"maps"
	"math"
	"slices"
	"time"
)

// Need is what one workload needs now and is forecast to need.
type Need struct {
	// Type is that of its GPUs.
	Type string
	// NowGPUs is what its decided replicas hold.
	NowGPUs float64
	// LeastGPUs and MostGPUs are what its fewest and its most replicas hold.
	LeastGPUs, MostGPUs float64
	// Target is how busy its GPUs are to be, above 0 and up to 1: demand divided by it is what is needed.
	Target float64
	// Start is where the forecast begins, and Step how long each of its values is. Mean and Upper are demand in busy GPUs: expected, and
	// a quantile of it. Without a forecast they are empty, and what is needed now is taken to stay so.
	Start       time.Time
	Step        time.Duration
	Mean, Upper []float64
}

// Peak is the most GPUs of a type that are needed at one time within a horizon.
type Peak struct {
	Type    string
	Horizon time.Duration
	// Mean is the sum of what the workloads are each expected to need. Upper is the sum of a quantile of each, which is that quantile of
	// the sum if all are surprised at the same time; where their surprises have little to do with each other, it is seldom needed.
	Mean, Upper float64
}

// Outlook adds up, for each type of GPU, what workloads need now, and the most of it within each horizon, which are whole steps.
// Means add; quantiles do not, which is why Upper is on the safe side.
func Outlook(needs []Need, now time.Time, step time.Duration, horizons ...time.Duration) (needed map[string]float64, peaks []Peak) {
	needed = map[string]float64{}
	sums := map[string]*[2][]float64{}
	steps := int(slices.Max(append(horizons, step)) / step)
	for _, n := range needs {
		needed[n.Type] += n.NowGPUs
		if sums[n.Type] == nil {
			sums[n.Type] = &[2][]float64{make([]float64, steps), make([]float64, steps)}
		}
		for i := range steps {
			at := now.Add(time.Duration(i) * step)
			sums[n.Type][0][i] += n.gpus(n.Mean, at)
			sums[n.Type][1][i] += n.gpus(n.Upper, at)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		for _, h := range horizons {
			until := max(1, min(int(h/step), steps))
			peaks = append(peaks, Peak{Type: name, Horizon: h, Mean: slices.Max(sums[name][0][:until]), Upper: slices.Max(sums[name][1][:until])})
		}
	}
	return needed, peaks
}

// gpus is what is needed at a time for the demand forecast then.
func (n Need) gpus(demand []float64, at time.Time) float64 {
	if len(demand) == 0 || n.Step <= 0 || !(n.Target > 0) {
		return n.NowGPUs
	}
	i := min(max(int(at.Sub(n.Start)/n.Step), 0), len(demand)-1)
	if math.IsNaN(demand[i]) {
		return n.NowGPUs
	}
	return min(max(demand[i]/n.Target, n.LeastGPUs), n.MostGPUs)
}
