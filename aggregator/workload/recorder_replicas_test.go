package workload

import (
	"context"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/foretide/foretide/aggregator/live" //nolint:depguard // what two replicas write is a matter of both rooms
	"github.com/foretide/foretide/pkg/telemetry"
)

// demandBits is a minute as it was written, to the last bit.
type demandBits struct{ busyGPUs, pods uint64 }

// replica is a Recorder over a live view of its own.
type replica struct {
	*Recorder
	view    *live.View
	written map[time.Time]demandBits
}

func newReplica(t *testing.T, workloads func() []Workload) *replica {
	t.Helper()
	view, err := live.New(live.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := &replica{view: view, written: map[time.Time]demandBits{}}
	r.Recorder, err = NewRecorder(RecorderOptions{
		Workloads: workloads,
		Load: func(namespace, pod, node string, from, to time.Time) Load {
			s := view.PodBetween(namespace, pod, node, from, to)
			return Load{Reports: Reports(s.Reports), Known: s.Known, GPUs: s.GPUs, BusyGPUs: s.BusyGPUs, Held: s.Held}
		},
		Append: func(_ context.Context, _ ID, at time.Time, busyGPUs, pods float64) error {
			r.written[at] = demandBits{math.Float64bits(busyGPUs), math.Float64bits(pods)}
			return nil
		},
		Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// day is six minutes after noon of three nodes whose agents report every second, five and fifteen seconds.
type day struct {
	random *rand.Rand
	frames []telemetry.Frame
}

const (
	dayLength = 6 * time.Minute
	// lastOfFirst is when the first agent of node a ends.
	lastOfFirst = 130 * time.Second
)

// pods are those of the workload at a time: one joins on node b, another leaves node c.
func pods(now time.Time) []Pod {
	out := []Pod{
		{Name: "bert-0", Node: "a", State: Ready, GPUs: 2, ReadySince: noon.Add(-time.Hour)},
		{Name: "bert-1", Node: "b", State: Ready, GPUs: 1, ReadySince: noon.Add(-time.Hour)},
	}
	joins := Pod{Name: "bert-2", Node: "b", State: Unready, GPUs: 1}
	if since := noon.Add(95 * time.Second); !now.Before(since) {
		joins.State, joins.ReadySince = Ready, since
	}
	out = append(out, joins)
	if now.Before(noon.Add(213 * time.Second)) {
		out = append(out, Pod{Name: "bert-3", Node: "c", State: Ready, GPUs: 1, ReadySince: noon.Add(-time.Hour)})
	}
	return out
}

// report lets a node's agent sample until a time.
func (d *day) report(node, session string, from, until time.Duration, every time.Duration) {
	var framer telemetry.Framer
	devices := map[string][]string{"bert-0": {"GPU-1", "GPU-0"}, "bert-1": {"GPU-0"}, "bert-2": {"GPU-1"}, "bert-3": {"GPU-0"}}
	for sequence := uint64(1); from < until; sequence++ {
		b := telemetry.Batch{Node: node, Session: session, Sequence: sequence, OwnersKnown: true,
			Start: noon.Add(from), End: noon.Add(from + every)}
		for _, pod := range pods(b.Start) {
			for _, uuid := range devices[pod.Name] {
				if pod.Node == node {
					b.Usages = append(b.Usages, telemetry.Usage{Owner: telemetry.Owner{Namespace: "default", Pod: pod.Name, Container: "main"},
						DeviceUUID: uuid, Attribution: telemetry.AttributionExclusive,
						Values: telemetry.Values{telemetry.UtilizationMean: d.random.Float64()}})
				}
			}
		}
		d.frames = append(d.frames, framer.Frame(b))
		from += every
	}
}

func newDay() *day {
	d := &day{random: rand.New(rand.NewPCG(3, 4))}
	d.report("a", "first", -20*time.Second, lastOfFirst, time.Second)
	d.report("a", "second", 133*time.Second, dayLength, time.Second) // its agent was started anew
	d.report("b", "only", -17*time.Second, dayLength, 15*time.Second)
	d.report("c", "only", -22*time.Second, dayLength, 5*time.Second)
	return d
}

// arrive plays the day to a replica, to which each frame comes so late, or never when that is negative.
func (d *day) arrive(t *testing.T, late func(telemetry.Frame) time.Duration) *replica {
	now := noon.Add(-25 * time.Second)
	r := newReplica(t, func() []Workload { return []Workload{{ID: bert, Pods: pods(now)}} })
	type arrival struct {
		at    time.Time
		frame telemetry.Frame
	}
	var arrivals []arrival
	for _, f := range d.frames {
		if l := late(f); l >= 0 {
			arrivals = append(arrivals, arrival{f.End.Add(l), f})
		}
	}
	slices.SortStableFunc(arrivals, func(a, b arrival) int { return a.at.Compare(b.at) })
	for ; now.Before(noon.Add(dayLength + 2*time.Minute)); now = now.Add(time.Second) {
		for len(arrivals) > 0 && !arrivals[0].at.After(now) {
			r.view.Put(arrivals[0].frame, now)
			arrivals = arrivals[1:]
		}
		r.Record(t.Context(), now)
	}
	return r
}

func TestReplicasThatWereToldTheSameWriteTheSameToTheLastBit(t *testing.T) {
	d := newDay()
	prompt := d.arrive(t, func(telemetry.Frame) time.Duration { return 0 })
	if len(prompt.written) != int(dayLength/time.Minute) {
		t.Fatalf("%d minutes are written, want each of six", len(prompt.written))
	}
	distinct := map[demandBits]bool{}
	for _, demand := range prompt.written {
		distinct[demand] = true
	}
	if len(distinct) != len(prompt.written) {
		t.Fatalf("minutes are not told apart: %v", prompt.written)
	}
	for range 10 {
		late := d.arrive(t, func(telemetry.Frame) time.Duration { return time.Duration(d.random.Int64N(int64(20 * time.Second))) })
		for at, want := range prompt.written {
			if got, ok := late.written[at]; !ok || got != want {
				t.Errorf("minute %v: %v, %v in another order; want %v", at.Format(time.TimeOnly), got, ok, want)
			}
		}
	}
}

func TestAReplicaThatWasCutOffAndCaughtUpWritesTheSame(t *testing.T) {
	d := newDay()
	prompt := d.arrive(t, func(telemetry.Frame) time.Duration { return 0 })
	back := noon.Add(225 * time.Second)
	cutOff := d.arrive(t, func(f telemetry.Frame) time.Duration { // for forty seconds; the newest comes first
		if f.End.After(back.Add(-40*time.Second)) && f.End.Before(back) {
			return back.Sub(f.End) + back.Sub(f.End)/10
		}
		return 0
	})
	if len(cutOff.written) != len(prompt.written) {
		t.Errorf("%d minutes are written, want %d", len(cutOff.written), len(prompt.written))
	}
	for at, got := range cutOff.written {
		if got != prompt.written[at] {
			t.Errorf("minute %v is %v, want %v", at.Format(time.TimeOnly), got, prompt.written[at])
		}
	}
}

func TestAReplicaThatMissedFramesWritesNothingRatherThanSomethingElse(t *testing.T) {
	d := newDay()
	prompt := d.arrive(t, func(telemetry.Frame) time.Duration { return 0 })
	absent := 0
	for range 30 {
		lost := d.random.IntN(len(d.frames))
		if d.frames[lost].End.Equal(noon.Add(lastOfFirst)) {
			continue // nobody can tell that an agent which ended had one frame more
		}
		missed := d.arrive(t, func(f telemetry.Frame) time.Duration {
			if f.Node == d.frames[lost].Node && f.Session == d.frames[lost].Session && f.Sequence == d.frames[lost].Sequence {
				return -1
			}
			return 0
		})
		for at, got := range missed.written {
			if got != prompt.written[at] {
				t.Errorf("without frame %d of %s minute %v is %v, want nothing or %v",
					d.frames[lost].Sequence, d.frames[lost].Node, at.Format(time.TimeOnly), got, prompt.written[at])
			}
		}
		absent += len(prompt.written) - len(missed.written)
		if len(missed.written) < len(prompt.written)-2 {
			t.Errorf("without one frame only %d minutes are written", len(missed.written))
		}
	}
	if absent < 15 {
		t.Errorf("%d minutes are absent for 30 lost frames: most of those that a frame is of must be", absent)
	}
}
