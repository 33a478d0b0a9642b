package main

import (
	"math"
	"testing"
	"time"
)

func TestTheCurveGoesThroughWhatNothingElseBeats(t *testing.T) {
	c := best([]outcome{{100, 50, 0}, {120, 60, 0}, {150, 10, 0}, {150, 20, 0}, {200, 10, 0}})
	if len(c) != 2 || c[0] != (outcome{150, 10, 0}) || c[1] != (outcome{100, 50, 0}) {
		t.Fatalf("it is %v", c)
	}
	for hours, want := range map[float64]float64{50: 50, 100: 50, 125: 30, 150: 10, 300: 10} {
		if got := c.short(hours); math.Abs(got-want) > 1e-9 {
			t.Errorf("for %g h it is short for %g min, want %g", hours, got, want)
		}
	}
	for short, want := range map[float64]float64{5: 150, 10: 150, 30: 125, 50: 100, 90: 100} {
		got, ok := c.hours(short)
		if math.Abs(got-want) > 1e-9 || ok != (short >= 10) {
			t.Errorf("to be short for %g min costs %g h (%v), want %g", short, got, ok, want)
		}
	}
	if one := best([]outcome{{100, 0, 0}}); one.short(7) != 0 || one.short(700) != 0 {
		t.Errorf("a curve of one point is short for %g and %g min", one.short(7), one.short(700))
	}
}

func judged(us, hpa outcome, frontier ...outcome) verdict {
	return played{"x", time.Minute, map[string]outcome{ours: us, "hpa": hpa, "oracle": {100, 0, 0}}, frontier}.judge(ours)
}

func TestAVerdictComparesAtEqualCostAndAtEqualShortfall(t *testing.T) {
	v := judged(outcome{120, 10, 0}, outcome{100, 80, 0}, outcome{100, 80, 0}, outcome{140, 0, 0})
	if math.Abs(v.shortLess-75) > 1e-9 || math.Abs(v.costLess-100*(1-120.0/135)) > 1e-9 || math.Abs(v.overOracle-20) > 1e-9 || v.atStake != 40 || v.worse || v.atLeast {
		t.Errorf("%+v", v)
	}
}

func TestNothingToWinIsUndefinedAndNothingOfNothingIsBounded(t *testing.T) {
	if v := judged(outcome{120, 0, 0}, outcome{100, 0, 0}, outcome{100, 0, 0}); !math.IsNaN(v.shortLess) || math.Abs(v.costLess+20) > 1e-9 {
		t.Errorf("neither falls short: %+v", v)
	}
	if v := judged(outcome{120, 5, 0}, outcome{100, 0, 0}, outcome{100, 0, 0}); v.shortLess != -100 || v.atStake != 5 || !v.worse {
		t.Errorf("it never falls short: %+v", v)
	}
	if v := judged(outcome{120, 5, 0}, outcome{100, 80, 0}, outcome{100, 80, 0}, outcome{200, 40, 0}); !v.atLeast || math.Abs(v.costLess-40) > 1e-9 {
		t.Errorf("it always falls shorter: %+v", v)
	}
}

func TestWorseIsWorseInBothByMoreThanATwentieth(t *testing.T) {
	for us, want := range map[outcome]bool{{106, 11, 0}: true, {104, 11, 0}: false, {106, 10.4, 0}: false, {106, 9, 0}: false} {
		if v := judged(us, outcome{100, 10, 0}, outcome{100, 10, 0}); v.worse != want {
			t.Errorf("%v is worse: %v", us, v.worse)
		}
	}
}

func TestASummaryLeavesOutWhatIsUndefinedAndNamesTheWorst(t *testing.T) {
	all := []verdict{{trace: "a", overOracle: 5}, {trace: "b", overOracle: math.NaN()}, {trace: "c", overOracle: 15}}
	figure := func(v verdict) float64 { return v.overOracle }
	if s := summarize(all, figure, true); s != (summary{10, 15, "c", 2}) {
		t.Errorf("the most is worst: %+v", s)
	}
	if s := summarize(all, figure, false); s != (summary{10, 5, "a", 2}) {
		t.Errorf("the least is worst: %+v", s)
	}
}

func TestAFleetIsTheSumOfItsCases(t *testing.T) {
	one := played{"x", time.Minute, map[string]outcome{ours: {120, 10, 3}}, make([]outcome, len(sweep))}
	one.swept[2] = outcome{100, 80, 5}
	if f := fleet([]played{one, one}); f.policies[ours] != (outcome{240, 20, 6}) || f.swept[2] != (outcome{200, 160, 10}) || f.swept[1] != (outcome{}) {
		t.Errorf("%+v", f)
	}
}

func TestAVerdictIsWrittenInPercent(t *testing.T) {
	if got := (verdict{shortLess: math.NaN(), costLess: -3.4, overOracle: 12.6}).String(); got != "– / -3 / 13" {
		t.Errorf("it is %q", got)
	}
}
