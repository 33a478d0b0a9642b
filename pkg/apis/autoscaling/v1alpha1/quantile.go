package v1alpha1

import "strconv"

// Quantile is a quantile of a forecast in percent, 1 to 99, or as a share, 0.01 to 0.99.
type Quantile float64

// Level is the quantile between 0 and 1.
func (q Quantile) Level() float64 {
	if q < 1 {
		return float64(q)
	}
	return float64(q) / 100
}

// Percent is the quantile in percent, such as 97.5.
func (q Quantile) Percent() string { return strconv.FormatFloat(100*q.Level(), 'g', 4, 64) }

// valid tells whether it is within one of its two ranges.
func (q Quantile) valid() bool { return q >= 0.01 && q <= 0.99 || q >= 1 && q <= 99 }
