package forecast

import (
	"math/rand/v2"
	"testing"
)

func TestTheMedianOfTheLastSevenIsTheirMedian(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var week lastSeven
	var all []float64
	for i := range 1000 {
		v := float64(r.IntN(9)) // some are equal
		all = append(all, v)
		want := median(append([]float64(nil), all[max(0, len(all)-7):]...))
		if got := week.push(v); got != want {
			t.Fatalf("after %d values it is %g, want %g", i+1, got, want)
		}
	}
}

func TestDotIsTheSumOfTheProducts(t *testing.T) {
	for n := range 20 {
		a, b, want := make([]float64, n), make([]float64, n), 0.0
		for i := range a {
			a[i], b[i] = float64(i+1), float64(2*i-5)
			want += a[i] * b[i]
		}
		if got := dot(a, b); got != want {
			t.Errorf("of %d: %g, want %g", n, got, want)
		}
	}
}
