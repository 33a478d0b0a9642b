package telemetry

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/foretide/foretide/pkg/telemetry/telemetrypb"
)

func sample() Batch {
	end := time.UnixMilli(1_767_312_000_000)
	return Batch{
		Node: "node-1", Session: "s", Sequence: 7, Start: end.Add(-time.Second), End: end, OwnersKnown: true,
		Readings: []Reading{
			{Device{UUID: "GPU-1", Index: 3, Model: "NVIDIA H100", Minor: 4, PCIBusID: "00000000:1B:00.0"},
				Values{UtilizationMean: 0.5, MemoryUsed: 1 << 30, Temperature: 61}, Values{UtilizationMean: 0.1}},
			{Device{UUID: "MIG-1", MIG: MIG{ParentUUID: "GPU-2", GPUInstance: 9, Profile: "1g.10gb", Placement: 2, Share: 0.125}}, Values{MemoryUsed: 1}, nil},
			{Device{UUID: "MIG-2", MIG: MIG{ParentUUID: "GPU-2", GPUInstance: 1, ComputeInstance: 1, Placement: -1}}, nil, nil},
		},
		Usages: []Usage{{
			Owner{"default", "bert-0", "model"}, "GPU-1", AttributionExclusive, Values{UtilizationMean: 0.5, MemoryUsed: 1 << 30},
		}},
		Pods: []Pod{{Namespace: "default", Name: "bert-0", UID: "u", ControllerKind: "ReplicaSet", ControllerName: "bert", Known: true},
			{Namespace: "default", Name: "bert-1"}},
		Workload: []WorkloadValue{{"default", "bert-0", "vllm:num_requests_waiting", 3}},
		Problems: []string{"device 2: lost"},
	}
}

func TestBatchSurvivesTheWire(t *testing.T) {
	want := sample()
	wire, err := proto.Marshal(ToProto(want))
	if err != nil {
		t.Fatal(err)
	}
	var back telemetrypb.Batch
	if err := proto.Unmarshal(wire, &back); err != nil {
		t.Fatal(err)
	}
	got, err := FromProto("node-1", "s", &back)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestZeroIsCarriedAndAbsentStaysAbsent(t *testing.T) {
	b := sample()
	b.Readings[0].Values = Values{UtilizationMean: 0}
	got, err := FromProto(b.Node, b.Session, ToProto(b))
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := got.Readings[0].Values[UtilizationMean]; !ok || v != 0 {
		t.Errorf("utilization = %v, %v; want 0, present", v, ok)
	}
	if v, ok := got.Readings[0].Values[MemoryUsed]; ok {
		t.Errorf("memory = %v; want absent", v)
	}
}

func TestMetricOfANewerAgentIsIgnored(t *testing.T) {
	in := ToProto(sample())
	in.Readings[0].Values = append(in.Readings[0].Values, &telemetrypb.Value{Metric: 60_000, Value: math.NaN()})
	if _, err := FromProto("n", "s", in); err != nil {
		t.Errorf("refused: %v", err)
	}
}

func TestWrongBatchIsRefusedByFieldAndValue(t *testing.T) {
	cases := map[string]struct {
		spoil func(*telemetrypb.Batch)
		want  string
	}{
		"no sequence":   {func(b *telemetrypb.Batch) { b.Sequence = 0 }, "sequence is 0"},
		"empty window":  {func(b *telemetrypb.Batch) { b.EndUnixMilliseconds = b.StartUnixMilliseconds }, "window is ["},
		"before 1970":   {func(b *telemetrypb.Batch) { b.StartUnixMilliseconds = -5 }, "window is [-5"},
		"no device":     {func(b *telemetrypb.Batch) { b.Readings[0].Device = nil }, "readings[0].device.uuid"},
		"no pod":        {func(b *telemetrypb.Batch) { b.Usages[0].Owner.Pod = "" }, "usages[0]"},
		"not a number":  {func(b *telemetrypb.Batch) { b.Usages[0].Values[0].Value = math.NaN() }, "usages[0]: metric 1 is NaN"},
		"infinite":      {func(b *telemetrypb.Batch) { b.Readings[0].Values[0].Value = math.Inf(1) }, "metric 1 is +Inf"},
		"unattributed":  {func(b *telemetrypb.Batch) { b.Readings[0].Unattributed[0].Value = -1 }, "readings[0].unattributed: metric 1 is -1"},
		"pod's name":    {func(b *telemetrypb.Batch) { b.Pods[1].Name = "" }, `pods[1] is of namespace "default", name ""`},
		"workload's":    {func(b *telemetrypb.Batch) { b.Workload[0].Name = "" }, "workload[0]"},
		"workload NaN":  {func(b *telemetrypb.Batch) { b.Workload[0].Value = math.NaN() }, "vllm:num_requests_waiting is NaN"},
		"below nothing": {func(b *telemetrypb.Batch) { b.Readings[0].Values[0].Value = -1 }, "metric 1 is -1"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			in := ToProto(sample())
			c.spoil(in)
			_, err := FromProto("n", "s", in)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error = %v; want one with %q", err, c.want)
			}
		})
	}
}

func TestCatalogueIsInWireOrderAndComplete(t *testing.T) {
	for i, d := range Catalogue() {
		if int(d.Metric) != i+1 || !d.Metric.Known() {
			t.Errorf("row %d is metric %d", i, d.Metric)
		}
		base := strings.TrimSuffix(d.Name, "_total")
		if (base != d.Name) != (d.Kind == Counter) {
			t.Errorf("row %d: %s is a %s", i, d.Name, d.Kind)
		}
		if !strings.HasPrefix(d.Name, "foretide_device_") || d.Unit != "" && !strings.HasSuffix(base, "_"+d.Unit) || d.Help == "" || d.Source == "" {
			t.Errorf("row %d is incomplete or misnamed: %+v", i, d)
		}
		if (d.DCGM == "") != (d.DCGMPerUnit == 0) {
			t.Errorf("row %d: DCGM's %q has the unit %v", i, d.DCGM, d.DCGMPerUnit)
		}
		if d.Split.Sums() && d.Fold != FoldMean && d.Metric != MemoryUsed && d.Metric != Energy {
			t.Errorf("row %d: %s is divided but not folded as a mean", i, d.Name)
		}
	}
	if beyond := Metric(len(Catalogue()) + 1); beyond.Known() {
		t.Errorf("metric %d is known but not in the catalogue", beyond)
	}
}

func FuzzFromProto(f *testing.F) {
	seed, err := proto.Marshal(ToProto(sample()))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, wire []byte) {
		var in telemetrypb.Batch
		if proto.Unmarshal(wire, &in) != nil {
			return
		}
		b, err := FromProto("n", "s", &in)
		if err == nil && !b.End.After(b.Start) {
			t.Errorf("accepted the window [%v, %v)", b.Start, b.End)
		}
	})
}
