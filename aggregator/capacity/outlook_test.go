package capacity

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const step = 5 * time.Minute

func TestOutlookAddsWhatWorkloadsNeedAtTheSameTime(t *testing.T) {
	day := func(from, to, busy float64) []float64 { // by the hour: busy from an hour to another, else idle
		out := make([]float64, 288)
		for i := range out {
			if h := float64(i) / 12; h >= from && h < to {
				out[i] = busy
			}
		}
		return out
	}
	need := func(of string, mean, upper []float64) Need {
		return Need{Type: of, NowGPUs: 1, LeastGPUs: 1, MostGPUs: 20, Target: 0.5, Start: noon, Step: step, Mean: mean, Upper: upper}
	}
	needs := []Need{
		need("A100", day(2, 4, 3), day(2, 4, 4)),   // 6 and 8 GPUs
		need("A100", day(3, 5, 2), day(3, 5, 100)), // 4 and no more than 20
		need("H100", day(20, 22, 4), day(20, 22, 5)),
		{Type: "H100", NowGPUs: 2, MostGPUs: 9, Target: 0.5},
	}
	now, peaks := Outlook(needs, noon, step, time.Hour, 24*time.Hour)
	if diff := cmp.Diff(map[string]float64{"A100": 2, "H100": 3}, now); diff != "" {
		t.Errorf("needed now (-want +got):\n%s", diff)
	}
	want := []Peak{
		{"A100", time.Hour, 2, 2}, {"A100", 24 * time.Hour, 10, 28},
		{"H100", time.Hour, 3, 3}, {"H100", 24 * time.Hour, 10, 12},
	}
	if diff := cmp.Diff(want, peaks, cmpopts.EquateApprox(0, 1e-9)); diff != "" {
		t.Errorf("peaks (-want +got):\n%s", diff)
	}
}

func TestOutlookTakesWhatIsNotForecastToStayAsItIs(t *testing.T) {
	n := Need{Type: "A100", NowGPUs: 3, MostGPUs: 9, Target: 0.5, Start: noon.Add(-step), Step: step, Mean: []float64{9, math.NaN()}, Upper: []float64{9, math.NaN()}}
	_, peaks := Outlook([]Need{n}, noon, step, time.Hour)
	if len(peaks) != 1 || peaks[0].Mean != 3 || peaks[0].Upper != 3 {
		t.Errorf("peaks are %+v", peaks)
	}
	if now, peaks := Outlook(nil, noon, step, time.Hour); len(now) != 0 || len(peaks) != 0 {
		t.Errorf("of no workload: %v, %v", now, peaks)
	}
}
