// Package load plays offered GPU load on the pods that really run, so that the loop is closed: each device of a workload's
// running pods is set to min(100 %, offered ÷ running pods), and more replicas mean lower utilization.
//
//	offered(now) + running pods (API server) + their devices (pod-resources) → scenario file → scripted NVML
package load

import (
	"context"
	"fmt"
	"math"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"

	"github.com/foretide/foretide/test/fakenvml"
)

// Workload is one set of pods and the load offered to it.
type Workload struct {
	Namespace string
	// Selector is a label selector such as app=bert-intent-detection.
	Selector string
	// Offered returns how many GPUs the workload's users would keep busy at now, in GPU units.
	Offered func(now time.Time) float64
}

// State is what one tick did for one workload.
type State struct {
	RunningPods int
	OfferedGPUs float64
	// DevicePercent is the utilization set on each device the running pods hold.
	DevicePercent int
}

// Driver writes the scenario file.
type Driver struct {
	Client       kubernetes.Interface
	PodResources podresources.PodResourcesListerClient
	// Scenario is the path of the scenario file.
	Scenario  string
	Workloads []Workload
}

// Tick sets every device once and returns a state per workload, in order.
func (d *Driver) Tick(ctx context.Context, now time.Time) ([]State, error) {
	held, err := d.DevicesByPod(ctx)
	if err != nil {
		return nil, err
	}
	percent := map[string]int{}
	states := make([]State, len(d.Workloads))
	for i, w := range d.Workloads {
		pods, err := d.Client.CoreV1().Pods(w.Namespace).List(ctx, metav1.ListOptions{LabelSelector: w.Selector})
		if err != nil {
			return nil, fmt.Errorf("list pods %s in %s: %w", w.Selector, w.Namespace, err)
		}
		states[i] = share(w.Offered(now), pods.Items, held, percent)
	}
	// Read last, so that a file which is taken away meanwhile is not written again.
	scenario, err := fakenvml.Read(d.Scenario)
	if err != nil {
		return nil, err
	}
	for i := range scenario.Devices {
		dev := &scenario.Devices[i]
		dev.UtilizationGPUPercent = percent[dev.UUID]
		dev.UtilizationMemoryPercent = percent[dev.UUID] / 2
		dev.MemoryUsedBytes = 0
		if _, busy := percent[dev.UUID]; busy {
			dev.MemoryUsedBytes = dev.MemoryTotalBytes / 4
		}
	}
	return states, scenario.Write(d.Scenario)
}

// share spreads the offered load evenly over the devices of the pods that serve.
func share(offered float64, pods []corev1.Pod, held map[string][]string, percent map[string]int) State {
	var devices []string
	state := State{OfferedGPUs: offered}
	for _, p := range pods {
		if !serves(&p) {
			continue
		}
		state.RunningPods++
		devices = append(devices, held[p.Namespace+"/"+p.Name]...)
	}
	if len(devices) == 0 {
		return state
	}
	state.DevicePercent = int(math.Round(math.Min(1, offered/float64(len(devices))) * 100))
	for _, uuid := range devices {
		percent[uuid] = state.DevicePercent
	}
	return state
}

func serves(p *corev1.Pod) bool {
	if p.DeletionTimestamp != nil || p.Status.Phase != corev1.PodRunning {
		return false
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// DevicesByPod returns the ids of the devices that each pod holds, by namespace/name.
func (d *Driver) DevicesByPod(ctx context.Context) (map[string][]string, error) {
	list, err := d.PodResources.List(ctx, &podresources.ListPodResourcesRequest{})
	if err != nil {
		return nil, fmt.Errorf("list pod resources: %w", err)
	}
	held := map[string][]string{}
	for _, p := range list.GetPodResources() {
		name := p.GetNamespace() + "/" + p.GetName()
		for _, c := range p.GetContainers() {
			for _, dev := range c.GetDevices() {
				held[name] = append(held[name], dev.GetDeviceIds()...)
			}
		}
	}
	return held, nil
}
