package report

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestAdviceFollowsItsRule(t *testing.T) {
	demand := tide(1, 6)
	fixed := func(n float64) Input { return week(demand, always(n), follow(demand)) }
	for name, c := range map[string]struct {
		in      Input
		change  func(*Input)
		verdict Verdict
		says    string
	}{
		"less than a day is known": {fixed(12), func(in *Input) {
			for i := range len(in.Past.Demand) - 1000 {
				in.Past.Demand[i] = nan
			}
		}, NotYet, "16.7 hours could be compared, 24 are needed"},
		"cheaper and no shorter": {fixed(12), nil, Advisable, "Auto is advisable: over 168 hours it would have taken"},
		"telemetry is missing": {fixed(12), func(in *Input) {
			for i := range in.Past.Demand {
				if i%8 == 3 {
					in.Past.Demand[i] = nan
				}
			}
		}, NotAdvisable, "telemetry was missing for 12 % of the time"},
		"a tenth missing is allowed": {fixed(12), func(in *Input) {
			for i := range in.Past.Demand {
				if i%11 == 3 {
					in.Past.Demand[i] = nan
				}
			}
		}, Advisable, ""},
		"forecasts are too sure of themselves": {fixed(12), func(in *Input) { in.Scores[1].Coverage = 0.84 }, NotAdvisable, "over 7 days only 84 %"},
		"a day's coverage counts where a week's is not known": {fixed(12), func(in *Input) { in.Scores[0].Coverage, in.Scores = 0.5, in.Scores[:1] },
			NotAdvisable, "over 1 day only 50 %"},
		"nobody knows how right forecasts are":          {fixed(12), func(in *Input) { in.Scores = nil }, NotAdvisable, "not known yet how right"},
		"that of another lead says nothing":             {fixed(12), func(in *Input) { in.Past.Lead = "1h" }, NotAdvisable, "forecasts 1 hour ahead"},
		"shorter than the actual":                       {week(demand, always(12), always(2)), nil, NotAdvisable, "would have been short for"},
		"over the target more than the quantile allows": {week(demand, always(12), always(7)), nil, NotAdvisable, "over the target for"},
		"better at a price":                             {fixed(4), nil, Advisable, "at a price"},
		"dearer and mends nothing":                      {week(demand, always(12), always(15)), nil, NotAdvisable, "(+25 %), and mended nothing"},
		"it acts already":                               {fixed(12), func(in *Input) { in.Acts, in.Strategy = true, "auto" }, InForce, "The strategy is auto already: over 168 hours its pods took 2016 GPU-hours"},
	} {
		if c.change != nil {
			c.change(&c.in)
		}
		if got := Build(c.in).Advice; got.Verdict != c.verdict || !strings.Contains(got.Text, c.says) {
			t.Errorf("%s: %+v; want %s, %q", name, got, c.verdict, c.says)
		}
	}
}

// Whatever is known, auto is never advised where it would have been short more often than what there was.
func TestAutoIsNeverAdvisedWhereItIsShorter(t *testing.T) {
	chance := rand.New(rand.NewPCG(1, 2))
	advised := 0
	for range 60 {
		level := func(most float64) func(int) float64 {
			low, high, gap := chance.Float64()*most/2, most*(0.5+chance.Float64()), 7+chance.IntN(80)
			return func(i int) float64 {
				if i%gap == 0 {
					return nan
				}
				return math.Ceil(tide(low, high)(i))
			}
		}
		in := week(tide(0.2, 5), level(12), level(12))
		for i := range in.Past.Upper {
			in.Past.Upper[i] *= 0.5 + chance.Float64()
		}
		r := Build(in)
		if r.Advice.Verdict != Advisable {
			continue
		}
		advised++
		if a, p := r.Usages[0], r.Usages[1]; p.ShortMinutes > a.ShortMinutes {
			t.Errorf("advised with %+v against %+v", p, a)
		}
	}
	if advised == 0 {
		t.Error("never advised: the test tells nothing")
	}
}

func TestTheSmallestOfTheLastIsTheOneByHand(t *testing.T) {
	chance := rand.New(rand.NewPCG(3, 4))
	var m minima
	var values []float64
	for i := range 2000 {
		values = append(values, float64(chance.IntN(9)))
		want := math.Inf(1)
		for _, v := range values[max(0, i-7):] {
			want = min(want, v)
		}
		if got := m.add(i, 7, values[i]); got != want {
			t.Fatalf("at %d: %v, want %v", i, got, want)
		}
	}
}
