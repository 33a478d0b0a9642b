package forecastbench

import (
	"fmt"
	"math"
	"testing"
	"time"
)

// one is a case of one series with a step of six hours.
func one(series string, actual ...float64) Case {
	return Case{Task: Task{ID: series + "#0", Series: series, StepSeconds: 21600, Horizon: len(actual)}, Actual: actual, Scale: 2}
}

// flat forecasts are the same at each step: the mean, and as much for every quantile but the 95th.
func flat(cases []Case, mean, upper float64) map[string]Forecast {
	out := map[string]Forecast{}
	for _, c := range cases {
		f := Forecast{ID: c.ID, Quantiles: map[string]Values{"0.95": nil}}
		for range c.Actual {
			f.Mean = append(f.Mean, mean)
			f.Quantiles["0.95"] = append(f.Quantiles["0.95"], upper)
		}
		out[c.ID] = f
	}
	return out
}

func near(t *testing.T, name string, got, want float64) {
	t.Helper()
	if !(math.Abs(got-want) < 1e-9) {
		t.Errorf("%s is %v, want %v", name, got, want)
	}
}

func TestScoresAreWhatTheirNamesSay(t *testing.T) {
	cases := []Case{one("a/x", 10, nan, 20, 10)}
	got := Score(cases, flat(cases, 12, 16), flat(cases, 10, 10), 24*time.Hour)
	near(t, "MASE", got.MASE, (2.0+8+2)/3/2)
	near(t, "WAPE", got.WAPE, 12.0/40)
	near(t, "MWQL", got.MWQL, 2*(8*0.5+4*0.5)/40) // over the deciles, over and under weigh half each
	near(t, "WQL95", got.WQL95, 2*(0.95*4+0.05*12)/40)
	near(t, "Cov95", got.Cov95, 2.0/3)
	near(t, "CalErr", got.CalErr, 0.95-2.0/3)
	near(t, "Under", got.Under, 1.0/3)
	near(t, "Short", got.Short, 4.0/40)
	near(t, "Over", got.Over, 12.0/40)
	near(t, "K5", got.K5, 20.0/16)
	near(t, "Over5", got.Over5, 20.0/40)
	near(t, "RMASE", got.RMASE, (2+offset)/(10.0/3/2+offset))
	near(t, "RMWQL", got.RMWQL, (12.0/40+offset)/(10.0/40+offset))
	if !math.IsNaN(got.Seconds) {
		t.Errorf("seconds are %v, want NaN: no forecast has any", got.Seconds)
	}
	near(t, "MASE of the first six hours", Score(cases, flat(cases, 12, 16), nil, 6*time.Hour).MASE, 1)
}

func TestSeriesCountTheSame(t *testing.T) {
	cases := []Case{one("a/x", 1, 1, 1), one("a/y", 100)}
	cases = append(cases, Case{Task: Task{ID: "a/y#1", Series: "a/y", StepSeconds: 21600, Horizon: 1}, Actual: Values{300}, Scale: 100})
	forecasts := flat(cases, 2, 4)
	forecasts["a/y#0"] = Forecast{ID: "a/y#0", Mean: Values{90}, Seconds: 0.002}
	delete(forecasts, "a/y#1")
	got := Score(cases, forecasts, flat(cases, 0, 0), 24*time.Hour)
	near(t, "WAPE", got.WAPE, (1+0.1)/2)
	near(t, "RMASE", got.RMASE, math.Sqrt(1*(5+offset)/((50+3)/2.0+offset)))
	near(t, "seconds", got.Seconds, 0.002)
	if got.Tasks != 2 || got.Missing != 1 || got.BySeries["a/x"].Tasks != 1 {
		t.Errorf("%d tasks, %d missing, %d of a/x", got.Tasks, got.Missing, got.BySeries["a/x"].Tasks)
	}
}

func TestOneSeriesCannotDrownTheOthers(t *testing.T) {
	cases := []Case{one("a/x", 1), one("a/y", 1)}
	forecasts := flat(cases[:1], 1, 1)
	forecasts["a/y#0"] = Forecast{Mean: Values{1e6}}
	got := Score(cases, forecasts, nil, 24*time.Hour)
	near(t, "WAPE", got.WAPE, (0+5.0)/2)
	near(t, "Over", got.Over, (0+5.0)/2)
}

func TestNoFactorHelpsCapacityOfZero(t *testing.T) {
	cases := []Case{one("a/x", 1, 2)}
	if got := Score(cases, flat(cases, 0, 0), nil, 24*time.Hour); !math.IsNaN(got.K5) || !math.IsNaN(got.Over5) || got.Cov95 != 0 {
		t.Errorf("k5 %v, over5 %v, cov95 %v", got.K5, got.Over5, got.Cov95)
	}
}

// The figures are those that an independent program (numpy, other code) gives for the same data: seasonal naive's and last level's.
func TestNaiveForecastersScoreAsTheyDoElsewhere(t *testing.T) {
	cases, err := Tasks("../data/forecast")
	if err != nil {
		t.Fatal(err)
	}
	if len(cases) != 360 {
		t.Fatalf("%d tasks, want 360 of 45 series", len(cases))
	}
	naive, err := Run(cases, SeasonalNaive)
	if err != nil {
		t.Fatal(err)
	}
	last, err := Run(cases, LastLevel)
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, within := range []time.Duration{24 * time.Hour, time.Hour} {
		for _, f := range []map[string]Forecast{naive, last} {
			s := Score(cases, f, naive, within)
			got += fmt.Sprintf("%.3f %.3f %.3f %.3f %.3f %.3f %.3f %.3f %.3f %.3f %.3f %.3f %.3f\n", s.RMASE, s.RMWQL, s.MASE, s.WAPE, s.MWQL,
				s.WQL95, s.Cov95, s.CalErr, s.Under, s.Short, s.Over, s.K5, s.Over5)
		}
	}
	want := `1.000 1.000 1.494 0.407 0.358 0.199 0.931 0.031 0.069 0.046 1.070 1.083 1.221
1.640 1.480 2.930 0.611 0.493 0.220 0.928 0.039 0.072 0.038 1.434 1.074 1.584
1.000 1.000 1.201 0.377 0.326 0.172 0.955 0.049 0.045 0.032 1.112 0.993 1.099
0.578 0.546 0.950 0.247 0.212 0.107 0.934 0.047 0.066 0.024 0.620 1.025 0.658
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
