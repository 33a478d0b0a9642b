package main

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foretide/foretide/agent/attribution"
	"github.com/foretide/foretide/pkg/telemetry"
)

func TestPartsThatDoNotMakeUpTheWholeAreNamed(t *testing.T) {
	gpu := telemetry.Device{UUID: "GPU-1", Model: "H100"}
	part := telemetry.Device{UUID: "MIG-1", MIG: telemetry.MIG{ParentUUID: gpu.UUID}}
	usage := func(device string, m telemetry.Metric, v float64) telemetry.Usage {
		return telemetry.Usage{DeviceUUID: device, Values: telemetry.Values{m: v}}
	}
	cases := map[string]struct {
		metric      telemetry.Metric
		whole, rest float64
		usages      []telemetry.Usage
		wrong       string
	}{
		"all given": {telemetry.UtilizationMean, 0.8, 0,
			[]telemetry.Usage{usage(gpu.UUID, telemetry.UtilizationMean, 0.3), usage(gpu.UUID, telemetry.UtilizationMean, 0.5)}, ""},
		"some lost": {telemetry.UtilizationMean, 0.8, 0.1,
			[]telemetry.Usage{usage(gpu.UUID, telemetry.UtilizationMean, 0.5)}, "foretide_device_utilization_ratio is 0.8, but its parts make up 0.6"},
		"given twice": {telemetry.MemoryUsed, 1 << 30, 0,
			[]telemetry.Usage{usage(gpu.UUID, telemetry.MemoryUsed, 1<<30), usage(gpu.UUID, telemetry.MemoryUsed, 1<<30)}, "its parts make up 2.147483648e+09"},
		"instances draw of the GPU's power": {telemetry.Power, 300, 200, []telemetry.Usage{usage(part.UUID, telemetry.Power, 100)}, ""},
		"but not of its memory":             {telemetry.MemoryUsed, 300, 200, []telemetry.Usage{usage(part.UUID, telemetry.MemoryUsed, 100)}, "parts make up 200"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := telemetry.Reading{Device: gpu, Values: telemetry.Values{c.metric: c.whole}, Unattributed: telemetry.Values{c.metric: c.rest}}
			got := imbalance(r, attribution.Output{Readings: []telemetry.Reading{r, {Device: part}}, Usages: c.usages})
			if (got == "") != (c.wrong == "") || !strings.Contains(got, c.wrong) {
				t.Errorf("imbalance = %q; want %q", got, c.wrong)
			}
		})
	}
}

func TestEnergyThatTheCounterDoesNotShowIsWrong(t *testing.T) {
	joules := func(v float64) series { return series{count: 1, sum: v} }
	record := func(first, last, rest, used float64) *measurement {
		return &measurement{devices: []*deviceRecord{
			{uuid: "GPU-1", counterFirst: first, counterLast: last, restDrawn: joules(rest), uses: []*use{{drawn: joules(used)}}},
			{uuid: "MIG-1", device: telemetry.Device{MIG: telemetry.MIG{ParentUUID: "GPU-1"}}, uses: []*use{{drawn: joules(1000)}}},
		}}
	}
	for name, c := range map[string]struct {
		measured *measurement
		wrong    bool
	}{
		"all of it":  {record(1000, 10_000, 3000, 5000), false},
		"too little": {record(1000, 10_000, 3000, 4000), true},
		"too much":   {record(1000, 10_000, 3000, 6000), true},
		"no counter": {record(math.NaN(), math.NaN(), 0, 0), false},
	} {
		t.Run(name, func(t *testing.T) {
			if wrong := c.measured.judgeEnergy(c.measured.devices[0]); (wrong != nil) != c.wrong {
				t.Errorf("wrong = %q; want %v", wrong, c.wrong)
			}
		})
	}
}

func TestLatenciesAreRanked(t *testing.T) {
	l := newLatencies()
	for i := range 200 {
		l.observe("many", time.Duration(200-i))
	}
	l.observe("few", 7)
	want := []latency{{"few", 1, 7, 7, 7}, {"many", 200, 100, 198, 200}}
	if d := cmp.Diff(want, l.rows(), cmp.AllowUnexported(latency{})); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestTurnsAreByTheClockAndDoNotOverlap(t *testing.T) {
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return noon.Add(time.Duration(ms) * time.Millisecond) }
	l := load{turn: 0.4}
	for now, want := range map[int]int{0: 40, 39: 40, 40: 140, 41: 140, 99: 140, 100: 140} {
		if got := l.next(at(now)); !got.Equal(at(want)) {
			t.Errorf("at %d ms: the next turn is at %v; want %d ms", now, got.Sub(noon), want)
		}
	}
	end := 0.0
	for _, l := range loads {
		if l.turn < end {
			t.Errorf("a turn begins at %v; the one before ends at %v", l.turn, end)
		}
		end = l.turn + l.share
	}
	if end > 1 {
		t.Errorf("the last turn ends at %v of the period", end)
	}
}

func TestShareIsOfWholePeriods(t *testing.T) {
	stop := make(chan struct{})
	runs := 0
	kept, err := load{share: 0.3, length: time.Hour}.keep(func(length time.Duration) (time.Duration, error) {
		if runs++; runs == 3 {
			close(stop)
		}
		return length, nil
	}, stop)
	if err != nil {
		t.Fatal(err)
	}
	// A machine that is busy may miss a turn, but never gets a part of one.
	if periods := 3 * 0.3 / kept; periods < 3-1e-6 || math.Abs(periods-math.Round(periods)) > 1e-6 {
		t.Errorf("kept %v: that is of %v periods; want a whole number of them, 3 or more", kept, periods)
	}
}
