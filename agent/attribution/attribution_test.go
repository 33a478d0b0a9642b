package attribution

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/foretide/foretide/pkg/telemetry"
)

const gib = 1 << 30

var everything = []telemetry.Metric{telemetry.UtilizationMean, telemetry.UtilizationMax, telemetry.MemoryBusy, telemetry.EncoderBusy,
	telemetry.DecoderBusy, telemetry.MemoryUsed}

// gpu is a device that was busy for the given share, with 10 GiB of 80 in use, drawing 400 W and 400 J.
func gpu(uuid string, busy float64, processes ...telemetry.Process) telemetry.Sample {
	return telemetry.Sample{Reading: telemetry.Reading{Device: telemetry.Device{UUID: uuid}, Values: telemetry.Values{
		telemetry.UtilizationMean: busy, telemetry.UtilizationMax: busy, telemetry.MemoryUsed: 10 * gib, telemetry.MemoryTotal: 80 * gib,
		telemetry.Power: 400, telemetry.Energy: 400, telemetry.SMActive: busy / 2, telemetry.Temperature: 60}},
		Processes: processes, Divided: everything}
}

func process(pid int, busy float64, bytes float64) telemetry.Process {
	return telemetry.Process{PID: pid, Values: telemetry.Values{telemetry.UtilizationMean: busy, telemetry.UtilizationMax: busy, telemetry.MemoryUsed: bytes}}
}

func owner(pod string) telemetry.Owner {
	return telemetry.Owner{Namespace: "ns", Pod: pod, Container: "c"}
}

// whose gives PIDs from 100 on to pod "1", from 200 on to pod "2", and so on; below 100 to the host; and does not know of negative ones.
func whose(pid int) (telemetry.Owner, Of) {
	switch {
	case pid < 0:
		return telemetry.Owner{}, OfUnknown
	case pid < 100:
		return telemetry.Owner{}, OfHost
	}
	return owner(fmt.Sprint(pid / 100)), OfPod
}

func attribute(holders []telemetry.Owner, samples ...telemetry.Sample) Output {
	return Attribute(Input{Samples: samples, Owners: map[string][]telemetry.Owner{samples[0].Device.UUID: holders}, OwnerOf: whose})
}

var approximately = cmpopts.EquateApprox(1e-9, 1e-9)

func TestOnlyHolderHasTheWholeReading(t *testing.T) {
	for name, s := range map[string]telemetry.Sample{
		"busy":                    gpu("GPU-1", 0.4, process(100, 0.3, 9*gib)), // the rest is the driver's other way of measuring
		"idle":                    gpu("GPU-1", 0),
		"no process is seen":      gpu("GPU-1", 0.4, process(-1, 0.4, gib)),
		"processes are not known": {Reading: gpu("GPU-1", 0.4).Reading},
	} {
		t.Run(name, func(t *testing.T) {
			out := attribute([]telemetry.Owner{owner("1")}, s)
			want := telemetry.Values{}
			for m, v := range s.Values {
				if m != telemetry.Temperature { // the device's alone
					want[m] = v
				}
			}
			if d := cmp.Diff([]telemetry.Usage{{Owner: owner("1"), DeviceUUID: "GPU-1", Attribution: telemetry.AttributionExclusive, Values: want}},
				out.Usages, approximately); d != "" || out.Problems != nil {
				t.Errorf("(-want +got)\n%s problems %q", d, out.Problems)
			}
			for m, v := range out.Readings[0].Unattributed {
				if v != 0 {
					t.Errorf("metric %d: %v is unattributed", m, v)
				}
			}
		})
	}
}

func TestHolderDoesNotPayForProcessesOfOthersAndOfNoPod(t *testing.T) {
	out := attribute([]telemetry.Owner{owner("1")}, gpu("GPU-1", 0.5, process(7, 0.1, gib), process(100, 0.3, 4*gib), process(200, 0.1, 2*gib)))
	got := map[string]float64{}
	for _, u := range out.Usages {
		got[u.Owner.Pod+" "+string(u.Attribution)] = u.Values[telemetry.UtilizationMean]
		if _, ok := u.Values[telemetry.SMActive]; ok {
			t.Errorf("%v has SM activity, which cannot be divided", u.Owner)
		}
	}
	if d := cmp.Diff(map[string]float64{"1 exclusive": 0.3, "2 process": 0.1}, got, approximately); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	want := telemetry.Values{telemetry.UtilizationMean: 0.1, telemetry.MemoryUsed: gib, telemetry.Power: 40, telemetry.Energy: 40}
	if d := cmp.Diff(want, out.Readings[0].Unattributed, approximately); d != "" {
		t.Errorf("unattributed (-want +got)\n%s", d)
	}
}

func TestSharedDeviceIsDividedByItsProcesses(t *testing.T) {
	out := attribute([]telemetry.Owner{owner("1"), owner("2"), owner("3")},
		gpu("GPU-1", 0.7, process(100, 0.3, 4*gib), process(101, 0.1, gib), process(200, 0.2, 2*gib), process(7, 0.05, gib)))
	want := []telemetry.Usage{
		{Owner: owner("1"), DeviceUUID: "GPU-1", Attribution: telemetry.AttributionProcess, Values: telemetry.Values{telemetry.UtilizationMean: 0.4, telemetry.UtilizationMax: 0.4,
			telemetry.MemoryUsed: 5 * gib, telemetry.MemoryTotal: 80 * gib, telemetry.Power: 160, telemetry.Energy: 160}},
		{Owner: owner("2"), DeviceUUID: "GPU-1", Attribution: telemetry.AttributionProcess, Values: telemetry.Values{telemetry.UtilizationMean: 0.2, telemetry.UtilizationMax: 0.2,
			telemetry.MemoryUsed: 2 * gib, telemetry.MemoryTotal: 80 * gib, telemetry.Power: 80, telemetry.Energy: 80}},
		{Owner: owner("3"), DeviceUUID: "GPU-1", Attribution: telemetry.AttributionProcess, Values: telemetry.Values{telemetry.UtilizationMean: 0, telemetry.UtilizationMax: 0,
			telemetry.MemoryUsed: 0, telemetry.MemoryTotal: 80 * gib, telemetry.Power: 0, telemetry.Energy: 0}},
	}
	if d := cmp.Diff(want, out.Usages, approximately); d != "" || out.Problems != nil {
		t.Errorf("(-want +got)\n%s problems %q", d, out.Problems)
	}
	rest := telemetry.Values{telemetry.UtilizationMean: 0.1, telemetry.MemoryUsed: 3 * gib, telemetry.Power: 160, telemetry.Energy: 160}
	if d := cmp.Diff(rest, out.Readings[0].Unattributed, approximately); d != "" {
		t.Errorf("unattributed (-want +got)\n%s", d)
	}
}

func TestProcessesThatUsedMoreThanTheDeviceAreScaledDown(t *testing.T) {
	out := attribute([]telemetry.Owner{owner("1"), owner("2")}, gpu("GPU-1", 0.6, process(100, 0.6, gib), process(200, 0.2, gib)))
	if a, b := out.Usages[0].Values[telemetry.UtilizationMean], out.Usages[1].Values[telemetry.UtilizationMean]; math.Abs(a-0.45) > 1e-9 || math.Abs(b-0.15) > 1e-9 {
		t.Errorf("utilization = %v and %v; want 0.45 and 0.15", a, b)
	}
}

func TestSharedDeviceWhoseDriverTellsNoProcessesIsUnknownNotZero(t *testing.T) {
	s := gpu("GPU-1", 0.6, process(100, 0, gib), process(200, 0, 2*gib))
	s.Divided = []telemetry.Metric{telemetry.MemoryUsed}
	out := attribute([]telemetry.Owner{owner("1"), owner("2")}, s)
	for i, u := range out.Usages {
		if _, ok := u.Values[telemetry.UtilizationMean]; ok || u.Attribution != telemetry.AttributionUnknown {
			t.Errorf("usage = %+v; want unknown and no utilization", u)
		}
		if got := u.Values[telemetry.MemoryUsed]; got != float64(i+1)*gib {
			t.Errorf("memory = %v", got)
		}
	}
	if len(out.Problems) != 1 || !strings.Contains(out.Problems[0], "does not say which of them was busy") {
		t.Errorf("problems = %q", out.Problems)
	}
	s.Values[telemetry.UtilizationMean], s.Values[telemetry.UtilizationMax] = 0, 0
	out = attribute([]telemetry.Owner{owner("1"), owner("2")}, s)
	for _, u := range out.Usages {
		if v, ok := u.Values[telemetry.UtilizationMean]; !ok || v != 0 || u.Attribution != telemetry.AttributionProcess {
			t.Errorf("idle device: usage = %+v; want utilization 0", u)
		}
	}
}

func TestProcessesThatAreNotSeenAreNamedAndUnattributed(t *testing.T) {
	out := attribute([]telemetry.Owner{owner("1"), owner("2")}, gpu("GPU-1", 0.6, process(100, 0.2, gib), process(-1, 0.4, gib)))
	if got := out.Readings[0].Unattributed[telemetry.UtilizationMean]; math.Abs(got-0.4) > 1e-9 {
		t.Errorf("unattributed = %v; want 0.4", got)
	}
	if len(out.Problems) != 1 || !strings.Contains(out.Problems[0], "whose some of its processes are") || !strings.Contains(out.Problems[0], "hostPID") {
		t.Errorf("problems = %q", out.Problems)
	}
}

func TestHolderWhoseProcessesMayBeTheUnseenOnesIsUnknownNotIdle(t *testing.T) {
	holders := []telemetry.Owner{owner("1"), owner("2"), owner("3")}
	out := attribute(holders, gpu("GPU-1", 0.6, process(100, 0.2, gib), process(-1, 0.3, gib)))
	for _, u := range out.Usages {
		v, known := u.Values[telemetry.UtilizationMean]
		if seen := u.Owner == owner("1"); known != seen || seen && math.Abs(v-0.2) > 1e-9 || (u.Attribution == telemetry.AttributionUnknown) == seen {
			t.Errorf("usage = %+v; want pod 1 alone to be known", u)
		}
		if _, charged := u.Values[telemetry.Power]; charged != known {
			t.Errorf("usage = %+v; want power where utilization is", u)
		}
	}
	// One that uses nothing to speak of leaves nobody in doubt.
	for _, u := range attribute(holders, gpu("GPU-1", 0.6, process(100, 0.2, gib), process(-1, 0.005, 10))).Usages {
		if _, known := u.Values[telemetry.UtilizationMean]; !known {
			t.Errorf("usage = %+v; want it known", u)
		}
	}
}

func TestProcessOfAnotherContainerOfThePodCountsAsTheHoldersWhereThereIsOne(t *testing.T) {
	sidecar := func(int) (telemetry.Owner, Of) {
		return telemetry.Owner{Namespace: "ns", Pod: "1", Container: "sidecar"}, OfPod
	}
	s := gpu("GPU-1", 0.5, process(100, 0.5, gib))
	out := Attribute(Input{Samples: []telemetry.Sample{s}, Owners: map[string][]telemetry.Owner{"GPU-1": {owner("1"), owner("2")}}, OwnerOf: sidecar})
	if len(out.Usages) != 2 || out.Usages[0].Values[telemetry.UtilizationMean] != 0.5 {
		t.Errorf("usages = %+v; want the holding container to have 0.5", out.Usages)
	}
}

func TestOwnerOfAMIGInstanceIsChargedItsPartOfWhatTheGPUDraws(t *testing.T) {
	whole := telemetry.Sample{Reading: telemetry.Reading{Device: telemetry.Device{UUID: "GPU-1"}, Values: telemetry.Values{telemetry.Power: 400, telemetry.Energy: 200}}}
	part := func(uuid string, busy float64) telemetry.Sample {
		return telemetry.Sample{Reading: telemetry.Reading{Device: telemetry.Device{UUID: uuid, MIG: telemetry.MIG{ParentUUID: "GPU-1", Share: 0.25}},
			Values: telemetry.Values{telemetry.UtilizationMean: busy, telemetry.MemoryUsed: gib}}, Divided: []telemetry.Metric{telemetry.MemoryUsed}}
	}
	out := Attribute(Input{Samples: []telemetry.Sample{whole, part("MIG-a", 0.8), part("MIG-b", 0.4)},
		Owners: map[string][]telemetry.Owner{"MIG-a": {owner("1")}, "MIG-b": {owner("2")}}, OwnerOf: whose})
	want := []telemetry.Usage{
		{Owner: owner("1"), DeviceUUID: "MIG-a", Attribution: telemetry.AttributionMIG, Values: telemetry.Values{telemetry.UtilizationMean: 0.8, telemetry.MemoryUsed: gib, telemetry.Power: 80, telemetry.Energy: 40}},
		{Owner: owner("2"), DeviceUUID: "MIG-b", Attribution: telemetry.AttributionMIG, Values: telemetry.Values{telemetry.UtilizationMean: 0.4, telemetry.MemoryUsed: gib, telemetry.Power: 40, telemetry.Energy: 20}},
	}
	if d := cmp.Diff(want, out.Usages, approximately); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if d := cmp.Diff(telemetry.Values{telemetry.Power: 280, telemetry.Energy: 140}, out.Readings[0].Unattributed, approximately); d != "" {
		t.Errorf("unattributed (-want +got)\n%s", d)
	}
}

func TestHeldDeviceThatWasNotReadOrIsNotKnownIsUnknownNotMissing(t *testing.T) {
	out := Attribute(Input{Owners: map[string][]telemetry.Owner{"GPU-9": {owner("1")}}, Lost: map[string][]telemetry.Owner{"tegra": {owner("2")}}, OwnerOf: whose})
	want := []telemetry.Usage{{Owner: owner("1"), DeviceUUID: "GPU-9", Attribution: telemetry.AttributionUnknown},
		{Owner: owner("2"), DeviceUUID: "tegra", Attribution: telemetry.AttributionUnknown}}
	if d := cmp.Diff(want, out.Usages); d != "" || len(out.Problems) != 1 || !strings.Contains(out.Problems[0], "GPU-9 of ns/1 (c) was not read") {
		t.Errorf("(-want +got)\n%s problems %q", d, out.Problems)
	}
}

func TestWhatWasNotMeasuredStaysAbsent(t *testing.T) {
	s := gpu("GPU-1", 0.5, process(100, 0.5, gib))
	delete(s.Values, telemetry.UtilizationMean)
	delete(s.Values, telemetry.Power)
	for _, u := range attribute([]telemetry.Owner{owner("1"), owner("2")}, s).Usages {
		for _, m := range []telemetry.Metric{telemetry.UtilizationMean, telemetry.Power} {
			if v, ok := u.Values[m]; ok {
				t.Errorf("metric %d = %v, which nobody measured", m, v)
			}
		}
	}
}

// Whatever the readings, owners and processes are: per device and divisible metric, usages plus what is unattributed make the
// reading; nothing is below zero; a holder is always listed; and nobody but holders and users is.
func TestUsagesAndTheRestAddUpToTheReading(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		in := Input{Owners: map[string][]telemetry.Owner{}, OwnerOf: whose}
		for i := range random.IntN(6) {
			uuid := fmt.Sprintf("GPU-%d", i)
			s := gpu(uuid, float64(random.IntN(11))/10)
			for range random.IntN(5) {
				s.Processes = append(s.Processes, process(random.IntN(700)-50, float64(random.IntN(11))/10, random.Float64()*12*gib))
			}
			if random.IntN(3) == 0 {
				s.Divided = nil
			}
			in.Samples = append(in.Samples, s)
			for pod := range 5 {
				if random.IntN(3) == 0 {
					in.Owners[uuid] = append(in.Owners[uuid], owner(fmt.Sprint(pod)))
				}
			}
		}
		check(t, in, Attribute(in))
	}
}

func check(t *testing.T, in Input, out Output) {
	t.Helper()
	sums := map[string]telemetry.Values{}
	listed := map[string]bool{}
	for _, u := range out.Usages {
		if listed[u.DeviceUUID+u.Owner.Pod] {
			t.Fatalf("%v has two usages of %s", u.Owner, u.DeviceUUID)
		}
		listed[u.DeviceUUID+u.Owner.Pod] = true
		if sums[u.DeviceUUID] == nil {
			sums[u.DeviceUUID] = telemetry.Values{}
		}
		for m, v := range u.Values {
			if v < 0 {
				t.Fatalf("%+v: metric %d is below zero", u, m)
			}
			sums[u.DeviceUUID][m] += v
		}
	}
	for i, r := range out.Readings {
		if r.Device.UUID != in.Samples[i].Device.UUID {
			t.Fatalf("reading %d is of %s", i, r.Device.UUID)
		}
		for m, rest := range r.Unattributed {
			if got := sums[r.Device.UUID][m] + rest; rest < 0 || math.Abs(got-r.Values[m]) > 1e-9*max(1, r.Values[m]) {
				t.Fatalf("device %s metric %d: %v used + %v left; want %v\n%+v", r.Device.UUID, m, sums[r.Device.UUID][m], rest, r.Values[m], in.Samples[i])
			}
		}
		for m := range r.Unattributed {
			if _, sums := sums[r.Device.UUID][m]; !sums && len(in.Owners[r.Device.UUID]) == 1 {
				t.Fatalf("device %s metric %d: the only holder has none", r.Device.UUID, m)
			}
		}
		for _, o := range in.Owners[r.Device.UUID] {
			if !listed[r.Device.UUID+o.Pod] {
				t.Fatalf("%v holds %s and is not listed", o, r.Device.UUID)
			}
		}
		for m, v := range r.Values {
			_, told := r.Unattributed[m]
			if divided := in.Samples[i].Divided != nil || v == 0; m.Definition().Split.Sums() && divided && !told {
				t.Fatalf("device %s metric %d was not divided", r.Device.UUID, m)
			}
		}
	}
}
