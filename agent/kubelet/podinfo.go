package kubelet

import (
	"strings"

	"github.com/foretide/foretide/pkg/telemetry"
)

// PodInfo is a pod of this node as the kubelet sees it. It is never changed after it was handed out.
type PodInfo struct {
	// Pod has no UID when the pod is static: the kubelet's own of it, which cgroups and [Pods.ByUID] know, is not the API
	// object's. Ready is not known while the kubelet cannot be reached.
	telemetry.Pod
	// Running is the pod's phase: its address is its own only while it is.
	Running bool
	// IP is the first of the pod's addresses; empty until it has one.
	IP string
	// HostNetwork tells that IP is the node's.
	HostNetwork bool
	// Annotations are those under foretide.dev/, prometheus.io/ and hami.io/, and kubernetes.io/config.hash.
	Annotations map[string]string
	// Ports are those the containers declare.
	Ports []Port
	// Containers are in the order of the specification: init containers, containers, ephemeral containers.
	Containers []Container
}

// Port is a port that a container declares.
type Port struct {
	// Name is empty where it has none.
	Container, Name string
	Number          int
}

// Container is one container of a pod.
type Container struct {
	Name string
	// ID is the runtime's, without the runtime's name before it (64 hexadecimal digits); empty while there is none. A container
	// that was restarted has the new one.
	ID string
	// Init tells init containers, sidecars among them, from the others.
	Init bool
}

// configHash is the annotation that holds the UID a static pod has with the kubelet.
const configHash = "kubernetes.io/config.hash"

// maxAnnotation bounds a value that is kept, in bytes: HAMi's are the longest, a line per GPU.
const maxAnnotation = 16 << 10

var keptAnnotations = []string{"foretide.dev/", "prometheus.io/", "hami.io/"}

func keepsAnnotation(key string, value []byte) bool {
	if len(value) > maxAnnotation {
		return false
	}
	for _, prefix := range keptAnnotations {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return key == configHash
}

// bareID takes the runtime's name off a container's id, such as containerd://3f…
func bareID(id string) string {
	if _, bare, found := strings.Cut(id, "://"); found {
		return bare
	}
	return id
}
