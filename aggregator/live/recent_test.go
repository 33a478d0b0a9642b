package live

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/foretide/foretide/pkg/telemetry"
)

// reports has a pod with one GPU report a utilization each second, NaN when it is not known; it returns its load.
func reports(t *testing.T, v *View, utilization ...float64) PodLoad {
	t.Helper()
	var framer telemetry.Framer
	end := at(float64(len(utilization)))
	for i, u := range utilization {
		b := said("s", uint64(i+1), at(float64(i+1)), busy(u))
		if math.IsNaN(u) {
			delete(b.Usages[0].Values, telemetry.UtilizationMean)
		}
		v.Put(framer.Frame(b), b.End)
	}
	load, settled, ok := v.PodSince("default", "p", "a", 0, at(-100), end)
	if !settled || !ok {
		t.Fatalf("load %+v, settled %v, known %v", load, settled, ok)
	}
	return load
}

func TestTheNewestReportIsBelievedIfTheOneBeforeBearsItOut(t *testing.T) {
	unknown := math.NaN()
	for name, c := range map[string]struct {
		reports []float64
		want    float64 // NaN = nothing is told
	}{
		"quiet":                               {[]float64{.1, .1, .1, .1, .1}, .1},
		"one report high":                     {[]float64{.1, .1, .1, .1, .8}, .1},
		"a step in the middle of a report":    {[]float64{.1, .1, .1, .45, .8}, .8},
		"a step late in a report":             {[]float64{.1, .1, .1, .2, .8}, .1},
		"three reports after a step":          {[]float64{.1, .1, .2, .8, .8}, .8},
		"a fall":                              {[]float64{.8, .8, .8, .4, .1}, .1},
		"a single burst":                      {[]float64{.1, .1, .1, .9, .1}, .1},
		"what is older than the average":      {[]float64{1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, .2, .2}, .2},
		"two reports":                         {[]float64{.1, .1}, unknown},
		"the newest does not tell":            {[]float64{.1, .1, .1, .1, unknown}, unknown},
		"the one before does not tell":        {[]float64{.1, .1, .1, unknown, .1}, unknown},
		"an earlier one does not tell":        {[]float64{.1, unknown, .1, .1, .1}, unknown},
		"one that is too old does not matter": {[]float64{unknown, .1, .1, .1, .1, .1, .1, .1, .1, .1, .1, .1}, .1},
	} {
		load := reports(t, view(t), c.reports...)
		if load.HasRecent == math.IsNaN(c.want) || load.HasRecent && math.Abs(load.RecentBusyGPUs-c.want) > 1e-9 {
			t.Errorf("%s: recent is %v (%v), want %v", name, load.RecentBusyGPUs, load.HasRecent, c.want)
		}
	}
}

func TestRecentIsOfTheTimeAfterAMomentAlone(t *testing.T) {
	v := view(t)
	reports(t, v, .1, .1, .1, .1, .8, .8, .8, .8)
	for since, want := range map[float64]float64{4: .8, 5: .8, 6: math.NaN(), 7: math.NaN()} {
		load, settled, ok := v.PodSince("default", "p", "a", 0, at(since), at(8))
		if !settled || !ok || load.HasRecent == math.IsNaN(want) || load.HasRecent && math.Abs(load.RecentBusyGPUs-want) > 1e-9 {
			t.Errorf("since second %v: %+v, want %v", since, load, want)
		}
	}
	if load, settled, ok := v.PodSince("default", "p", "a", 0, at(8), at(8)); settled || !ok || load.HasRecent {
		t.Errorf("before there is anything after a moment: %+v, settled %v, known %v", load, settled, ok)
	}
}

func TestAPodThatCameBackIsNotComparedWithTheOneThatLeft(t *testing.T) {
	v := view(t)
	for i := range 8 {
		var usages []telemetry.Usage
		if i != 4 {
			usages = append(usages, busy(0.5))
		}
		put(v, said("s", uint64(i+1), at(float64(i+1)), usages...), at(float64(i+1)))
		if load, _, _ := v.PodSince("default", "p", "a", 0, at(-100), at(float64(i+1))); load.HasRecent != (i == 2 || i == 3 || i == 7) {
			t.Errorf("second %d: %+v", i+1, load)
		}
	}
}

func TestASurgeIsToldWhileTheNewestTwoReportsSayIt(t *testing.T) {
	var told []string
	second := 0
	v, err := New(Options{Surge: func(namespace, pod string) { told = append(told, fmt.Sprintf("%s/%s@%d", namespace, pod, second)) }})
	if err != nil {
		t.Fatal(err)
	}
	var framer telemetry.Framer
	for i, u := range []float64{.1, .1, .5, .9, .9, .9, .1, .9, .1, .1, .19, .19, .1} {
		second = i
		b := said("s", uint64(i+1), at(float64(i+1)), busy(u), usage("calm", "main", "GPU-1", 0.5))
		v.Put(framer.Frame(b), b.End)
	}
	if got := strings.Join(told, " "); got != "default/p@3 default/p@4" {
		t.Errorf("told %q, want the pod when the second and the third report were high", got)
	}
}
