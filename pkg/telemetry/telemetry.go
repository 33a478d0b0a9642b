// Package telemetry holds the words agent and aggregator share: a device is read over a window (reading), an owner holds a
// device, a usage is what one owner used of one device over that window, and a batch is everything one node says about one
// window.
//
//	readings + owners → usages → batch → (wire) → batch
//
// Every quantity is a [Metric] of the [Catalogue], which states its unit. A quantity that was not measured is absent from
// [Values]; it is never zero.
package telemetry

import "time"

// Device identifies one GPU or one MIG instance of a node.
type Device struct {
	// UUID is the identity NVML reports, such as GPU-5fd4f087-86f3-7a43-b711-4771313afc50. It is stable over reboots.
	UUID string
	// Index is NVML's enumeration index of the GPU; it may change when the driver is reloaded.
	Index int
	// Model is the product name, such as "NVIDIA H100 80GB HBM3".
	Model string
	// Minor is the number in /dev/nvidia<Minor> of the GPU.
	Minor int
	// PCIBusID is the GPU's place on the bus, such as 00000000:1B:00.0.
	PCIBusID string
	// MIG is zero for a whole GPU.
	MIG MIG
}

// MIG says which part of a GPU a MIG instance is.
type MIG struct {
	// ParentUUID is the GPU's.
	ParentUUID string
	// GPUInstance and ComputeInstance are the driver's numbers of the two levels of partitions.
	GPUInstance, ComputeInstance int
	// Profile is the kind of partition, such as 1g.10gb.
	Profile string
	// Placement is the first of the memory slices the GPU instance occupies; -1 when the driver does not say.
	Placement int
	// Share is the part of the GPU's compute slices that the instance has, 0 to 1; 0 when it is not known.
	Share float64
}

// IsMIG reports whether the device is a MIG instance.
func (d Device) IsMIG() bool { return d.MIG.ParentUUID != "" }

// Values holds what was measured, by metric, in the unit the catalogue gives. A missing key means "not measured".
type Values map[Metric]float64

// Reading is what one device did over one window.
type Reading struct {
	Device Device
	Values Values
	// Unattributed is what no owner used, of the metrics whose [Split] sums: with the usages of the device it makes up Values.
	// A metric is absent where it could not be divided.
	Unattributed Values
}

// Sample is one look at a device: its reading and the processes that use it. Samples never travel; they become readings and
// usages first.
type Sample struct {
	Reading
	// Processes are those the driver knows of.
	Processes []Process
	// Divided lists the metrics that Processes account for: of these, a process without a value used none. For any other metric
	// the driver does not say which process used how much.
	Divided []Metric
}

// Process is what one process did on one device since the sample before.
type Process struct {
	// PID is the process's number in the host's PID namespace.
	PID    int
	Values Values
}

// Owner is the container that holds or uses a device.
type Owner struct {
	Namespace string
	Pod       string
	// Container is empty when only the pod is known.
	Container string
}

// Holding says that a container was given a device, in the words of whoever gave it: a device plugin or a DRA driver.
type Holding struct {
	Owner Owner
	// Resource is the extended resource, such as nvidia.com/gpu, or the DRA driver, such as gpu.nvidia.com.
	Resource string
	// ID is the device's id within Resource: GPU-<uuid>, GPU-<uuid>::<replica>, MIG-<uuid>, MIG-GPU-<uuid>/<gi>/<ci>, nvidia0,
	// nvidia0/gi1, … For DRA it is the device's name within Pool, such as gpu-0 or gpu-0-mig-1g10gb-19-2.
	ID string
	// Pool is the DRA pool, empty for a device plugin's device.
	Pool string
}

// Pod is what is known of a pod on this node, by whoever knows it.
type Pod struct {
	Namespace, Name string
	// UID is the API object's. Empty when it is not known.
	UID string
	// ControllerKind and ControllerName are the owner reference that is the controller, such as ReplicaSet web-7d9f; empty
	// when the pod has none, or it is not known.
	ControllerKind, ControllerName string
	// Known tells whether Ready is: the kubelet said so.
	Known bool
	// Ready is the pod's condition of that name.
	Ready bool
}

// WorkloadValue is one metric of an inference server, summed or averaged over its series, as scraped from a pod.
type WorkloadValue struct {
	Namespace, Pod string
	// Name is the metric's own, such as vllm:num_requests_waiting.
	Name  string
	Value float64
}

// Attribution says how a usage was derived from a reading.
type Attribution string

const (
	// AttributionExclusive means: the owner is the only holder of a whole GPU. It has the reading, less what processes of others used.
	AttributionExclusive Attribution = "exclusive"
	// AttributionMIG means: the same of a MIG instance.
	AttributionMIG Attribution = "mig"
	// AttributionProcess means: the device is shared, or used by others than its holder; the owner has what its processes used.
	AttributionProcess Attribution = "process"
	// AttributionUnknown means: the device is shared and the driver does not say who used it. What can be said is there; utilization
	// is not.
	AttributionUnknown Attribution = "unknown"
)

// Attributions lists every one.
func Attributions() []Attribution {
	return []Attribution{AttributionExclusive, AttributionMIG, AttributionProcess, AttributionUnknown}
}

// Usage is what one owner used of one device over one window.
type Usage struct {
	Owner       Owner
	DeviceUUID  string
	Attribution Attribution
	Values      Values
}

// Batch is everything one node says about one window.
type Batch struct {
	// Node is the Kubernetes node name.
	Node string
	// Session is a random word that outlives the agent where its spool does. Sequence ascends with time within it: the upper 32
	// bits are the agent's runs, the lower count 1, 2, 3, … in each.
	Session  string
	Sequence uint64
	// Start (inclusive) and End (exclusive) bound the window, in the node's wall clock at millisecond precision.
	Start, End time.Time
	// OwnersKnown is true when the kubelet said who holds which device for this window. When it is false there are no
	// usages, and that means "unknown", not "idle".
	OwnersKnown bool
	Readings    []Reading
	Usages      []Usage
	// Pods are those that have usages, as far as the kubelet says more of them than their names.
	Pods []Pod
	// Workload is what inference servers on this node said of themselves.
	Workload []WorkloadValue
	// Problems names what could not be read in this window, such as "nvml: library not found". Empty when all is well.
	Problems []string
}
