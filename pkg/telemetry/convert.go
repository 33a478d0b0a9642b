package telemetry

import (
	"fmt"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/foretide/foretide/pkg/telemetry/telemetrypb"
)

// Protocol is the wire version a Hello carries.
const Protocol = 1

// ToProto converts a batch to its wire form. Node and Session travel in the Hello of the stream.
func ToProto(b Batch) *telemetrypb.Batch {
	out := &telemetrypb.Batch{
		Sequence:              b.Sequence,
		StartUnixMilliseconds: b.Start.UnixMilli(),
		EndUnixMilliseconds:   b.End.UnixMilli(),
		OwnersKnown:           b.OwnersKnown,
		Problems:              b.Problems,
	}
	for _, r := range b.Readings {
		out.Readings = append(out.Readings, &telemetrypb.Reading{
			Device: deviceToProto(r.Device), Values: valuesToProto(r.Values), Unattributed: valuesToProto(r.Unattributed),
		})
	}
	for _, u := range b.Usages {
		out.Usages = append(out.Usages, &telemetrypb.Usage{
			Owner:       &telemetrypb.Owner{Namespace: u.Owner.Namespace, Pod: u.Owner.Pod, Container: u.Owner.Container},
			DeviceUuid:  u.DeviceUUID,
			Attribution: string(u.Attribution),
			Values:      valuesToProto(u.Values),
		})
	}
	for _, p := range b.Pods {
		pod := &telemetrypb.Pod{Namespace: p.Namespace, Name: p.Name, Uid: p.UID, ControllerKind: p.ControllerKind, ControllerName: p.ControllerName}
		if p.Known {
			pod.Ready = &p.Ready
		}
		out.Pods = append(out.Pods, pod)
	}
	for _, v := range b.Workload {
		out.Workload = append(out.Workload, &telemetrypb.WorkloadValue{Namespace: v.Namespace, Pod: v.Pod, Name: v.Name, Value: v.Value})
	}
	return out
}

func deviceToProto(d Device) *telemetrypb.Device {
	out := &telemetrypb.Device{Uuid: d.UUID, Index: unsigned(d.Index), Model: d.Model, Minor: unsigned(d.Minor), PciBusId: d.PCIBusID}
	if !d.IsMIG() {
		return out
	}
	out.Mig = &telemetrypb.MIG{ParentUuid: d.MIG.ParentUUID, GpuInstance: unsigned(d.MIG.GPUInstance),
		ComputeInstance: unsigned(d.MIG.ComputeInstance), Profile: d.MIG.Profile, Share: d.MIG.Share}
	if d.MIG.Placement >= 0 {
		out.Mig.Placement = proto.Uint32(unsigned(d.MIG.Placement))
	}
	return out
}

func unsigned(n int) uint32 { return uint32(max(0, n)) }

func deviceFromProto(in *telemetrypb.Device) Device {
	d := Device{UUID: in.GetUuid(), Index: int(in.GetIndex()), Model: in.GetModel(), Minor: int(in.GetMinor()), PCIBusID: in.GetPciBusId()}
	if m := in.GetMig(); m != nil {
		d.MIG = MIG{ParentUUID: m.GetParentUuid(), GPUInstance: int(m.GetGpuInstance()), ComputeInstance: int(m.GetComputeInstance()),
			Profile: m.GetProfile(), Placement: -1, Share: m.GetShare()}
		if m.Placement != nil {
			d.MIG.Placement = int(m.GetPlacement())
		}
	}
	return d
}

// FromProto converts a wire batch of the given node and session. Metrics this version does not know are left out; anything
// else that is wrong gives an error that names the field, the value and what is allowed.
func FromProto(node, session string, in *telemetrypb.Batch) (Batch, error) {
	b := Batch{
		Node:        node,
		Session:     session,
		Sequence:    in.GetSequence(),
		Start:       time.UnixMilli(in.GetStartUnixMilliseconds()),
		End:         time.UnixMilli(in.GetEndUnixMilliseconds()),
		OwnersKnown: in.GetOwnersKnown(),
		Problems:    in.GetProblems(),
	}
	if b.Sequence == 0 {
		return Batch{}, fmt.Errorf("sequence is 0: counting begins at 1")
	}
	if in.GetStartUnixMilliseconds() <= 0 || !b.End.After(b.Start) {
		return Batch{}, fmt.Errorf("window is [%d, %d) ms: start must be after 1970 and end after start",
			in.GetStartUnixMilliseconds(), in.GetEndUnixMilliseconds())
	}
	for i, r := range in.GetReadings() {
		where := fmt.Sprintf("readings[%d]", i)
		if r.GetDevice().GetUuid() == "" {
			return Batch{}, fmt.Errorf("%s.device.uuid is empty: every reading names its device", where)
		}
		values, err := valuesFromProto(where, r.GetValues())
		if err != nil {
			return Batch{}, err
		}
		unattributed, err := valuesFromProto(where+".unattributed", r.GetUnattributed())
		if err != nil {
			return Batch{}, err
		}
		b.Readings = append(b.Readings, Reading{deviceFromProto(r.GetDevice()), values, unattributed})
	}
	for i, u := range in.GetUsages() {
		where := fmt.Sprintf("usages[%d]", i)
		o := u.GetOwner()
		if o.GetNamespace() == "" || o.GetPod() == "" || u.GetDeviceUuid() == "" {
			return Batch{}, fmt.Errorf("%s is of namespace %q, pod %q, device %q: none may be empty",
				where, o.GetNamespace(), o.GetPod(), u.GetDeviceUuid())
		}
		values, err := valuesFromProto(where, u.GetValues())
		if err != nil {
			return Batch{}, err
		}
		b.Usages = append(b.Usages, Usage{
			Owner{o.GetNamespace(), o.GetPod(), o.GetContainer()}, u.GetDeviceUuid(), Attribution(u.GetAttribution()), values,
		})
	}
	if err := b.takeExtras(in); err != nil {
		return Batch{}, err
	}
	return b, nil
}

// takeExtras takes what pods and inference servers say of themselves.
func (b *Batch) takeExtras(in *telemetrypb.Batch) error {
	for i, p := range in.GetPods() {
		if p.GetNamespace() == "" || p.GetName() == "" {
			return fmt.Errorf("pods[%d] is of namespace %q, name %q: neither may be empty", i, p.GetNamespace(), p.GetName())
		}
		b.Pods = append(b.Pods, Pod{Namespace: p.GetNamespace(), Name: p.GetName(), UID: p.GetUid(), ControllerKind: p.GetControllerKind(),
			ControllerName: p.GetControllerName(), Known: p.Ready != nil, Ready: p.GetReady()})
	}
	for i, v := range in.GetWorkload() {
		if v.GetNamespace() == "" || v.GetPod() == "" || v.GetName() == "" {
			return fmt.Errorf("workload[%d] is of namespace %q, pod %q, name %q: none may be empty", i, v.GetNamespace(), v.GetPod(), v.GetName())
		}
		if math.IsNaN(v.GetValue()) || math.IsInf(v.GetValue(), 0) {
			return fmt.Errorf("workload[%d]: %s is %v: it must be a finite number", i, v.GetName(), v.GetValue())
		}
		b.Workload = append(b.Workload, WorkloadValue{Namespace: v.GetNamespace(), Pod: v.GetPod(), Name: v.GetName(), Value: v.GetValue()})
	}
	return nil
}

func valuesToProto(values Values) []*telemetrypb.Value {
	if len(values) == 0 {
		return nil
	}
	out := make([]*telemetrypb.Value, 0, len(values))
	for m, v := range values {
		out = append(out, &telemetrypb.Value{Metric: uint32(m), Value: v})
	}
	slices.SortFunc(out, func(a, b *telemetrypb.Value) int { return int(a.Metric) - int(b.Metric) })
	return out
}

func valuesFromProto(where string, in []*telemetrypb.Value) (Values, error) {
	if len(in) == 0 {
		return nil, nil
	}
	out := make(Values, len(in))
	for _, v := range in {
		m := Metric(v.GetMetric())
		if !m.Known() {
			continue
		}
		if math.IsNaN(v.GetValue()) || math.IsInf(v.GetValue(), 0) || v.GetValue() < 0 {
			return nil, fmt.Errorf("%s: metric %d is %v: it must be a finite number of 0 or more", where, m, v.GetValue())
		}
		out[m] = v.GetValue()
	}
	return out, nil
}
