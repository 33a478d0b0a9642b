package forecastbench

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

const (
	hour = time.Hour
	day  = 24 * time.Hour
)

// Damage is something that happens to a history. What is asked for stays the same.
type Damage struct {
	Name  string
	apply func(c *Case, r *rand.Rand)
}

// Damages are all of them, in the order in which they are reported. Lengths are of time; a step longer than that counts as one.
func Damages() []Damage {
	return []Damage{
		{"missing_30pct", func(c *Case, r *rand.Rand) { scatter(c, r, 0.3) }},
		{"outage_1h", func(c *Case, r *rand.Rand) { outage(c, r, hour) }},
		{"outage_1d", func(c *Case, r *rand.Rand) { outage(c, r, day) }},
		{"outage_3d", func(c *Case, r *rand.Rand) { outage(c, r, 3*day) }},
		{"outage_1h_until_now", func(c *Case, _ *rand.Rand) { lose(c, len(c.History)-c.steps(hour), c.steps(hour)) }},
		{"outage_1d_until_now", func(c *Case, _ *rand.Rand) { lose(c, len(c.History)-c.steps(day), c.steps(day)) }},
		{"spike_10x_yesterday", spike},
		{"level_doubled_6h_ago", func(c *Case, _ *rand.Rand) { double(c, 6*hour) }},
		{"level_doubled_12h_ago", func(c *Case, _ *rand.Rand) { double(c, 12*hour) }},
		{"clocks_changed_12h_ago", changeClocks},
		{"clocks_changed_12h_ago_told", func(c *Case, r *rand.Rand) { changeClocks(c, r); tellClocks(c) }},
		{"saturated", func(c *Case, _ *rand.Rand) { clip(c) }},
		{"saturated_unmarked", func(c *Case, _ *rand.Rand) { clip(c); c.Saturated = nil }},
		{"history_6h", func(c *Case, _ *rand.Rand) { keep(c, 6*hour) }},
		{"history_1d", func(c *Case, _ *rand.Rand) { keep(c, day) }},
		{"history_2d", func(c *Case, _ *rand.Rand) { keep(c, 2*day) }},
		{"history_3d", func(c *Case, _ *rand.Rand) { keep(c, 3*day) }},
	}
}

// Cases are copies of the cases with the damage done to them. Where chance has a part in it, it is the same for the same case.
func (d Damage) Cases(cases []Case) []Case {
	out := slices.Clone(cases)
	for i := range out {
		seed := fnv.New64a()
		seed.Write([]byte(d.Name + " " + out[i].ID)) // a hash takes all that is written
		out[i].History, out[i].Actual = slices.Clone(out[i].History), slices.Clone(out[i].Actual)
		d.apply(&out[i], rand.New(rand.NewPCG(seed.Sum64(), 0)))
	}
	return out
}

// Cost is the loss (MWQL over 24 h) of the forecasts of damaged cases relative to that of the undamaged ones, geometric mean over
// the series that both have.
func Cost(undamaged []Case, forecasts map[string]Forecast, damaged []Case, theirs map[string]Forecast) float64 {
	return Ratio(series(damaged, theirs, horizon), series(undamaged, forecasts, horizon), func(s Scores) float64 { return s.MWQL })
}

// Cost does the damage to the cases, lets a forecaster answer them, and compares with its forecasts of the undamaged. Where it
// fails, the error tells, and the cost is of the rest.
func (d Damage) Cost(cases []Case, forecaster func(Task) (Forecast, error), undamaged map[string]Forecast) (float64, error) {
	damaged := d.Cases(cases)
	forecasts, err := Run(damaged, forecaster)
	return Cost(cases, undamaged, damaged, forecasts), err
}

// scatter loses a share of the points, each by chance.
func scatter(c *Case, r *rand.Rand, share float64) {
	for i := range c.History {
		if r.Float64() < share {
			c.History[i] = math.NaN()
		}
	}
}

// outage loses a stretch that lies anywhere in the last week.
func outage(c *Case, r *rand.Rand, length time.Duration) {
	n := c.steps(length)
	lose(c, len(c.History)-n-r.IntN(c.steps(7*day)-n+1), n)
}

func lose(c *Case, from, n int) {
	for i := from; i < from+n; i++ {
		c.History[i] = math.NaN()
	}
}

// spike multiplies an hour that lies 12 to 36 hours back by ten.
func spike(c *Case, r *rand.Rand) {
	n := c.steps(hour)
	from := len(c.History) - c.steps(36*hour) + r.IntN(c.steps(day)-n+1)
	for i := from; i < from+n; i++ {
		c.History[i] *= 10
	}
}

// double makes everything twice as much from so long ago on, what happened included.
func double(c *Case, ago time.Duration) {
	for i := len(c.History) - c.steps(ago); i < len(c.History); i++ {
		c.History[i] *= 2
	}
	for i := range c.Actual {
		c.Actual[i] *= 2
	}
}

// changeClocks lets local time go forward by an hour half a day ago, and with it the habits of whoever makes the demand: everything
// before was an hour later, and an hour never was.
func changeClocks(c *Case, _ *rand.Rand) {
	n := c.steps(hour)
	change := len(c.History) - c.steps(day/2)
	c.History = append(c.History[:change-n:change-n], c.History[change:]...)
	c.Start += int64(n * c.StepSeconds)
}

// tellClocks names a time zone whose clocks went forward half a day before the origin; for that, all is moved in time.
func tellClocks(c *Case) {
	change := time.Date(2026, time.March, 29, 1, 0, 0, 0, time.UTC)
	origin := change.Add(day / 2).Unix()
	c.Start, c.Origin = c.Start+origin-c.Origin, origin
	c.TimeZone = "Europe/Berlin"
}

// clip serves demand with no more than what 80 % of the history asked for, and marks the steps in which that was not enough.
func clip(c *Case) {
	sorted := slices.Clone(c.History)
	slices.Sort(sorted)
	limit := quantile(sorted, 0.8)
	if limit == 0 {
		return // a workload without a GPU is no workload
	}
	c.Saturated = make([]bool, len(c.History))
	for i, v := range c.History {
		if v > limit {
			c.History[i], c.Saturated[i] = limit, true
		}
	}
}

// keep leaves only the end of the history.
func keep(c *Case, length time.Duration) {
	from := len(c.History) - c.steps(length)
	c.History = c.History[from:]
	c.Start += int64(from * c.StepSeconds)
}
