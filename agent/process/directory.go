package process

import "github.com/foretide/foretide/pkg/telemetry"

// Directory says whose a process is. It only puts together what others know: the fields are asked in turn, and any of the
// lists may be empty.
type Directory struct {
	// Find returns the container of a process: [Finder.Find].
	Find func(pid int) (Container, State)
	// Containers know containers by id, best first. They return the pod's UID where they know it. Only containers of a pod's
	// specification are theirs to know, not its sandbox.
	Containers []func(id string) (owner telemetry.Owner, uid string, known bool)
	// Pods know pods by the UID in their cgroup's name, best first. The owner they return has no container.
	Pods []func(uid string) (owner telemetry.Owner, known bool)
}

// Owner returns whose the process is, by its number in the host's PID namespace:
//
//	OfContainer   owner is complete
//	OfPod         owner has no container; it is empty where nobody knows the pod, of which there may be the UID then
//	OfHost        owner is empty: the process belongs to no pod
//	NotVisible    owner is empty: nothing is known
//
// The UID is that of the pod's cgroup where the name shows it: a static pod's is its configuration hash.
func (d Directory) Owner(pid int) (owner telemetry.Owner, uid string, state State) {
	container, state := d.Find(pid)
	if state < OfPod {
		return telemetry.Owner{}, "", state
	}
	uid = container.PodUID
	if container.ID != "" {
		for _, know := range d.Containers {
			owner, itsUID, known := know(container.ID)
			if !known {
				continue
			}
			if uid == "" {
				uid = itsUID
			}
			return owner, uid, OfContainer
		}
	}
	if uid != "" {
		for _, know := range d.Pods {
			if owner, known := know(uid); known {
				owner.Container = ""
				return owner, uid, OfPod
			}
		}
	}
	return telemetry.Owner{}, uid, OfPod
}
