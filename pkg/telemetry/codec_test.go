package telemetry

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/foretide/foretide/pkg/telemetry/telemetrypb"
)

var epoch = time.UnixMilli(1_790_000_000_000)

// node is a made-up node whose values move as those of a real one: means and power each second, memory in pages now and
// then, counters onwards, the rest hardly ever.
type node struct {
	random *rand.Rand
	batch  Batch
}

func newNode(seed uint64, gpus, podsPerGPU int) *node {
	n := &node{random: rand.New(rand.NewPCG(seed, 1))}
	n.batch = Batch{Node: "gpu-node-7", Session: "word", OwnersKnown: true, End: epoch}
	for g := range gpus {
		uuid := fmt.Sprintf("GPU-5fd4f087-86f3-7a43-b711-4771313afc%02d", g)
		n.batch.Readings = append(n.batch.Readings, Reading{Device: Device{UUID: uuid, Index: g, Minor: g, Model: "NVIDIA H100 80GB HBM3",
			PCIBusID: fmt.Sprintf("00000000:%02X:00.0", g)}, Values: Values{}, Unattributed: Values{}})
		for p := range podsPerGPU {
			name := fmt.Sprintf("llama-7d9f8b6c5d-%02d%02d", g, p)
			n.batch.Pods = append(n.batch.Pods, Pod{Namespace: "default", Name: name, UID: "2f0c", ControllerKind: "ReplicaSet", ControllerName: "llama-7d9f8b6c5d", Known: true, Ready: true})
			n.batch.Usages = append(n.batch.Usages, Usage{Owner: Owner{"default", name, "server"}, DeviceUUID: uuid, Attribution: AttributionProcess, Values: Values{}})
			n.batch.Workload = append(n.batch.Workload, WorkloadValue{"default", name, "vllm:num_requests_waiting", 0})
		}
	}
	n.tick()
	return n
}

func (n *node) tick() Batch {
	n.batch.Sequence++
	n.batch.Start, n.batch.End = n.batch.End, n.batch.End.Add(time.Second)
	for i := range n.batch.Readings {
		n.move(n.batch.Readings[i].Values, func(d Definition) bool { return true })
		n.move(n.batch.Readings[i].Unattributed, func(d Definition) bool { return d.Split.Sums() })
	}
	for i := range n.batch.Usages {
		n.move(n.batch.Usages[i].Values, func(d Definition) bool { return d.Split != SplitNone })
	}
	for i := range n.batch.Workload {
		n.batch.Workload[i].Value = float64(n.random.IntN(40))
	}
	return n.batch
}

func (n *node) move(values Values, has func(Definition) bool) {
	for _, d := range Catalogue() {
		if !has(d) {
			continue
		}
		v, known := values[d.Metric]
		switch d.Unit {
		case "ratio":
			v = n.random.Float64()
		case "watts":
			v = 100 + 600*n.random.Float64()
		case "joules":
			v += 700 * n.random.Float64()
		case "bytes":
			if !known || n.random.IntN(10) == 0 {
				v = float64(n.random.IntN(40000)) * (2 << 20)
			}
		case "bytes_per_second":
			v = 1e9 * n.random.Float64()
		case "celsius":
			v = float64(40 + n.random.IntN(3))
		case "hertz":
			v = float64(1900+15*n.random.IntN(3)) * 1e6
		}
		values[d.Metric] = v
	}
}

func rounded1(b Batch) Batch {
	round := func(values Values) Values {
		if len(values) == 0 {
			return nil
		}
		out := Values{}
		for m, v := range values {
			out[m] = m.Definition().Round(v)
		}
		return out
	}
	out := b
	out.Readings, out.Usages = nil, nil
	for _, r := range b.Readings {
		out.Readings = append(out.Readings, Reading{r.Device, round(r.Values), round(r.Unattributed)})
	}
	for _, u := range b.Usages {
		out.Usages = append(out.Usages, Usage{u.Owner, u.DeviceUUID, u.Attribution, round(u.Values)})
	}
	return out
}

// over sends a message through its bytes, as the network does.
func over(t testing.TB, in *telemetrypb.Frame) *telemetrypb.Frame {
	t.Helper()
	bytes, err := proto.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	out := &telemetrypb.Frame{}
	if err := proto.Unmarshal(bytes, out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestBatchesArriveAsTheyWereSent(t *testing.T) {
	n := newNode(7, 3, 2)
	n.batch.Readings[1].Device.MIG = MIG{ParentUUID: "GPU-x", GPUInstance: 3, Profile: "1g.10gb", Placement: -1, Share: 0.125}
	n.batch.Readings[2].Device.MIG = MIG{ParentUUID: "GPU-x", GPUInstance: 4, Profile: "1g.10gb", Placement: 2}
	var framer Framer
	var encoder Encoder
	decoder := NewDecoder("gpu-node-7", "word")
	var layouts []*Layout
	for step := range 40 {
		b := n.tick()
		switch step {
		case 5: // a metric goes missing
			delete(b.Usages[1].Values, Energy)
		case 10: // a pod goes
			n.batch.Usages, n.batch.Pods = n.batch.Usages[1:], n.batch.Pods[1:]
			b = n.batch
		case 15:
			b.Readings[0].Values[MemoryUsed] = 12345.678 // on no grid
			b.Workload[0].Value = -1.5
			b.Workload[1].Value = 0.1
		case 20: // the kubelet is away
			b.OwnersKnown, b.Usages, b.Pods, b.Workload = false, nil, nil, nil
			b.Problems = []string{"kubelet: no answer"}
		case 25: // the driver is
			b.Readings, b.Usages, b.Pods, b.Workload = nil, nil, nil, nil
		case 30:
			encoder.Reset()
		case 31: // the order of arrival is not that of sampling
			b.Start, b.End, b.Sequence = b.Start.Add(-time.Hour), b.End.Add(-time.Hour), 1
		}
		f, err := decoder.Decode(over(t, encoder.Encode(framer.Frame(b))))
		if err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
		if diff := cmp.Diff(rounded1(b), f.Batch()); diff != "" {
			t.Fatalf("step %d (-sent +received):\n%s", step, diff)
		}
		layouts = append(layouts, f.Layout)
	}
	if layouts[0] != layouts[4] || layouts[11] == layouts[9] {
		t.Error("frames of one layout do not share it, or those of two do")
	}
}

func TestValuesOnNoGridArriveBitForBit(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	values := []float64{0, math.Copysign(0, -1), 1e300, -1e300, math.SmallestNonzeroFloat64, 1 << 60, 0.1, math.Pi, math.NaN(), math.Inf(1)}
	for range 2000 {
		values = append(values, math.Float64frombits(random.Uint64()), float64(random.Int64N(1e9))/1e6)
	}
	slots := upTo(len(values))
	columns := []Column{{Kind: ReadingColumn, Slots: slots, Grid: Grid{Digits: 6}}, {Kind: ReadingColumn, Slots: slots, Grid: Grid{Digits: -6}},
		{Kind: ReadingColumn, Slots: slots, Grid: Grid{Shift: 10}}}
	var sent []float64
	for range columns {
		random.Shuffle(len(values), func(i, j int) { values[i], values[j] = values[j], values[i] })
		sent = append(sent, values...)
	}
	for _, before := range [][]float64{nil, make([]float64, len(sent)), sent} {
		got, err := readValues(appendValues(nil, columns, sent, before), columns, len(sent), before)
		if err != nil {
			t.Fatal(err)
		}
		for i := range sent {
			if math.Float64bits(sent[i]) != math.Float64bits(got[i]) {
				t.Fatalf("value %d: %v (%x) became %v (%x)", i, sent[i], math.Float64bits(sent[i]), got[i], math.Float64bits(got[i]))
			}
		}
	}
}

func TestRoundingKeepsWhatWasMeasured(t *testing.T) {
	for _, c := range []struct {
		m        Metric
		in, want float64
	}{
		{UtilizationMean, 0.123456789, 0.123457}, {Power, 350.12345, 350.123}, {MemoryUsed, 1234567, 1234567}, {Temperature, 41.5, 41.5},
		{PCIeReceive, 1_000_000, 1_000_448}, {Energy, 1e300, 1e300},
	} {
		if got := c.m.Definition().Round(c.in); got != c.want {
			t.Errorf("%s: %v became %v, want %v", c.m.Definition().Name, c.in, got, c.want)
		}
	}
}

func TestPartsStillMakeUpTheReadingWhenAllAreRounded(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 2))
	var framer Framer
	for round := range 200 {
		whole := round%2 == 0
		n := newNode(random.Uint64(), 2, 16)
		for i, r := range n.batch.Readings {
			for _, m := range []Metric{UtilizationMean, Power, MemoryBusy} {
				left := r.Values[m]
				for j := range n.batch.Usages {
					if n.batch.Usages[j].DeviceUUID == r.Device.UUID {
						part := left * random.Float64() / 4
						if whole && j >= len(n.batch.Usages)-2 {
							part = left // nothing is left over: what rounding adds must come from somewhere
						}
						n.batch.Usages[j].Values[m] = part
						left -= part
					}
				}
				n.batch.Readings[i].Unattributed[m] = left
			}
		}
		before := n.batch.Readings[0].Unattributed[Energy] // a total since another moment than the reading's
		b := framer.Frame(n.batch).Batch()
		for _, r := range b.Readings {
			for _, m := range []Metric{UtilizationMean, Power, MemoryBusy} {
				sum := r.Unattributed[m]
				for _, u := range b.Usages {
					if u.DeviceUUID == r.Device.UUID {
						sum += u.Values[m]
					}
				}
				if math.Abs(sum-r.Values[m]) > 1e-9 {
					t.Fatalf("%s is %v, its parts make up %v", m.Definition().Name, r.Values[m], sum)
				}
			}
		}
		if got := b.Readings[0].Unattributed[Energy]; got != Energy.Definition().Round(before) {
			t.Fatalf("unattributed energy became %v, was %v", got, before)
		}
	}
}

func TestWhatANewerAgentKnowsIsLeftOut(t *testing.T) {
	n := newNode(1, 2, 1)
	var framer Framer
	var encoder Encoder
	decoder := NewDecoder("n", "s")
	for range 3 {
		b := n.tick()
		f := framer.Frame(b)
		wide := *f.Layout
		wide.Columns = append([]Column{{Kind: UsageColumn, Metric: 4242, Slots: upTo(2), Grid: Grid{Digits: 2}}}, wide.Columns...)
		layout, err := NewLayout(wide)
		if err != nil {
			t.Fatal(err)
		}
		f.Layout, f.Values = layout, append([]float64{1.25, 7}, f.Values...)
		got, err := decoder.Decode(over(t, encoder.Encode(f)))
		if err != nil {
			t.Fatal(err)
		}
		b.Node, b.Session = "n", "s"
		if diff := cmp.Diff(rounded1(b), got.Batch()); diff != "" {
			t.Fatalf("(-sent +received):\n%s", diff)
		}
	}
}

func TestAWrongFrameIsNamedAndCostsNoMoreThanTheNextKey(t *testing.T) {
	n := newNode(1, 1, 1)
	var framer Framer
	var encoder Encoder
	good := func() *telemetrypb.Frame { return over(t, encoder.Encode(framer.Frame(n.tick()))) }
	key := func(change func(*telemetrypb.Frame)) *telemetrypb.Frame {
		encoder.Reset()
		f := good()
		change(f)
		return f
	}
	for name, c := range map[string]struct {
		frame *telemetrypb.Frame
		want  string
	}{
		"cut off":               {key(func(f *telemetrypb.Frame) { f.Values = f.Values[:len(f.Values)-1] }), "is cut off"},
		"no head":               {key(func(f *telemetrypb.Frame) { f.Values = nil }), "values has 0 bytes"},
		"too long":              {key(func(f *telemetrypb.Frame) { f.Values = append(f.Values, 1) }), "more than its"},
		"unknown mode":          {key(func(f *telemetrypb.Frame) { f.Values[0] |= 3 }), "mode is 3"},
		"device without a name": {key(func(f *telemetrypb.Frame) { f.Identities.Devices[0].Uuid = "" }), "devices[0].uuid is empty"},
		"use without a pod":     {key(func(f *telemetrypb.Frame) { f.Identities.Uses[0].Pod = "" }), `uses[0] is of namespace "default", pod ""`},
		"slot out of range":     {key(func(f *telemetrypb.Frame) { f.Columns.Columns[0].Slots = []uint32{1} }), "columns[0].slots[0] is 1: slots must ascend and be below 1"},
		"kind":                  {key(func(f *telemetrypb.Frame) { f.Columns.Columns[0].Kind = 9 }), "columns[0].kind is 9"},
		"grid":                  {key(func(f *telemetrypb.Frame) { f.Columns.Columns[0].Digits = 40 }), "grid 40 digits"},
		"a name too many":       {key(func(f *telemetrypb.Frame) { f.Columns.Columns[0].Name = "x" }), `has the name "x"`},
		"no columns":            {key(func(f *telemetrypb.Frame) { f.Columns = nil }), "key is true, yet"},
		"no sequence":           {key(func(f *telemetrypb.Frame) { f.Sequence = 0 }), "sequence is 0"},
		"no window":             {key(func(f *telemetrypb.Frame) { f.LengthMilliseconds = 0 }), "0 ms long"},
		"far window":            {key(func(f *telemetrypb.Frame) { f.LengthMilliseconds = math.MaxUint64 }), "ms long"},
	} {
		t.Run(name, func(t *testing.T) {
			decoder := NewDecoder("n", "s")
			encoder.Reset()
			if _, err := decoder.Decode(good()); err != nil {
				t.Fatal(err)
			}
			_, err := decoder.Decode(c.frame)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want …%s…", err, c.want)
			}
			if decoder.Lost() {
				var lost *NeedsKeyError
				if _, err := decoder.Decode(good()); !errors.As(err, &lost) {
					t.Errorf("after it: %v, want a NeedsKeyError", err)
				}
			}
			encoder.Reset()
			if _, err := decoder.Decode(good()); err != nil {
				t.Errorf("a key frame after it: %v", err)
			}
		})
	}
}

func TestAFrameCannotClaimMoreValuesThanAreTaken(t *testing.T) {
	f := &telemetrypb.Frame{Sequence: 1, StartUnixMilliseconds: 1, LengthMilliseconds: 1, Key: true, Identities: &telemetrypb.Identities{}, Columns: &telemetrypb.Columns{}}
	for range 2000 {
		f.Identities.Devices = append(f.Identities.Devices, &telemetrypb.Device{Uuid: "GPU"})
		f.Columns.Columns = append(f.Columns.Columns, &telemetrypb.Column{Kind: telemetrypb.Kind_KIND_READING, Metric: 1})
	}
	if _, err := NewDecoder("n", "s").Decode(f); err == nil || !strings.Contains(err.Error(), "at most 262144 are taken") {
		t.Errorf("error %v", err)
	}
}

// TestAFrameIsSmall is the promise of the wire: three bytes a value at most, one frame a second of values that hardly rest.
func TestAFrameIsSmall(t *testing.T) {
	for _, c := range []struct{ gpus, pods int }{{8, 1}, {8, 8}, {1, 1}} {
		n := newNode(3, c.gpus, c.pods)
		var framer Framer
		var encoder Encoder
		bytes, values := 0, 0
		for range 600 {
			f := framer.Frame(n.tick())
			bytes += proto.Size(encoder.Encode(f))
			values += len(f.Values)
		}
		perValue := float64(bytes) / float64(values)
		t.Logf("%d GPUs with %d pods each: %.2f bytes a value, %d a frame", c.gpus, c.pods, perValue, bytes/600)
		if perValue > 3 {
			t.Errorf("%d GPUs with %d pods each: %.2f bytes a value, want 3 at most", c.gpus, c.pods, perValue)
		}
	}
}

func FuzzDecode(f *testing.F) {
	n := newNode(1, 2, 1)
	var framer Framer
	var encoder Encoder
	for range 3 {
		bytes, err := proto.Marshal(encoder.Encode(framer.Frame(n.tick())))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(bytes)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		in := &telemetrypb.Frame{}
		if proto.Unmarshal(data, in) != nil {
			return
		}
		d := NewDecoder("n", "s")
		frame, err := d.Decode(in)
		if err != nil {
			return
		}
		if frame.Layout.Len() != len(frame.Values) {
			t.Fatalf("%d values in a layout of %d", len(frame.Values), frame.Layout.Len())
		}
		frame.Batch()
		in.Key, in.Identities, in.Columns = false, nil, nil
		_, _ = d.Decode(in)
	})
}

func BenchmarkEncode(b *testing.B) {
	n := newNode(3, 8, 1)
	var framer Framer
	frames := [2]Frame{framer.Frame(n.tick()), framer.Frame(n.tick())}
	var encoder Encoder
	b.ReportAllocs()
	for i := range b.N {
		encoder.Encode(frames[i&1])
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(frames[0].Values)), "ns/value")
}

func BenchmarkDecode(b *testing.B) {
	n := newNode(3, 8, 1)
	var framer Framer
	var encoder Encoder
	d := NewDecoder("n", "s")
	first := encoder.Encode(framer.Frame(n.tick()))
	if _, err := d.Decode(first); err != nil {
		b.Fatal(err)
	}
	f := framer.Frame(n.tick())
	next := encoder.Encode(f)
	b.ReportAllocs()
	for range b.N {
		if _, err := d.Decode(next); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(f.Values)), "ns/value")
}
