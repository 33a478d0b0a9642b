package report

import (
	"math"
	"time"
)

// carried is for how many minutes a decision stands that no other follows: policies are decided at least every five minutes.
const carried = 5

// predicted is how many pods the policy would have had, and will have.
type predicted struct {
	// asked is per minute how many were asked for, serving how many of them had been for a lead time. NaN where it is not known.
	asked, serving []float64
	// decided and foretold count the minutes of asked that were decided then, and those made of the forecast.
	decided, foretold int
	next              []float64 // per step of the forecast
}

func (p predicted) decidedShare() float64 {
	return float64(p.decided) / float64(p.decided+p.foretold) // 0/0 is NaN
}

// predict tells the pods of the policy. What was decided is known where the aggregator kept it; otherwise it is what the forecast that was
// made a lead before asks for.
func predict(in Input) predicted {
	n := len(in.Past.Demand)
	p := predicted{asked: make([]float64, n), serving: make([]float64, n)}
	lead := int(math.Ceil(in.Lead.Minutes()))
	stands, age := math.NaN(), carried+1
	var window minima
	for i := range n {
		if age++; !math.IsNaN(in.Past.Desired[i]) {
			stands, age = in.Past.Desired[i], 0
		}
		if age <= carried {
			p.decided++
			p.asked[i] = stands
			p.serving[i] = window.add(i, lead, stands) // a pod takes that long to start
			continue
		}
		p.asked[i] = in.pods(in.Past.Upper[i], in.Past.Start.Add(time.Duration(i+1)*time.Minute))
		p.serving[i] = p.asked[i] // it was known in time
		if !math.IsNaN(p.asked[i]) {
			p.foretold++
		}
	}
	p.next = in.pending()
	return p
}

// pending are the pods of the next day: at each step so many as the largest demand needs within the lead time and a step.
func (in Input) pending() []float64 {
	if in.Next.Step <= 0 {
		return nil
	}
	reach := int((in.Lead+in.Next.Step-1)/in.Next.Step) + 1
	out := make([]float64, len(in.Next.Upper))
	for i := range out {
		peak := largest(in.Next.Upper[i:min(i+reach, len(out))])
		out[i] = in.pods(peak, in.Next.Start.Add(time.Duration(i+1)*in.Next.Step))
	}
	return out
}

// pods is how many carry a demand at the target, within the bounds of a moment.
func (in Input) pods(gpus float64, at time.Time) float64 {
	carries := in.TargetRatio * in.GPUsPerPod
	if math.IsNaN(gpus) || carries <= 0 {
		return math.NaN()
	}
	pods := needed(gpus, carries)
	if in.Bounds != nil {
		least, most := in.Bounds(at)
		pods = min(max(pods, float64(least)), float64(most))
	}
	return pods
}

// needed rounds up to whole pods; a quotient that should be whole is not lifted over it by rounding.
func needed(gpus, carries float64) float64 { return math.Ceil(gpus/carries - 1e-9) }

// minima finds the smallest of the last values in time that does not grow with how many those are.
type minima struct {
	at     []int
	values []float64
}

// add takes the value of a minute and returns the smallest of it and of so many minutes before.
func (m *minima) add(minute, before int, v float64) float64 {
	for len(m.at) > 0 && m.values[len(m.at)-1] >= v {
		m.at, m.values = m.at[:len(m.at)-1], m.values[:len(m.at)-1]
	}
	m.at, m.values = append(m.at, minute), append(m.values, v)
	for m.at[0] < minute-before {
		m.at, m.values = m.at[1:], m.values[1:]
	}
	return m.values[0]
}
