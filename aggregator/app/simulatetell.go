package app

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"time"
)

// equal is what the HorizontalPodAutoscaler is short at the policy's GPU-hours, and its GPU-hours at the policy's minutes short, on the line
// between the targets that were tried; NaN where none is as cheap, or as good.
func (s *simulation) equal() (short time.Duration, known bool, gpuHours float64) {
	own := s.flown[0]
	minutes := between(s.hpas, own.GPUHours, func(o outcome) float64 { return o.GPUHours }, func(o outcome) float64 { return o.Short.Minutes() })
	gpuHours = between(s.hpas, own.Short.Minutes(), func(o outcome) float64 { return o.Short.Minutes() }, func(o outcome) float64 { return o.GPUHours })
	if math.IsNaN(minutes) {
		return 0, false, gpuHours
	}
	return time.Duration(minutes * float64(time.Minute)), true, gpuHours
}

// between reads y off the line through neighbours that have x between them, the least where there are several; NaN where none have.
func between(all []outcome, x float64, xOf, yOf func(outcome) float64) float64 {
	least := math.NaN()
	for i := 1; i < len(all); i++ {
		a, b := all[i-1], all[i]
		if xa, xb := xOf(a), xOf(b); min(xa, xb) <= x && x <= max(xa, xb) {
			y := min(yOf(a), yOf(b))
			if xa != xb {
				y = yOf(a) + (x-xa)/(xb-xa)*(yOf(b)-yOf(a))
			}
			if !(y >= least) {
				least = y
			}
		}
	}
	return least
}

// summary is what the figures are of.
func (s *simulation) summary() []string {
	end := s.trace.Start.Add(s.length())
	text := []string{
		fmt.Sprintf("%s: %s to %s in steps of %v, with %.1f days of history before", s.name, stamp(s.trace.Start), stamp(end), s.world.Step, float64(len(s.before))/1440),
		fmt.Sprintf("%d to %d pods of %s, held to %.0f %%, which start in %s; what is seen is %v old", s.bounds.Min, s.bounds.Max, gpus(s.world.GPUsPerPod), 100*s.target,
			s.took(), s.world.Lag),
	}
	if s.bridged > 0 {
		text = append(text, fmt.Sprintf("%d of %d steps were not recorded; a straight line stands for them", s.bridged, len(s.trace.Offered)))
	}
	return append(text, s.notes...)
}

func gpus(n float64) string {
	if n == 1 {
		return "1 GPU"
	}
	return fmt.Sprintf("%g GPUs", n)
}

// took is how long pods take to start.
func (f *flight) took() string {
	least, most := f.startups[0], f.startups[len(f.startups)-1]
	if least == most {
		return least.String()
	}
	return fmt.Sprintf("%v to %v", least, most)
}

// findings compare the policy with the HorizontalPodAutoscaler and the oracle in a sentence each.
func (s *simulation) findings() (text []string) {
	own := s.flown[0]
	short, known, gpuHours := s.equal()
	if known {
		text = append(text, fmt.Sprintf("At as many GPU-hours a HorizontalPodAutoscaler is short for %s; %s for %s.", minutesOf(short), own.name, minutesOf(own.Short)))
	}
	if !math.IsNaN(gpuHours) {
		text = append(text, fmt.Sprintf("A HorizontalPodAutoscaler that is short as long takes %.1f GPU-hours; %s %.1f.", gpuHours, own.name, own.GPUHours))
	}
	text = append(text, s.held(own.name, own)...)
	return append(text, fmt.Sprintf("Who knows the future takes %.1f GPU-hours and is short for %s.", s.oracle.GPUHours, minutesOf(s.oracle.Short)))
}

// held says so when maxReplicas was in the way.
func (l leg) held(name string, o outcome) []string {
	if o.Most < l.bounds.Max {
		return nil
	}
	return []string{fmt.Sprintf("%s came to maxReplicas, %d, which kept it from more.", name, o.Most)}
}

func minutesOf(d time.Duration) string { return fmt.Sprintf("%.1f min", d.Minutes()) }

// outcomeColumns head the table; the first is of the name.
var outcomeColumns = []string{"", "short", "wait, mean", "longest", "GPU-hours", "over oracle", "ups", "downs", "most"}

// cells are one row of the table.
func (s *simulation) cells(o outcome) []string {
	return []string{o.name, minutesOf(o.Short), fmt.Sprintf("%.2f s", o.Wait.Seconds()), o.LongestWait.Round(time.Second).String(), fmt.Sprintf("%.1f", o.GPUHours),
		fmt.Sprintf("%+.1f %%", 100*s.over(o)), fmt.Sprint(o.Ups), fmt.Sprint(o.Downs), fmt.Sprint(o.Most)}
}

// over is how much more than the oracle it takes, as a part of that.
func (s *simulation) over(o outcome) float64 { return o.GPUHours/s.oracle.GPUHours - 1 }

// tell prints the table.
func (s *simulation) tell(out io.Writer) error {
	for _, line := range s.summary() {
		fmt.Fprintln(out, line)
	}
	fmt.Fprintln(out)
	if err := printTable(out, append([][]string{outcomeColumns}, s.rows()...)); err != nil {
		return err
	}
	fmt.Fprintln(out)
	for _, line := range s.findings() {
		fmt.Fprintln(out, line)
	}
	return nil
}

func (s *simulation) rows() (rows [][]string) {
	for _, o := range s.flown {
		rows = append(rows, s.cells(o))
	}
	return rows
}

// outcomeJSON is an outcome in JSON.
type outcomeJSON struct {
	Policy             string  `json:"policy"`
	TargetPercent      float64 `json:"targetPercent"`
	ShortMinutes       float64 `json:"shortMinutes"`
	MeanWaitSeconds    float64 `json:"meanWaitSeconds"`
	LongestWaitSeconds float64 `json:"longestWaitSeconds"`
	GPUHours           float64 `json:"gpuHours"`
	OverOracleRatio    float64 `json:"overOracleRatio"`
	Ups                int     `json:"ups"`
	Downs              int     `json:"downs"`
	MostReplicas       int32   `json:"mostReplicas"`
}

// json prints the result.
func (s *simulation) json(out io.Writer) error {
	all := func(outcomes []outcome) (rows []outcomeJSON) {
		for _, o := range outcomes {
			rows = append(rows, outcomeJSON{o.name, round(100*o.target, 1e3), o.Short.Minutes(), round(o.Wait.Seconds(), 1e3), round(o.LongestWait.Seconds(), 1e3),
				round(o.GPUHours, 1e3), round(s.over(o), 1e5), o.Ups, o.Downs, o.Most})
		}
		return rows
	}
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(struct {
		Recording      string        `json:"recording"`
		From           time.Time     `json:"from"`
		To             time.Time     `json:"to"`
		StepSeconds    float64       `json:"stepSeconds"`
		HistoryMinutes int           `json:"historyMinutes"`
		BridgedSteps   int           `json:"bridgedSteps"`
		Notes          []string      `json:"notes,omitempty"`
		Policies       []outcomeJSON `json:"policies"`
		Oracle         outcomeJSON   `json:"oracle"`
		HPAs           []outcomeJSON `json:"hpas"`
	}{s.name, s.trace.Start, s.trace.Start.Add(s.length()), s.world.Step.Seconds(), len(s.before), s.bridged, s.notes, all(s.flown), all([]outcome{s.oracle})[0], all(s.hpas)})
}

// round rounds to parts of one.
func round(v, parts float64) float64 { return math.Round(v*parts) / parts }
