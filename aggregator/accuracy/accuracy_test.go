package accuracy

import (
	"math"
	"testing"
	"time"
)

var (
	noon  = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	leads = []time.Duration{15 * time.Minute, time.Hour, 24 * time.Hour}
	day   = 24 * time.Hour
)

// walk feeds a record minute by minute from noon on: at each a forecast is made, the same at each lead, and the demand of the minute
// that ended comes.
func walk(r *Record, minutes int, forecast func(i int) Point, demand func(i int) float64) (now time.Time) {
	for i := range minutes {
		now = noon.Add(time.Duration(i) * time.Minute)
		r.Demand(now, demand(i))
		p := forecast(i)
		r.Forecast(now, []Point{p, p, p})
	}
	return now
}

func always[T any](v T) func(int) T { return func(int) T { return v } }

func score(t *testing.T, r *Record, lead int, over time.Duration, now time.Time) Score {
	t.Helper()
	s, ok := r.Score(lead, over, now)
	if !ok {
		t.Fatalf("no score at lead %v over %v", leads[lead], over)
	}
	return s
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-6*max(1, math.Abs(b)) }

func TestScoresAreTheOnesByHand(t *testing.T) {
	r := New(leads, Upper)
	// For fifteen minutes 2 GPUs are asked for, for five 4; forecast are 3, and 3.5 at the upper level.
	now := walk(r, 2*1440+1, always(Point{3, 3.5}), func(i int) float64 {
		if i%20 >= 15 {
			return 4
		}
		return 2
	})
	s := score(t, r, 1, day, now)
	// Means of five minutes in twenty: 11 times 2, 4 once, and on the way there and back 2.4, 2.8, 3.2 and 3.6 twice; together 50.
	missed := 11*1 + 2*0.6 + 2*0.2 + 2*0.2 + 2*0.6 + 1
	loss := 0.5*missed + 0.05*(11*1.5+2*1.1+2*0.7+2*0.3) + 0.95*(2*0.1+0.5)
	if !near(s.WAPE, missed/50) || !near(s.Bias, 10./50) || !near(s.Coverage, 17./20) || !near(s.Pinball, loss/50) {
		t.Errorf("score %+v, want WAPE %v, bias .2, coverage .85, pinball %v", s, missed/50, loss/50)
	}
	if s.Minutes != 23*60 { // the last hour has just begun
		t.Errorf("%d minutes compared, want the last day's to the hour", s.Minutes)
	}
}

func TestEachLeadIsComparedWithItsOwnMinute(t *testing.T) {
	r := New(leads, Upper)
	// The forecast at each moment is the demand then: at lead L it is off by the rise in L, less two minutes to the middle of five.
	const rise = 0.01 // GPUs a minute
	level := func(i int) float64 { return rise * float64(i) }
	now := walk(r, 5*1440, func(i int) Point { return Point{level(i), level(i)} }, level)
	demand := 0.0
	for i := 5*1440 - 1440; i < 5*1440; i++ {
		demand += (level(i) - 2*rise) / 1440
	}
	for i, lead := range leads {
		s := score(t, r, i, day, now)
		if want := rise * (lead.Minutes() - 2) / demand; math.Abs(s.WAPE-want) > 0.002*want || !near(s.Bias, -s.WAPE) || s.Coverage != 0 {
			t.Errorf("lead %v: %+v, want WAPE %v and as much too little", lead, s, want)
		}
	}
}

func TestWhatIsMissingIsSkippedAndNotZero(t *testing.T) {
	r := New(leads, Upper)
	now := walk(r, 2*1440, func(i int) Point {
		if i%3 == 0 {
			return Point{math.NaN(), math.NaN()}
		}
		return Point{1, 1} // right on the demand, which is covered
	}, func(i int) float64 {
		if i%5 == 0 {
			return math.NaN()
		}
		return 1
	})
	s := score(t, r, 0, day, now)
	if s.WAPE != 0 || s.Coverage != 1 {
		t.Errorf("score %+v, want no error at all", s)
	}
	if got := float64(s.Minutes) / 1440; got < 0.5 || got > 0.56 { // 2/3 of 4/5
		t.Errorf("%d minutes compared, want 8 of 15", s.Minutes)
	}
}

func TestAForecastOfAnotherMinuteIsNotTakenForThisOnes(t *testing.T) {
	r := New(leads, Upper)
	r.Forecast(noon, []Point{{1, 2}, {1, 2}, {1, 2}})
	// Nothing more is forecast for so long that the ring comes round to the same place.
	round := time.Duration(len(r.leads[0].waiting)) * time.Minute
	r.Demand(noon.Add(leads[0]+round), 9)
	r.Forecast(noon.Add(2*round), []Point{{1, 2}, {1, 2}, {1, 2}})
	r.Demand(noon.Add(leads[0]+2*round-time.Minute), 9)
	if n := compared(r, 0); n != 0 {
		t.Errorf("%d minutes compared, want none: nothing was forecast for them", n)
	}
	r.Demand(noon.Add(leads[0]+2*round), 1)
	if n := compared(r, 0); n != 1 {
		t.Errorf("%d minutes compared, want the one that was forecast", n)
	}
}

func compared(r *Record, lead int) (n int) {
	for i := range r.leads[lead].hours {
		n += int(r.leads[lead].hours[i].minutes)
	}
	return n
}

func TestTooLittleComparedHasNoScore(t *testing.T) {
	r := New(leads, Upper)
	if _, ok := r.Score(0, day, noon); ok {
		t.Error("an empty record has a score")
	}
	now := walk(r, 6*60+14, always(Point{1, 2}), always(1.))
	if _, ok := r.Score(0, day, now); ok {
		t.Error("a score over a day from less than six hours")
	}
	now = walk(r, 6*60+16, always(Point{1, 2}), always(1.))
	if _, ok := r.Score(0, day, now); !ok {
		t.Error("no score over a day from six hours")
	}
	if _, ok := r.Score(0, 7*day, now); ok {
		t.Error("a score over a week from six hours")
	}
}

func TestOldHoursAreForgotten(t *testing.T) {
	r := New(leads, Upper)
	now := walk(r, 10*1440, func(i int) Point {
		if i < 5*1440 {
			return Point{2, 2}
		}
		return Point{1, 1}
	}, always(1.))
	if s := score(t, r, 0, day, now); s.WAPE != 0 {
		t.Errorf("last day: %+v, want it without error", s)
	}
	if s := score(t, r, 0, 7*day, now); math.Abs(s.WAPE-2./7) > 0.01 {
		t.Errorf("last week: %+v, want two of seven days twice too much", s)
	}
	if _, ok := r.Score(0, 7*day, now.Add(8*day)); ok {
		t.Error("a week with nothing in it has a score")
	}
}

func TestWithoutDemandThereIsOnlyCoverage(t *testing.T) {
	r := New(leads, Upper)
	now := walk(r, 1440, always(Point{0, 1}), always(0.))
	s := score(t, r, 0, day, now)
	if !math.IsNaN(s.WAPE) || !math.IsNaN(s.Pinball) || !math.IsNaN(s.Bias) || s.Coverage != 1 {
		t.Errorf("score %+v", s)
	}
}

func TestADemandThatIsToldTwiceCountsOnce(t *testing.T) {
	r := New(leads, Upper)
	r.Forecast(noon, []Point{{1, 2}, {1, 2}, {1, 2}})
	for range 2 {
		r.Demand(noon.Add(leads[0]), 1)
	}
	r.Demand(noon.Add(leads[0]-time.Minute), 1)
	if n := compared(r, 0); n != 1 {
		t.Errorf("%d minutes compared, want 1", n)
	}
}

// BenchmarkMinute is what a workload costs each minute: a forecast and a demand.
func BenchmarkMinute(b *testing.B) {
	r := New(leads, Upper)
	points := []Point{{1, 2}, {1, 2}, {1, 2}}
	now := walk(r, 8*1440, always(points[0]), always(1.))
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Minute)
		r.Forecast(now, points)
		r.Demand(now, 1)
	}
}

// BenchmarkNew tells what a record takes of memory.
func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		New(leads, Upper)
	}
}

// BenchmarkScore is what a scrape costs for each workload, lead and time.
func BenchmarkScore(b *testing.B) {
	r := New(leads, Upper)
	now := walk(r, 8*1440, always(Point{1, 2}), always(1.))
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := r.Score(1, 7*day, now); !ok {
			b.Fatal("no score")
		}
	}
}
