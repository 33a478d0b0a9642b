package simulate

import (
	"math"
	"math/cmplx"
	"math/rand/v2"
	"testing"
)

func TestTheTransformIsTheDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{1, 2, 7, 60, 97, 360} {
		x := make([]complex128, n)
		for i := range x {
			x[i] = complex(r.NormFloat64(), r.NormFloat64())
		}
		got := fourier(x)
		for k := range x {
			want := complex(0, 0)
			for i, v := range x {
				want += v * cmplx.Rect(1, -2*math.Pi*float64(i*k%n)/float64(n))
			}
			if cmplx.Abs(got[k]-want) > 1e-9*float64(n) {
				t.Fatalf("%d of %d: %v, want %v", k, n, got[k], want)
			}
		}
	}
}

func TestWhiteNoiseStandsOutOnceInAHundredTimes(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	out, n := 0, 512
	for range 2000 {
		x := make([]float64, n)
		for i := range x {
			x[i] = r.NormFloat64()
		}
		spectrum := fourier(centred(x))
		threshold := outstanding(spectrum)
		for _, v := range spectrum[1 : n/2] {
			if cmplx.Abs(v) > threshold {
				out++
				break
			}
		}
	}
	if out < 8 || out > 34 {
		t.Errorf("%d of 2000 times, want about 20", out)
	}
}

func TestAPeakRisesAndFalls(t *testing.T) {
	for name, c := range map[string]struct {
		x    []float64
		want bool
	}{
		"a peak":        {[]float64{1, 2, 3, 2, 1}, true},
		"a rise":        {[]float64{1, 2, 3, 4, 5}, false},
		"a fall":        {[]float64{5, 4, 3, 2, 1}, false},
		"a small bump":  {[]float64{5, 2, 3, 2, 1}, false},
		"a noisy slope": {[]float64{0, 2, 3, 3, 0}, true},
	} {
		if got := isPeak(c.x, 2, 2); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestSmallShortWavesGoSmallLongOnesAreHalvedAndTheLargestStay(t *testing.T) {
	wave := func(i, minutes int) float64 { return math.Cos(2 * math.Pi * float64(i) / float64(minutes)) }
	large := func(i int) float64 { return 1000 + 300*wave(i, 1440) + 200*wave(i, 720) + 100*wave(i, 480) }
	samples := make([]float64, 2*dayMinutes)
	for i := range samples {
		samples[i] = large(i) + wave(i, 180) + wave(i, 30)
	}
	for name, c := range map[string]struct {
		spectrum craneSpectrum
		want     func(int) float64
	}{
		"by amplitude":      {craneSpectrum{3, 1}, func(i int) float64 { return large(i) + wave(i, 180)/2 }},
		"so many at least":  {craneSpectrum{3, 1000}, func(i int) float64 { return large(i) + wave(i, 180)/2 }},
		"and five of those": {craneSpectrum{5, 1000}, func(i int) float64 { return large(i) + wave(i, 180) + wave(i, 30) }},
	} {
		for i, got := range c.spectrum.smoothed(samples, dayMinutes) {
			if math.Abs(got-c.want(i)) > 1e-6 {
				t.Fatalf("%s: minute %d is %g, want %g", name, i, got, c.want(i))
			}
		}
	}
	for i, got := range (craneSpectrum{3, 1}).smoothed(make([]float64, 2*dayMinutes), dayMinutes) {
		if got != 0.01 {
			t.Fatalf("minute %d of nothing is %g", i, got)
		}
	}
}
