package simulate

import (
	"math"
	"math/cmplx"
	"slices"
)

// cranePeriod is the period that Crane finds in samples of minutes (gocrane/crane pkg/prediction/dsp/signal.go): of the frequencies that stand
// out, the one at whose period the autocorrelation has its highest peak. Only a day and a week count, 0 is none.
//
// Crane shuffles the samples a hundred times, and a frequency stands out above the second largest amplitude of all those. Here it is above what
// the largest of so many amplitudes of white noise exceeds once in a hundred times, which is the same and needs no chance.
func cranePeriod(samples []float64) int {
	unit := dayMinutes
	if len(samples) >= 2*weekMinutes {
		unit = weekMinutes
	}
	if len(samples) < 2*unit {
		return 0
	}
	samples = samples[len(samples)%unit:]
	n := len(samples)
	spectrum := fourier(centred(samples))
	threshold := outstanding(spectrum)
	correlation := autocorrelation(spectrum)
	period, highest := 0, 0.0
	for k, last := 2, 0; k < n/2; k++ {
		if lag := n / k; cmplx.Abs(spectrum[k]) > threshold && lag != last {
			last = lag
			if isPeak(correlation, lag, min(4*60, lag/2)) && correlation[lag] > highest {
				period, highest = lag, correlation[lag]
			}
		}
	}
	if period != dayMinutes && period != weekMinutes {
		return 0
	}
	return period
}

// outstanding is the amplitude that the largest of as many of white noise exceeds once in a hundred times.
func outstanding(spectrum []complex128) float64 {
	power := 0.0
	for _, x := range spectrum {
		power += real(x)*real(x) + imag(x)*imag(x)
	}
	n := float64(len(spectrum))
	return math.Sqrt(power / n * (math.Log(n/2) - math.Log(-math.Log(0.99)))) // powers of white noise are exponential
}

// isPeak tells whether lines through what is on either side go up to a point and down from it.
func isPeak(x []float64, at, reach int) bool {
	return at >= 1 && slope(x[max(0, at-reach):at+1]) > 0 && slope(x[at:min(len(x), at+reach+1)]) < 0
}

// slope is that of the line of least squares.
func slope(y []float64) float64 {
	middle, sum, squares := float64(len(y)-1)/2, 0.0, 0.0
	for i, v := range y {
		x := float64(i) - middle
		sum, squares = sum+x*v, squares+x*x
	}
	return sum / squares
}

// autocorrelation is that of a signal without its mean, round its end, by its spectrum (Wiener and Khinchin).
func autocorrelation(spectrum []complex128) []float64 {
	power := make([]complex128, len(spectrum))
	for i, x := range spectrum {
		power[i] = complex(real(x)*real(x)+imag(x)*imag(x), 0)
	}
	out := make([]float64, len(power))
	for i, x := range fourier(power) {
		out[i] = real(x)
	}
	whole := out[0]
	for i := range out {
		out[i] /= whole
	}
	return out
}

// craneSpectrum is how much of a signal Crane keeps (gocrane/crane pkg/prediction/dsp/estimators.go): of waves shorter than an hour the hundred
// largest, not those under an amplitude, but so many at least.
type craneSpectrum struct {
	least     int
	amplitude float64
}

// smoothed is the last period of what is kept. Crane clears the upper half of its spectrum by the same rule, so that small waves
// that are longer than an hour are halved; so are they here.
func (c craneSpectrum) smoothed(samples []float64, period int) []float64 {
	x := make([]complex128, len(samples))
	for i, v := range samples {
		x[i] = complex(v, 0)
	}
	x = fourier(x)
	n := len(x)
	sorted := make([]float64, 0, n/2)
	for _, v := range x[1 : n/2] {
		sorted = append(sorted, cmplx.Abs(v)/float64(n))
	}
	slices.Sort(sorted)
	slices.Reverse(sorted)
	threshold := max(c.amplitude, sorted[min(100, len(sorted))-1])
	if len(sorted) >= c.least {
		threshold = min(threshold, sorted[c.least-1])
	}
	for k := range x {
		if cmplx.Abs(x[k])/float64(n) < threshold && 60*k > n {
			x[k] = 0
		}
		x[k] = cmplx.Conj(x[k]) // the transform of the conjugate is n times the inverse's conjugate
	}
	out := make([]float64, period)
	for i, v := range fourier(x)[n-period:] {
		out[i] = real(v) / float64(n)
		if out[i] <= 0 {
			out[i] = 0.01
		}
	}
	return out
}

// centred is a signal without its mean.
func centred(samples []float64) []complex128 {
	mean := 0.0
	for _, v := range samples {
		mean += v / float64(len(samples))
	}
	out := make([]complex128, len(samples))
	for i, v := range samples {
		out[i] = complex(v-mean, 0)
	}
	return out
}

// fourier is the discrete Fourier transform, by the prime factors of the length (Cooley and Tukey 1965).
func fourier(x []complex128) []complex128 {
	n := len(x)
	roots := make([]complex128, n)
	for k := range roots {
		roots[k] = cmplx.Rect(1, -2*math.Pi*float64(k)/float64(n))
	}
	out := make([]complex128, n)
	transform(x, 1, out, roots, make([]complex128, n))
	return out
}

// transform writes the transform of each stride-th of x to out.
func transform(x []complex128, stride int, out, roots, scratch []complex128) {
	n := len(out)
	if n == 1 {
		out[0] = x[0]
		return
	}
	p := 2
	for n%p != 0 {
		p++
	}
	m := n / p
	for r := range p {
		transform(x[r*stride:], stride*p, out[r*m:(r+1)*m], roots, scratch)
	}
	part := scratch[:p]
	turn := len(roots) / p // the p-th roots of 1 among them
	for k := range m {
		for r := range p {
			part[r] = out[r*m+k] * roots[r*k*stride]
		}
		for q := range p {
			sum := part[0]
			for r, at := 1, q; r < p; r, at = r+1, at+q {
				if at >= p {
					at -= p
				}
				sum += part[r] * roots[at*turn]
			}
			out[q*m+k] = sum
		}
	}
}
