package replay

import (
	"math"
	"time"

	"github.com/foretide/foretide/aggregator/simulate"
	"github.com/foretide/foretide/pkg/trace"
	"github.com/foretide/foretide/test/recordings"
)

// What is flown of a recording.
const (
	// MeanGPUs is how many GPUs the flown part keeps busy on average: what a recording counts is scaled to that.
	MeanGPUs = 8
	// Step is that of a flight, Flown how long it is at most.
	Step  = 15 * time.Second
	Flown = 7 * 24 * time.Hour

	leastBefore = 7 * 24 * time.Hour
	mostBefore  = 28 * 24 * time.Hour
	mostMissing = 0.2 // share of what is flown
)

// Flight is a recording as the load of GPUs.
type Flight struct {
	// Name is <data set>/<series>, Grain the recording's own step. Between the middles of its steps the load is on the line: finer
	// than that, nothing was recorded.
	Name  string
	Grain time.Duration
	// Before is the busy GPUs of the minutes before; NaN is not known.
	Before []float64
	// Trace is what is offered from then on. A gap is bridged by the line between what is known.
	Trace simulate.Trace
}

// Flights makes one of each recording in directory/<data set>/series.csv.gz that is two weeks long or longer, in the order of their
// names: first what was before, a week to four, and the week after it is flown. One is left out when more than a fifth of that week is
// missing, or nothing is asked for in it. The data set may be a pattern, such as *.
func Flights(directory, dataset string) ([]Flight, error) {
	sets, err := recordings.Read(directory, dataset)
	if err != nil {
		return nil, err
	}
	var all []Flight
	for _, set := range sets {
		for _, s := range set.Series {
			if f, ok := flight(s); ok {
				f.Name = set.Name + "/" + s.Name
				all = append(all, f)
			}
		}
	}
	return all, nil
}

// flight cuts a recording in two; false when it is not to be flown.
func flight(s trace.Series) (Flight, bool) {
	values, grain := s.Grid()
	before := min(mostBefore, time.Duration(len(values))*grain-Flown).Truncate(24 * time.Hour)
	if before < leastBefore || Flown%grain != 0 {
		return Flight{}, false
	}
	from := int(before / grain)
	sum, known, flown := 0.0, 0, values[from:from+int(Flown/grain)]
	for _, v := range flown {
		if !math.IsNaN(v) {
			sum, known = sum+v, known+1
		}
	}
	if sum == 0 || float64(known) < (1-mostMissing)*float64(len(flown)) {
		return Flight{}, false
	}
	scale := MeanGPUs * float64(known) / sum
	f := Flight{Grain: grain, Trace: simulate.Trace{Start: s.Points[0].Time.Add(before)}}
	for t := time.Minute / 2; t < before; t += time.Minute {
		f.Before = append(f.Before, scale*between(values, float64(t)/float64(grain)-0.5))
	}
	bridged, _ := simulate.Bridge(values)
	for t := before + Step/2; t < before+Flown; t += Step {
		f.Trace.Offered = append(f.Trace.Offered, scale*between(bridged, float64(t)/float64(grain)-0.5))
	}
	return f, true
}

// between is what lies on the line between two values.
func between(values []float64, at float64) float64 {
	i := max(0, min(len(values)-1, int(math.Floor(at))))
	j := min(len(values)-1, i+1)
	return values[i] + min(1, max(0, at-float64(i)))*(values[j]-values[i])
}
