//go:build conformance

package conformance

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/test/fakenvml"
	"github.com/foretide/foretide/test/podresources"
	"github.com/google/go-cmp/cmp/cmpopts"
	dto "github.com/prometheus/client_model/go"
)

// holder is a pod's container that holds devices of a resource.
func holder(pod, container, resource string, ids ...string) podresources.Holder {
	return podresources.Holder{Namespace: "default", Pod: pod, Container: container, Resource: resource, DeviceIDs: ids}
}

// value finds the one series of a family that has all the labels, given as name and value in turn.
func value(families map[string]*dto.MetricFamily, name string, labels ...string) (float64, bool) {
	for _, m := range families[name].GetMetric() {
		has := map[string]string{}
		for _, l := range m.GetLabel() {
			has[l.GetName()] = l.GetValue()
		}
		matches := true
		for i := 0; i < len(labels); i += 2 {
			matches = matches && has[labels[i]] == labels[i+1]
		}
		if matches {
			return m.GetGauge().GetValue() + m.GetCounter().GetValue() + m.GetUntyped().GetValue(), true
		}
	}
	return 0, false
}

// usage finds what a pod used of a device in a batch.
func usage(b telemetry.Batch, pod, uuid string) (telemetry.Usage, bool) {
	for _, u := range b.Usages {
		if u.Owner.Pod == pod && u.DeviceUUID == uuid {
			return u, true
		}
	}
	return telemetry.Usage{}, false
}

// blank reports whether a batch has the pod hold the device, or what the kubelet calls one, and says nothing else of it.
func blank(b telemetry.Batch, pod, device string) bool {
	u, there := usage(b, pod, device)
	return there && u.Attribution == telemetry.AttributionUnknown && len(u.Values) == 0
}

// reading finds a device in a batch.
func reading(b telemetry.Batch, uuid string) (telemetry.Reading, bool) {
	for _, r := range b.Readings {
		if r.Device.UUID == uuid {
			return r, true
		}
	}
	return telemetry.Reading{}, false
}

// profile is a node of n idle GPUs of a model.
func profile(t *testing.T, model string, n int) fakenvml.Scenario {
	t.Helper()
	s, err := fakenvml.Profile(model, n)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// partitioned is a node of one H100 in MIG mode.
func partitioned(t *testing.T, migProfiles ...string) fakenvml.Scenario {
	t.Helper()
	s := profile(t, "h100", 1)
	var err error
	if s.Devices[0], err = fakenvml.WithMIG(s.Devices[0], migProfiles...); err != nil {
		t.Fatal(err)
	}
	return s
}

// tells reports whether one of the batch's problems has the words.
func tells(b telemetry.Batch, words string) bool {
	return slices.ContainsFunc(b.Problems, func(p string) bool { return strings.Contains(p, words) })
}

// nearly is for comparisons of what was measured and computed.
var nearly = cmpopts.EquateApprox(1e-9, 1e-9)

// near reports whether two ratios are within a thousandth.
func near(a, b float64) bool { return a-b < 1e-3 && b-a < 1e-3 }

func (w *world) settles(what string, difference func(telemetry.Batch) string) {
	w.t.Helper()
	last := "no batch"
	defer func() {
		if last != "" {
			w.t.Logf("the last batch (-want +got):\n%s", last)
		}
	}()
	w.batch(what, func(b telemetry.Batch) bool { last = difference(b); return last == "" })
}

func utilization(b telemetry.Batch, uuid string) float64 {
	r, _ := reading(b, uuid)
	return r.Values[telemetry.UtilizationMean]
}

func used(b telemetry.Batch, pod, uuid string) float64 {
	u, _ := usage(b, pod, uuid)
	if v, said := u.Values[telemetry.UtilizationMean]; said {
		return v
	}
	return -1
}

func (w *world) shared(resource, uuid string, pods ...string) {
	w.t.Helper()
	for i, pod := range pods {
		w.holders = append(w.holders, holder(pod, "model", resource, fmt.Sprintf("%s::%d", uuid, i)))
		w.process(101+i, pod, "model")
	}
	w.hold(w.holders...)
}
