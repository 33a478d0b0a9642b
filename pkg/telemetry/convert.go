package telemetry

import (
	"fmt"
	"math"
	"slices"
	"time"

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
			Device: &telemetrypb.Device{Uuid: r.Device.UUID, Index: uint32(max(0, r.Device.Index)), Model: r.Device.Model},
			Values: valuesToProto(r.Values),
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
	return out
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
		d := r.GetDevice()
		b.Readings = append(b.Readings, Reading{Device{d.GetUuid(), int(d.GetIndex()), d.GetModel()}, values})
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
	return b, nil
}

func valuesToProto(values Values) []*telemetrypb.Value {
	out := make([]*telemetrypb.Value, 0, len(values))
	for m, v := range values {
		out = append(out, &telemetrypb.Value{Metric: uint32(m), Value: v})
	}
	slices.SortFunc(out, func(a, b *telemetrypb.Value) int { return int(a.Metric) - int(b.Metric) })
	return out
}

func valuesFromProto(where string, in []*telemetrypb.Value) (Values, error) {
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
