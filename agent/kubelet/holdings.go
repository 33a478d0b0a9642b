package kubelet

import (
	"cmp"
	"slices"
	"strings"

	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"

	"github.com/foretide/foretide/pkg/telemetry"
)

// wanted says which devices are GPUs.
type wanted struct{ resources, drivers []string }

func (w wanted) resource(name string) bool {
	return slices.ContainsFunc(w.resources, func(pattern string) bool {
		prefix, open := strings.CutSuffix(pattern, "*")
		return name == pattern || open && strings.HasPrefix(name, prefix)
	})
}

// holdings takes the wanted devices out of an answer. The kubelet lists pods in no order, and may name a device more than once.
func (w wanted) holdings(answer *podresources.ListPodResourcesResponse) []telemetry.Holding {
	var found []telemetry.Holding
	add := func(h telemetry.Holding) {
		if h.Owner.Pod != "" && h.ID != "" { // otherwise it says nothing
			found = append(found, h)
		}
	}
	for _, pod := range answer.GetPodResources() {
		for _, container := range pod.GetContainers() {
			owner := telemetry.Owner{Namespace: pod.GetNamespace(), Pod: pod.GetName(), Container: container.GetName()}
			for _, devices := range container.GetDevices() {
				if !w.resource(devices.GetResourceName()) {
					continue
				}
				for _, id := range devices.GetDeviceIds() {
					add(telemetry.Holding{Owner: owner, Resource: devices.GetResourceName(), ID: id})
				}
			}
			for _, claim := range container.GetDynamicResources() {
				for _, device := range claim.GetClaimResources() {
					if slices.Contains(w.drivers, device.GetDriverName()) {
						add(telemetry.Holding{Owner: owner, Resource: device.GetDriverName(), Pool: device.GetPoolName(), ID: device.GetDeviceName()})
					}
				}
			}
		}
	}
	slices.SortFunc(found, compareHoldings)
	return slices.Compact(found)
}

func compareHoldings(a, b telemetry.Holding) int {
	return cmp.Or(
		cmp.Compare(a.Owner.Namespace, b.Owner.Namespace), cmp.Compare(a.Owner.Pod, b.Owner.Pod),
		cmp.Compare(a.Owner.Container, b.Owner.Container),
		cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Pool, b.Pool), cmp.Compare(a.ID, b.ID),
	)
}
