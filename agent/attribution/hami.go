package attribution

import (
	"fmt"
	"slices"
	"strings"

	"github.com/foretide/foretide/pkg/telemetry"
)

// HAMiAnnotation is where HAMi's scheduler writes which devices it gave to each container of a pod. What the kubelet says of
// such a pod may be another device (Project-HAMi/HAMi, pkg/device-plugin/nvidiadevice/nvinternal/plugin/server.go).
const HAMiAnnotation = "hami.io/vgpu-devices-allocated"

// ParseHAMi reads the annotation: the device UUIDs of each container in the order of the pod's specification, from
// "uuid,type,memory MiB,cores per cent:" for each device and ";" after each container.
func ParseHAMi(text string) ([][]string, error) {
	var containers [][]string
	for container := range strings.SplitSeq(strings.TrimSuffix(text, ";"), ";") {
		var uuids []string
		for device := range strings.SplitSeq(strings.TrimSuffix(container, ":"), ":") {
			if device == "" {
				continue
			}
			fields := strings.Split(device, ",")
			if len(fields) != 4 || fields[0] == "" {
				return nil, fmt.Errorf("annotation %s: %q is no device: it must be uuid,type,memory,cores", HAMiAnnotation, device)
			}
			uuids = append(uuids, fields[0])
		}
		containers = append(containers, uuids)
	}
	return containers, nil
}

// Allocated is what HAMi's annotation on a pod says, with the names of the pod's containers in the order of its specification.
type Allocated struct {
	Annotation string
	Containers []string
}

// ApplyHAMi replaces the holdings of each pod that HAMi gave devices by what HAMi says. allocated looks a pod up; it returns
// false for one without the annotation.
func ApplyHAMi(holdings []telemetry.Holding, allocated func(namespace, pod string) (Allocated, bool)) ([]telemetry.Holding, []string) {
	type name struct{ namespace, pod string }
	var out []telemetry.Holding
	var problems []string
	done := map[name]bool{}
	for _, h := range holdings {
		pod := name{h.Owner.Namespace, h.Owner.Pod}
		said, ok := allocated(pod.namespace, pod.pod)
		if !ok || h.Pool != "" {
			out = append(out, h)
			continue
		}
		if done[pod] {
			continue
		}
		done[pod] = true
		devices, err := ParseHAMi(said.Annotation)
		if err != nil {
			problems = append(problems, fmt.Sprintf("pod %s/%s: %v: what the kubelet says is used", pod.namespace, pod.pod, err))
			out = append(out, slices.Collect(func(yield func(telemetry.Holding) bool) {
				for _, other := range holdings {
					if (name{other.Owner.Namespace, other.Owner.Pod}) == pod && !yield(other) {
						return
					}
				}
			})...)
			continue
		}
		for i, uuids := range devices {
			if i >= len(said.Containers) {
				break
			}
			owner := telemetry.Owner{Namespace: pod.namespace, Pod: pod.pod, Container: said.Containers[i]}
			for _, uuid := range uuids {
				out = append(out, telemetry.Holding{Owner: owner, Resource: h.Resource, ID: uuid})
			}
		}
	}
	return out, problems
}
