package simulate

import (
	"math"
	"slices"
	"time"
)

// craneLike is Crane's EffectiveHPA with its defaults (gocrane/crane pkg/prediction/dsp, pkg/metricprovider/external_metric_provider.go):
// an HPA with two metrics, the load and the most of the forecast within the next hour (predictionWindowSeconds, 3600 in its examples). The
// forecast is made each twelve hours from the last fifteen days and repeats the last cycle, smoothed, where one of a day or a week is found;
// where none is, there is only the load. A forecast that ran out is a metric that fails, and then an HPA does not scale down.
//
// Crane's thresholds and its rounding down to whole numbers are in the unit of the metric, here hundredths of a GPU, as DCGM reports
// utilization.
type craneLike struct {
	Minutes
	target float64 // busy GPUs of a pod
	hpa    HPA

	update time.Time // when the forecast is made again
	plan   []float64 // hundredths of GPUs by the minute; nil is none
	first  int       // the minute that it begins with
}

const (
	craneHistory = 15*dayMinutes + 60
	craneUpdate  = 12 * time.Hour
	craneWindow  = time.Hour
	craneGap     = 60 // minutes without data, before which nothing counts
)

// Decide is one sync of the HPA.
func (c *craneLike) Decide(v View) int32 {
	if !v.Now.Before(c.update) {
		c.forecast()
		c.update = v.Now.Add(craneUpdate)
	}
	if c.plan == nil {
		return c.hpa.Decide(v)
	}
	want, known := c.hpa.proposed(v)
	most, valid := c.ahead(v.Now)
	switch {
	case known && valid:
		want = max(want, c.average(v, most))
	case valid:
		want = c.average(v, most)
	}
	if !known && !valid || (!known || !valid) && want < v.Replicas { // computeReplicasForMetrics: then this sync is over
		return v.Replicas
	}
	return c.hpa.settled(v, want)
}

// average is what an HPA makes of an external metric with a target of a value for each replica.
func (c *craneLike) average(v View, busy float64) int32 {
	if v.Replicas > 0 && math.Abs(busy/(c.target*float64(v.Replicas))-1) <= hpaTolerance {
		return v.Replicas
	}
	return c.hpa.clamp(podsFor(busy, c.target))
}

// ahead is the most of the forecast in the window, in whole hundredths of a GPU; one that is nothing is taken for none.
func (c *craneLike) ahead(now time.Time) (busy float64, valid bool) {
	from := c.index(now.Add(time.Minute-1)) - c.first
	to := c.index(now.Add(craneWindow)) - c.first
	most := 0.0
	for i := max(0, from); i <= to && i < len(c.plan); i++ {
		most = max(most, c.plan[i])
	}
	return math.Trunc(most) / 100, most > 0
}

// forecast makes the plan anew, or leaves none.
func (c *craneLike) forecast() {
	c.plan = nil
	samples, next := craneSamples(c.Busy)
	if len(samples) == 0 {
		return
	}
	period := cranePeriod(samples)
	if period == 0 || len(samples) < 2*period {
		return
	}
	cycles := len(samples) / period
	samples = samples[len(samples)-cycles*period:]
	past, last := samples[:(cycles-1)*period], samples[(cycles-1)*period:]
	best, least := craneEstimator{}, math.Inf(1)
	for _, spectrum := range [...]craneSpectrum{{3, 1}, {50, 0.05}} {
		smooth := spectrum.smoothed(past, period)
		for _, margin := range [...]float64{0.01, 0.10, 0.15, 0.20} {
			if missed := craneError(last, smooth, 1+margin); missed < least {
				best, least = craneEstimator{spectrum, margin}, missed
			}
		}
	}
	cycle := best.spectrum.smoothed(samples, period)
	for range cycles {
		for _, value := range cycle {
			c.plan = append(c.plan, value*(1+best.margin))
		}
	}
	c.first = next
}

// craneSamples are the last fifteen days in hundredths of GPUs, without what lies before a gap of more than an hour, with shorter ones
// bridged by a line, in whole hours, and what is beyond the outermost thousandths replaced by what came before it; and the minute after.
func craneSamples(busy []float64) (samples []float64, next int) {
	for i := max(0, len(busy)-craneHistory); i < len(busy); i++ {
		if math.IsNaN(busy[i]) {
			continue
		}
		value := 100 * busy[i]
		switch missing := i - next; {
		case len(samples) == 0 || missing >= craneGap:
			samples = samples[:0]
		default:
			last := samples[len(samples)-1]
			for k := 1; k <= missing; k++ {
				samples = append(samples, last+(value-last)*float64(k)/float64(missing+1))
			}
		}
		samples, next = append(samples, value), i+1
	}
	samples = samples[len(samples)%60:]
	sorted := slices.Clone(samples)
	low, high := quantileOf(sorted, 0.001), quantileOf(sorted, 0.999)
	for i := 1; i < len(samples); i++ {
		if samples[i] < low || samples[i] > high {
			samples[i] = samples[i-1]
		}
	}
	return samples, next
}

type craneEstimator struct {
	spectrum craneSpectrum
	margin   float64
}

// craneError is the mean error relative to what was, of forecasts that were too low by x the logarithm of 1-x to the base of 1/1.25; and
// where something was nearly nothing the mean absolute error.
func craneError(actual, smooth []float64, times float64) float64 {
	relative, absolute := 0.0, 0.0
	for i, was := range actual {
		off := smooth[i]*times - was
		absolute += math.Abs(off)
		switch {
		case was < 1e-3:
			relative = math.NaN()
		case off < 0:
			relative -= math.Log(1+off/was) / math.Log(1.25)
		default:
			relative += off / was
		}
	}
	if math.IsNaN(relative) {
		return absolute / float64(len(actual))
	}
	return relative / float64(len(actual))
}
