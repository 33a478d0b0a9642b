package report

import (
	"encoding/json"
	"math"
	"strconv"
	"time"
)

// Number is null in JSON where it is not known (NaN).
type Number float64

// MarshalJSON rounds to six digits: nothing here is known better.
func (n Number) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(n)) || math.IsInf(float64(n), 0) {
		return []byte("null"), nil
	}
	return strconv.AppendFloat(nil, float64(n), 'g', 6, 64), nil
}

// Line is a series on a grid: value i is of the step that ends at Start + (i+1)·Step; NaN is a gap.
type Line struct {
	Start  time.Time
	Step   time.Duration
	Values []float64
}

// MarshalJSON writes the values as numbers and null.
func (l Line) MarshalJSON() ([]byte, error) {
	values := make([]Number, len(l.Values))
	for i, v := range l.Values {
		values[i] = Number(v)
	}
	return json.Marshal(struct {
		Start       time.Time `json:"start"`
		StepSeconds float64   `json:"stepSeconds"`
		Values      []Number  `json:"values"`
	}{l.Start, l.Step.Seconds(), values})
}

// fold makes one value of the minutes of each Step, of the last also when it is not full.
func fold(values []float64, by func([]float64) float64) []float64 {
	const each = int(Step / time.Minute)
	out := make([]float64, 0, len(values)/each+1)
	for from := 0; from < len(values); from += each {
		out = append(out, by(values[from:min(from+each, len(values))]))
	}
	return out
}

// mean, largest and last are of the known values, NaN when there is none.
func mean(values []float64) float64 {
	sum, n := 0.0, 0
	for _, v := range values {
		if !math.IsNaN(v) {
			sum, n = sum+v, n+1
		}
	}
	return sum / float64(n) // 0/0 is NaN
}

func largest(values []float64) float64 {
	out := math.NaN()
	for _, v := range values {
		if !math.IsNaN(v) && !(v < out) {
			out = v
		}
	}
	return out
}

func last(values []float64) float64 {
	for i := len(values) - 1; i >= 0; i-- {
		if !math.IsNaN(values[i]) {
			return values[i]
		}
	}
	return math.NaN()
}

// joined puts what is forecast behind the past, on the past's grid. A step of the forecast that does not lie on that grid goes to the step
// that has its middle.
func joined(in Input, past, next []float64) Line {
	n := int(in.Now.Add(Ahead).Sub(in.Past.Start) / Step)
	out := Line{in.Past.Start, Step, make([]float64, max(n, len(past)))}
	for i := range out.Values {
		out.Values[i] = math.NaN()
		if i < len(past) {
			out.Values[i] = past[i]
		}
		if in.Next.Step <= 0 || i < len(past)-1 {
			continue
		}
		middle := out.Start.Add(time.Duration(i)*Step + Step/2)
		if k := int(math.Floor(float64(middle.Sub(in.Next.Start)) / float64(in.Next.Step))); math.IsNaN(out.Values[i]) && k >= 0 && k < len(next) {
			out.Values[i] = next[k]
		}
	}
	return out
}
