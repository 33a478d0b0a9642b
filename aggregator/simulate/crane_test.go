package simulate

import (
	"compress/gzip"
	"math"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/foretide/foretide/pkg/trace"
)

func TestCraneFindsADayOrAWeekAndNothingInNoise(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	noisy := func(load func(time.Time) float64) func(time.Time) float64 {
		return func(at time.Time) float64 { return 100 * load(at) * (0.9 + 0.2*r.Float64()) }
	}
	weekly := func(at time.Time) float64 { return 5 - 3*math.Cos(2*math.Pi*at.Sub(start).Hours()/24/7) }
	half := func(at time.Time) float64 { return 5 - 3*math.Cos(2*math.Pi*at.Sub(start).Hours()/12) }
	for name, c := range map[string]struct {
		days int
		load func(time.Time) float64
		want int
	}{
		"two days":               {2, daily, dayMinutes},
		"a week of days":         {8, daily, dayMinutes},
		"two weeks of days":      {15, daily, dayMinutes},
		"weeks":                  {15, weekly, weekMinutes},
		"half days":              {8, half, 0},
		"noise":                  {8, func(time.Time) float64 { return 5 }, 0},
		"less than two days":     {1, daily, 0},
		"a week that is not two": {8, weekly, 0},
	} {
		if got := cranePeriod(busyMinutes(c.days, noisy(c.load))); got != c.want {
			t.Errorf("%s: a period of %d minutes, want %d", name, got, c.want)
		}
	}
}

// The recordings and their periods are those of gocrane/crane's pkg/prediction/dsp/signal_test.go.
func TestCraneFindsInItsOwnRecordingsWhatItsTestsSay(t *testing.T) {
	file, err := os.Open("../../test/data/forecast/crane_dsp/series.csv.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	all, err := trace.Read(unzipped)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"input1": dayMinutes, "input2": weekMinutes, "input8": weekMinutes, "input9": dayMinutes, "input11": dayMinutes, "input13": weekMinutes, "input4": 0}
	for _, series := range all {
		period, tested := want[series.Name]
		if !tested {
			continue
		}
		delete(want, series.Name)
		var minutes []float64
		for _, p := range series.Points { // one each five minutes
			minutes = append(minutes, p.Value, p.Value, p.Value, p.Value, p.Value)
		}
		if got := cranePeriod(minutes); got != period {
			t.Errorf("%s has a period of %d minutes, want %d", series.Name, got, period)
		}
	}
	if len(want) > 0 {
		t.Errorf("there is no recording %v", want)
	}
}

func TestCraneRepeatsTheLastCycleWithAMargin(t *testing.T) {
	c := peer(t, "crane-like", options(busyMinutes(5, daily), tide(time.Hour))).(*craneLike)
	c.forecast()
	if len(c.plan) != 5*dayMinutes || c.first != 5*dayMinutes {
		t.Fatalf("%d minutes from %d on", len(c.plan), c.first)
	}
	for i, got := range c.plan {
		at := start.Add(time.Duration(i) * time.Minute)
		if want := 100 * daily(at) * 1.01; math.Abs(got-want) > 0.5 { // the least of the margins errs least on what comes again
			t.Fatalf("%g at %v, want %g", got, at, want)
		}
	}
}

func TestCranesMetricIsTheMostOfTheNextHourInWholeHundredths(t *testing.T) {
	c := &craneLike{Minutes: NewMinutes(nil, start), target: 0.5, plan: make([]float64, 200), hpa: HPA{Bounds: Bounds{1, 100}, Target: 0.5}, update: start.Add(time.Hour)}
	c.plan[30], c.plan[100] = 400.9, 900
	if busy, valid := c.ahead(start); busy != 4 || !valid {
		t.Errorf("%g GPUs, %t", busy, valid)
	}
	if got := c.Decide(steady(0, 6, 3)); got != 8 { // the load asks for 6
		t.Errorf("%d pods", got)
	}
	if busy, valid := c.ahead(start.Add(40 * time.Minute)); busy != 9 || !valid {
		t.Errorf("%g GPUs 60 minutes before, %t", busy, valid)
	}
	// Without the load the forecast alone may add, and may not remove.
	blind := steady(step, 6, 3)
	for replicas, want := range map[int32]int32{6: 8, 9: 9} {
		blind.Replicas, blind.Utilization = replicas, math.NaN()
		if got := c.Decide(blind); got != want {
			t.Errorf("%d pods of which nothing is known become %d, want %d", replicas, got, want)
		}
		blind.Now = blind.Now.Add(step)
	}
	// A forecast that ran out fails, and then nothing goes down.
	c.update = start.Add(10 * time.Hour)
	for at := 4 * time.Hour; at < 4*time.Hour+10*time.Minute; at += step {
		if got := c.Decide(steady(at, 6, 1)); got != 6 {
			t.Fatalf("%d pods", got)
		}
	}
	c.plan = nil // without a forecast there is only the load
	for at := 5 * time.Hour; at < 5*time.Hour+10*time.Minute; at += step {
		if got := c.Decide(steady(at, 6, 1)); at > 5*time.Hour+6*time.Minute && got != 2 {
			t.Fatalf("%d pods without a forecast", got)
		}
	}
}

func TestCranesHistoryBridgesAnHourAndForgetsWhatIsBeforeMore(t *testing.T) {
	busy := make([]float64, 300)
	for i := range busy {
		busy[i] = float64(i) / 100
	}
	for i := 100; i < 159; i++ {
		busy[i] = math.NaN()
	}
	samples, next := craneSamples(busy)
	if len(samples) != 300 || next != 300 || math.Abs(samples[120]-120) > 1e-9 {
		t.Errorf("%d samples until %d", len(samples), next)
	}
	busy[159] = math.NaN()
	samples, next = craneSamples(busy)
	if len(samples) != 120 || next != 300 || samples[10] != 190 { // 140 minutes, in whole hours
		t.Errorf("%d samples until %d, %g", len(samples), next, samples[10])
	}
	if samples, _ := craneSamples([]float64{math.NaN()}); len(samples) != 0 {
		t.Errorf("%v of nothing", samples)
	}
}

func TestCranesErrorCountsTooLittleMoreThanTooMuch(t *testing.T) {
	for want, smooth := range map[float64]float64{0.1: 110, 0.47216466: 90, 3.10628372: 50} { // the examples of its accuracy.go
		if got := craneError([]float64{100}, []float64{smooth}, 1); math.Abs(got-want) > 1e-6 {
			t.Errorf("%g for %g instead of 100, want %g", got, smooth, want)
		}
	}
	if got := craneError([]float64{100, 0}, []float64{90, 4}, 1); got != 7 {
		t.Errorf("%g where something is nothing, want the mean of 10 and 4", got)
	}
}
