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

// Device identifies one GPU (or MIG instance) of a node.
type Device struct {
	// UUID is the identity NVML reports, such as GPU-5fd4f087-86f3-7a43-b711-4771313afc50. It is stable over reboots.
	UUID string
	// Index is NVML's enumeration index; it may change when the driver is reloaded.
	Index int
	// Model is the product name, such as "NVIDIA H100 80GB HBM3".
	Model string
}

// Values holds what was measured, by metric, in the unit the catalogue gives. A missing key means "not measured".
type Values map[Metric]float64

// Reading is what one device did over one window.
type Reading struct {
	Device Device
	Values Values
}

// Owner is the container that holds a device.
type Owner struct {
	Namespace string
	Pod       string
	Container string
}

// Attribution says how a usage was derived from a reading.
type Attribution string

// AttributionExclusive says that the owner is the device's only holder, so the whole reading is its usage.
const AttributionExclusive Attribution = "exclusive"

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
	// Session is a random word the agent draws at start; Sequence counts 1, 2, 3, … within it.
	Session  string
	Sequence uint64
	// Start (inclusive) and End (exclusive) bound the window, in the node's wall clock at millisecond precision.
	Start, End time.Time
	// OwnersKnown is true when the kubelet said who holds which device for this window. When it is false there are no
	// usages, and that means "unknown", not "idle".
	OwnersKnown bool
	Readings    []Reading
	Usages      []Usage
	// Problems names what could not be read in this window, such as "nvml: library not found". Empty when all is well.
	Problems []string
}
