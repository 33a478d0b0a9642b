package telemetry

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/foretide/foretide/pkg/telemetry/telemetrypb"
)

func identitiesToProto(l *Layout) *telemetrypb.Identities {
	out := &telemetrypb.Identities{}
	for _, d := range l.Devices {
		out.Devices = append(out.Devices, deviceToProto(d))
	}
	for _, u := range l.Uses {
		out.Uses = append(out.Uses, &telemetrypb.Use{Namespace: u.Owner.Namespace, Pod: u.Owner.Pod, Container: u.Owner.Container,
			DeviceUuid: u.DeviceUUID, Attribution: string(u.Attribution)})
	}
	for _, p := range l.Pods {
		pod := &telemetrypb.Pod{Namespace: p.Namespace, Name: p.Name, Uid: p.UID, ControllerKind: p.ControllerKind, ControllerName: p.ControllerName}
		if p.Known {
			pod.Ready = proto.Bool(p.Ready)
		}
		out.Pods = append(out.Pods, pod)
	}
	for _, s := range l.Sources {
		out.Sources = append(out.Sources, &telemetrypb.PodName{Namespace: s.Namespace, Pod: s.Pod})
	}
	return out
}

// identitiesFromProto returns a layout without columns.
func identitiesFromProto(in *telemetrypb.Identities) (Layout, error) {
	var l Layout
	for i, d := range in.GetDevices() {
		if d.GetUuid() == "" {
			return l, fmt.Errorf("devices[%d].uuid is empty: every device has one", i)
		}
		l.Devices = append(l.Devices, deviceFromProto(d))
	}
	for i, u := range in.GetUses() {
		if u.GetNamespace() == "" || u.GetPod() == "" || u.GetDeviceUuid() == "" {
			return l, fmt.Errorf("uses[%d] is of namespace %q, pod %q, device %q: none may be empty", i, u.GetNamespace(), u.GetPod(), u.GetDeviceUuid())
		}
		l.Uses = append(l.Uses, Use{Owner{u.GetNamespace(), u.GetPod(), u.GetContainer()}, u.GetDeviceUuid(), Attribution(u.GetAttribution())})
	}
	for i, p := range in.GetPods() {
		if p.GetNamespace() == "" || p.GetName() == "" {
			return l, fmt.Errorf("pods[%d] is of namespace %q, name %q: neither may be empty", i, p.GetNamespace(), p.GetName())
		}
		l.Pods = append(l.Pods, Pod{Namespace: p.GetNamespace(), Name: p.GetName(), UID: p.GetUid(), ControllerKind: p.GetControllerKind(),
			ControllerName: p.GetControllerName(), Known: p.Ready != nil, Ready: p.GetReady()})
	}
	for i, s := range in.GetSources() {
		if s.GetNamespace() == "" || s.GetPod() == "" {
			return l, fmt.Errorf("sources[%d] is of namespace %q, pod %q: neither may be empty", i, s.GetNamespace(), s.GetPod())
		}
		l.Sources = append(l.Sources, PodName{s.GetNamespace(), s.GetPod()})
	}
	return l, nil
}

func columnsToProto(l *Layout) *telemetrypb.Columns {
	out := &telemetrypb.Columns{}
	for _, c := range l.Columns {
		column := &telemetrypb.Column{Kind: telemetrypb.Kind(c.Kind), Metric: uint32(c.Metric), Name: c.Name,
			Digits: int32(c.Grid.Digits), Shift: uint32(c.Grid.Shift)}
		if len(c.Slots) != l.slots(c.Kind) {
			column.Slots = c.Slots
		}
		out.Columns = append(out.Columns, column)
	}
	return out
}

// maxValues bounds what the columns of a frame may claim, which costs them no bytes: a node with 64 devices, each in 7 parts with
// 4 owners, has less than half.
const maxValues = 1 << 18

// columnsFromProto reads columns of what l identifies.
func columnsFromProto(in *telemetrypb.Columns, l *Layout) ([]Column, error) {
	out := make([]Column, 0, len(in.GetColumns()))
	all := map[int][]uint32{} // columns that all of a kind have share their slots
	total := 0
	for i, c := range in.GetColumns() {
		column := Column{Kind: ColumnKind(min(uint32(c.GetKind()), 255)), Metric: Metric(c.GetMetric()), Name: c.GetName(), Slots: c.GetSlots(),
			Grid: Grid{int(c.GetDigits()), uint(c.GetShift())}}
		if (column.Kind == WorkloadColumn) == (c.GetName() == "") {
			return nil, fmt.Errorf("columns[%d] is of kind %d and has the name %q: columns of kind %d have one, others none", i, c.GetKind(), c.GetName(), WorkloadColumn)
		}
		if len(column.Slots) == 0 {
			n := l.slots(column.Kind)
			if all[n] == nil {
				all[n] = upTo(n)
			}
			column.Slots = all[n]
		}
		if total += len(column.Slots); total > maxValues {
			return nil, fmt.Errorf("columns[%d] brings the values of a frame to %d: at most %d are taken", i, total, maxValues)
		}
		out = append(out, column)
	}
	return out, nil
}

func upTo(n int) []uint32 {
	out := make([]uint32, n)
	for i := range out {
		out[i] = uint32(i)
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
