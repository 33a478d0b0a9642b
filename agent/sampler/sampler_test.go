package sampler

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foretide/foretide/pkg/telemetry"
)

var (
	anna = telemetry.Owner{Namespace: "ns", Pod: "anna", Container: "c"}
	bert = telemetry.Owner{Namespace: "ns", Pod: "bert", Container: "c"}
)

// node is what the sampler sees and says; the test changes the former between two ticks.
type node struct {
	random   float64
	t        *testing.T
	s        *Sampler
	now      time.Time
	samples  []telemetry.Sample
	problems []string
	holdings []telemetry.Holding
	noAnswer error
	batches  []telemetry.Batch
	log      bytes.Buffer
}

func (n *node) Read(context.Context, time.Time) ([]telemetry.Sample, []string) {
	return n.samples, n.problems
}

func (n *node) Holdings(context.Context) ([]telemetry.Holding, error) {
	return n.holdings, n.noAnswer
}

func (n *node) Put(b telemetry.Batch) { n.batches = append(n.batches, b) }

// attribute gives a device to the owners that hold it, in equal parts, and half of it to nobody where none does.
func attribute(samples []telemetry.Sample, holdings []telemetry.Holding) (out Attributed) {
	for _, s := range samples {
		var holders []telemetry.Owner
		for _, h := range holdings {
			if h.ID == s.Device.UUID {
				holders = append(holders, h.Owner)
			}
		}
		part := func(of float64) telemetry.Values {
			values := telemetry.Values{}
			for m, v := range s.Values {
				values[m] = v * of
			}
			return values
		}
		s.Unattributed = part(0)
		if len(holders) == 0 {
			s.Unattributed = part(1)
		}
		for _, o := range holders {
			out.Usages = append(out.Usages, telemetry.Usage{Owner: o, DeviceUUID: s.Device.UUID, Values: part(1 / float64(len(holders)))})
		}
		out.Readings = append(out.Readings, s.Reading)
	}
	return out
}

// held says that the owners hold device GPU-0.
func held(owners ...telemetry.Owner) []telemetry.Holding {
	out := []telemetry.Holding{}
	for _, o := range owners {
		out = append(out, telemetry.Holding{Owner: o, ID: "GPU-0"})
	}
	return out
}

func newNode(t *testing.T) *node {
	n := &node{t: t, now: noon, random: 1}
	n.s = New(Options{Node: "node-1", Interval: time.Second, Random: func() float64 { return n.random }, Devices: n, Holdings: n, Attribute: attribute, Sink: n,
		Logger: slog.New(slog.NewTextHandler(&n.log, nil))})
	return n
}

// tick lets the time pass, sets device GPU-0 to the utilization and takes a sample. It returns the batches that came of it.
func (n *node) tick(after time.Duration, utilization float64) []telemetry.Batch {
	n.samples = []telemetry.Sample{look(telemetry.Values{telemetry.UtilizationMean: utilization, telemetry.UtilizationMax: utilization,
		telemetry.MemoryUsed: utilization * 1000})}
	return n.tickAsIs(after)
}

func look(values telemetry.Values) telemetry.Sample {
	return telemetry.Sample{Reading: telemetry.Reading{Device: telemetry.Device{UUID: "GPU-0"}, Values: values}}
}

func (n *node) tickAsIs(after time.Duration) []telemetry.Batch {
	n.now = n.now.Add(after)
	n.batches = nil
	n.s.Tick(n.t.Context(), n.now)
	return n.batches
}

func TestEverySampleIsABatchAtFirst(t *testing.T) {
	n := newNode(t)
	for i := range 3 {
		got := n.tick(time.Second, 0.5)
		if len(got) != 1 {
			t.Fatalf("%d batches after sample %d; want 1", len(got), i)
		}
		want := telemetry.Batch{Node: "node-1", Start: n.now.Add(-time.Second), End: n.now, OwnersKnown: true,
			Readings: []telemetry.Reading{{Device: telemetry.Device{UUID: "GPU-0"}, Values: telemetry.Values{
				telemetry.UtilizationMean: 0.5, telemetry.UtilizationMax: 0.5, telemetry.MemoryUsed: 500},
				Unattributed: telemetry.Values{telemetry.UtilizationMean: 0.5, telemetry.UtilizationMax: 0.5, telemetry.MemoryUsed: 500}}}}
		if d := cmp.Diff(want, got[0]); d != "" {
			t.Errorf("(-want +got)\n%s", d)
		}
	}
}

func TestLongerWindowHoldsMeanMaxAndLast(t *testing.T) {
	n := newNode(t)
	n.tick(time.Second, 1)
	n.s.SetReportInterval(4 * time.Second)
	for _, u := range []float64{0.25, 1, 0.5} {
		if got := n.tick(time.Second, u); got != nil {
			t.Fatalf("a batch came early: %v", got)
		}
	}
	got := n.tick(time.Second, 0.75)
	if len(got) != 1 || got[0].End.Sub(got[0].Start) != 4*time.Second {
		t.Fatalf("batches = %v; want one of 4 s", got)
	}
	want := telemetry.Values{telemetry.UtilizationMean: 0.625, telemetry.UtilizationMax: 1, telemetry.MemoryUsed: 750}
	if d := cmp.Diff(want, got[0].Readings[0].Values); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestAgentsToldAtTheSameMomentDoNotReportAtTheSameMomentsAfter(t *testing.T) {
	for random, want := range map[float64][]int{0: {1, 11, 21}, 0.3: {3, 13, 23}, 0.99: {10, 20, 30}} {
		n := newNode(t)
		n.random = random
		n.tick(time.Second, 1)
		n.s.SetReportInterval(10 * time.Second)
		var got []int
		for second := range 30 {
			if len(n.tick(time.Second, 1)) > 0 {
				got = append(got, second+1)
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("drawn %v: seconds with a batch (-want +got)\n%s", random, d)
		}
	}
}

func TestReportIntervalStaysWithinBounds(t *testing.T) {
	n := newNode(t)
	n.s.SetReportInterval(time.Millisecond)
	n.tick(time.Second, 1)
	if got := n.tick(time.Second, 1); len(got) != 1 {
		t.Error("an interval below the sampling interval stopped the reports")
	}
	n.s.SetReportInterval(50 * 24 * time.Hour)
	batches := 0
	for range 61 {
		batches += len(n.tick(time.Second, 1))
	}
	if batches != 1 {
		t.Errorf("%d batches in a minute; want 1", batches)
	}
}

func TestUtilizationThatWasNotMeasuredIsAbsent(t *testing.T) {
	n := newNode(t)
	n.samples = []telemetry.Sample{look(telemetry.Values{telemetry.MemoryUsed: 7})}
	got := n.tickAsIs(time.Second)
	if d := cmp.Diff(telemetry.Values{telemetry.MemoryUsed: 7}, got[0].Readings[0].Values); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestNodeWithoutReadingsStillReportsWhy(t *testing.T) {
	n := newNode(t)
	n.problems = []string{"nvml: library not found"}
	got := n.tickAsIs(time.Second)
	if len(got) != 1 || len(got[0].Readings) != 0 || len(got[0].Problems) != 1 {
		t.Errorf("batches = %+v; want one with the problem alone", got)
	}
}

func TestDeviceThatChangesHandsEndsTheWindow(t *testing.T) {
	n := newNode(t)
	n.holdings = held(anna)
	n.tick(time.Second, 0)
	n.s.SetReportInterval(10 * time.Second)
	n.tick(time.Second, 0.2)
	n.tick(time.Second, 0.4)
	n.holdings = held(bert)
	got := n.tick(time.Second, 1)
	if len(got) != 1 || got[0].End.Sub(got[0].Start) != 2*time.Second {
		t.Fatalf("batches = %v; want one that ends with anna's last sample", got)
	}
	usage := got[0].Usages[0]
	if mean := usage.Values[telemetry.UtilizationMean]; usage.Owner != anna || mean < 0.299 || mean > 0.301 {
		t.Errorf("usage = %+v; want anna's 0.3", usage)
	}
	var rest []telemetry.Batch
	for rest == nil {
		rest = n.tick(time.Second, 1)
	}
	if u := rest[0].Usages[0]; u.Owner != bert || u.Values[telemetry.UtilizationMean] != 1 || !rest[0].Start.Equal(got[0].End) {
		t.Errorf("batch = %+v; want bert's 1 from where anna's ended", rest[0])
	}
}

func TestOneUnansweredQuestionIsForgivenTwoMeanUnknown(t *testing.T) {
	n := newNode(t)
	n.holdings = held(anna)
	n.tick(time.Second, 0.5)
	n.noAnswer = errors.New("gone")
	if got := n.tick(time.Second, 0.5); !got[0].OwnersKnown || len(got[0].Usages) != 1 || len(got[0].Problems) != 1 {
		t.Errorf("batch = %+v; want the owners of the tick before, and the problem", got[0])
	}
	if n.s.Status().OwnersKnown {
		t.Error("status says that the kubelet answered")
	}
	for range 2 {
		if got := n.tick(time.Second, 0.5); got[0].OwnersKnown || got[0].Usages != nil || len(got[0].Readings) != 1 {
			t.Errorf("batch = %+v; want readings, no usages, owners not known", got[0])
		}
	}
	n.noAnswer = nil
	if got := n.tick(time.Second, 0.5); !got[0].OwnersKnown || len(got[0].Usages) != 1 {
		t.Errorf("batch = %+v; want the owner back", got[0])
	}
}

func TestKubeletThatNeverAnsweredMeansUnknown(t *testing.T) {
	n := newNode(t)
	n.noAnswer = errors.New("no socket")
	if got := n.tick(time.Second, 0.5); got[0].OwnersKnown || got[0].Problems[0] != "kubelet: no socket" {
		t.Errorf("batch = %+v; want owners not known", got[0])
	}
	n.noAnswer, n.holdings = nil, nil
	if got := n.tick(time.Second, 0.5); !got[0].OwnersKnown {
		t.Errorf("batch = %+v; want owners known: there are none", got[0])
	}
}

func TestTimeWithoutSamplesIsNobodys(t *testing.T) {
	n := newNode(t)
	n.tick(time.Second, 0)
	n.s.SetReportInterval(10 * time.Second)
	n.tick(time.Second, 0.5)
	before := n.now
	got := n.tick(time.Minute, 1)
	if len(got) != 1 || !got[0].End.Equal(before) {
		t.Fatalf("batches = %v; want the window to end with the last sample before the pause", got)
	}
	n.s.SetReportInterval(time.Second)
	if got = n.tick(time.Second, 1); !got[0].Start.Equal(n.now.Add(-2*time.Second)) || !got[0].End.Equal(n.now) {
		t.Errorf("window [%v, %v); want it to begin an interval before the first sample after the pause", got[0].Start, got[0].End)
	}
}

func TestProblemsOfABatchAreBoundedAndNotRepeated(t *testing.T) {
	n := newNode(t)
	for i := range 100 {
		n.problems = append(n.problems, fmt.Sprintf("p%d", i), fmt.Sprintf("p%d", i))
	}
	got := n.tickAsIs(time.Second)[0].Problems
	if len(got) != maxProblems+1 || got[1] != "p1" || !strings.HasPrefix(got[maxProblems], "and ") {
		t.Errorf("%d problems: %q", len(got), got)
	}
}

func TestProblemIsLoggedWhenItComesAndWhenItIsOver(t *testing.T) {
	n := newNode(t)
	for i := range 120 {
		n.problems = nil
		if i%2 == 0 && i < 40 {
			n.problems = []string{"device 1: lost"}
		}
		n.tickAsIs(time.Second)
	}
	if got := n.log.String(); strings.Count(got, "level=WARN") != 1 || strings.Count(got, "problem is over") != 1 {
		t.Errorf("log:\n%s", got)
	}
}

func TestRunTicksEachIntervalAndHandsOverTheRestAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.samples = []telemetry.Sample{look(nil)}
		n.s.SetReportInterval(10 * time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { n.s.Run(ctx); close(done) }()
		time.Sleep(12*time.Second + 500*time.Millisecond)
		if got := n.s.Status(); got.Ticks != 13 || time.Since(got.Began) != 500*time.Millisecond {
			t.Errorf("status = %+v; want 13 ticks, the last half a second ago", got)
		}
		cancel()
		<-done
		if len(n.batches) != 2 || n.batches[1].Start != n.batches[0].End || n.batches[1].End.Sub(n.batches[0].Start) != 13*time.Second {
			t.Errorf("batches = %v; want two that cover all 13 samples", n.batches)
		}
	})
}

func TestStatusCountsHoldersAndWhatCouldNotBeAttributed(t *testing.T) {
	n := newNode(t)
	n.s.o.Attribute = func([]telemetry.Sample, []telemetry.Holding) Attributed {
		return Attributed{Problems: []string{"attribution: shared"}}
	}
	n.holdings = append(held(anna, bert), telemetry.Holding{Owner: anna, ID: "GPU-1"})
	n.problems = []string{"device 1: lost"}
	n.tick(time.Second, 0.5)
	if got := n.s.Status(); got.Holders != 2 || got.Problems != 2 || !got.OwnersKnown || got.Ticks != 1 {
		t.Errorf("status = %+v; want two holders, a problem of the tick and one of attribution", got)
	}
	n.s.SetReportInterval(10 * time.Second)
	if n.s.ReportInterval() != 10*time.Second {
		t.Errorf("report interval = %v", n.s.ReportInterval())
	}
	n.noAnswer = errors.New("gone")
	n.tick(time.Second, 0.5)
	n.tick(time.Second, 0.5)
	if got := n.s.Status(); got.Holders != 0 || got.OwnersKnown {
		t.Errorf("status = %+v; want no holders known", got)
	}
}

func TestOwnerThatUsedTheDeviceForAPartOfTheWindowUsedNothingInTheRest(t *testing.T) {
	n := newNode(t)
	n.tick(time.Second, 0)
	n.s.SetReportInterval(4 * time.Second)
	all := n.s.o.Attribute
	for i := range 4 {
		n.s.o.Attribute = func(samples []telemetry.Sample, _ []telemetry.Holding) Attributed {
			if i == 1 {
				return all(samples, held(anna)) // by its processes; it holds nothing
			}
			return all(samples, nil)
		}
		n.tick(time.Second, 0.8)
	}
	b := n.batches[0]
	if d := cmp.Diff(telemetry.Values{telemetry.UtilizationMean: 0.2, telemetry.UtilizationMax: 0.8, telemetry.MemoryUsed: 0}, b.Usages[0].Values); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if got := b.Readings[0].Unattributed[telemetry.UtilizationMean]; got < 0.599 || got > 0.601 {
		t.Errorf("unattributed = %v; want the other 0.6", got)
	}
}

func TestPartOfAGPUsPowerThatAnInstanceHasIsAMeanOverTheGPUsSamples(t *testing.T) {
	n := newNode(t)
	n.tick(time.Second, 0)
	n.s.SetReportInterval(2 * time.Second)
	gpu, instance := telemetry.Device{UUID: "GPU-0"}, telemetry.Device{UUID: "MIG-0", MIG: telemetry.MIG{ParentUUID: "GPU-0"}}
	for i := range 2 {
		n.s.o.Attribute = func([]telemetry.Sample, []telemetry.Holding) Attributed {
			power := telemetry.Values{telemetry.Power: 300}
			u := telemetry.Usage{Owner: anna, DeviceUUID: "MIG-0", Values: telemetry.Values{telemetry.MemoryTotal: 1}}
			rest := 300.0
			if i == 1 { // how busy the instance was is known from the second sample on
				u.Values[telemetry.Power], rest = 100, 200
			}
			return Attributed{Usages: []telemetry.Usage{u}, Readings: []telemetry.Reading{
				{Device: gpu, Values: power, Unattributed: telemetry.Values{telemetry.Power: rest}}, {Device: instance}}}
		}
		n.tickAsIs(time.Second)
	}
	b := n.batches[0]
	if got := b.Usages[0].Values[telemetry.Power] + b.Readings[0].Unattributed[telemetry.Power]; got != 300 {
		t.Errorf("power: %v W in sum; want the GPU's 300: %+v", got, b)
	}
}

func TestSamplesInWhichAnOwnersPartIsNotKnownDoNotCountAsIdle(t *testing.T) {
	n := newNode(t)
	n.tick(time.Second, 0)
	n.s.SetReportInterval(4 * time.Second)
	all := n.s.o.Attribute
	for i := range 4 {
		n.s.o.Attribute = func(samples []telemetry.Sample, _ []telemetry.Holding) Attributed {
			seen := all(samples, held(anna))
			if i < 2 { // whose the processes are is not known yet
				seen.Usages[0].Values = nil
				seen.Readings[0].Unattributed = telemetry.Values{telemetry.UtilizationMean: 0.8}
			}
			seen.Usages = append(seen.Usages, telemetry.Usage{Owner: bert, DeviceUUID: "GPU-gone", Attribution: telemetry.AttributionUnknown})
			return seen
		}
		n.tick(time.Second, 0.8)
	}
	b := n.batches[0]
	if got := b.Usages[0].Values[telemetry.UtilizationMean]; got < 0.799 || got > 0.801 {
		t.Errorf("utilization = %v; want 0.8, of the samples in which it is known", got)
	}
	if got := b.Usages[1]; got.DeviceUUID != "GPU-gone" || got.Values != nil {
		t.Errorf("usage = %+v; want that of the device that was not read, without values", got)
	}
}

func TestEnergyOfOwnersIsCountedFromWhenTheyAreSeenAndAddsUp(t *testing.T) {
	n := newNode(t)
	n.holdings = held(anna, bert)
	draw := func(counter float64) telemetry.Batch {
		n.samples = []telemetry.Sample{look(telemetry.Values{telemetry.Energy: counter})}
		return n.tickAsIs(time.Second)[0]
	}
	if b := draw(5000); len(b.Usages[0].Values) != 0 || b.Readings[0].Values[telemetry.Energy] != 5000 {
		t.Errorf("first batch = %+v; want the device's counter, and nothing of the owners", b)
	}
	want := 0.0
	for counter := 5100.0; counter <= 6000; counter += 100 {
		want += 50
		b := draw(counter)
		for _, u := range b.Usages {
			if got := u.Values[telemetry.Energy]; got != want {
				t.Fatalf("%v drew %v J; want %v", u.Owner, got, want)
			}
		}
		if got := b.Readings[0].Values[telemetry.Energy]; got != counter {
			t.Fatalf("device drew %v J; want %v", got, counter)
		}
	}
	if b := draw(10); len(b.Usages[0].Values) != 0 {
		t.Errorf("after the driver was loaded anew: %+v; want nothing booked", b.Usages[0])
	}
	if got := draw(30).Usages[0].Values[telemetry.Energy]; got != want+10 {
		t.Errorf("anna drew %v J; want %v", got, want+10)
	}
	n.holdings = held(anna)
	for counter := 30.0; counter < 730; counter++ {
		draw(counter)
	}
	if got := len(n.s.ledger.accounts); got != 2 {
		t.Errorf("%d accounts; want anna's and nobody's", got)
	}
}
