package simulate

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestALineStandsForWhatIsMissing(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		values, want []float64
		bridged      int
	}{
		{[]float64{nan, 2, nan, nan, 8, nan}, []float64{2, 2, 4, 6, 8, 8}, 4},
		{[]float64{nan, 1, nan, nan, 4, nan}, []float64{1, 1, 2, 3, 4, 4}, 4},
		{[]float64{1, 2}, []float64{1, 2}, 0},
		{[]float64{nan, nan}, []float64{0, 0}, 2},
	} {
		got, n := Bridge(c.values)
		if d := cmp.Diff(c.want, got); d != "" || n != c.bridged {
			t.Errorf("%v: %d bridged; (-want +got):\n%s", c.values, n, d)
		}
	}
}
