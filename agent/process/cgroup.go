// Package process finds the container, and with it the pod, that a process of this node belongs to.
//
//	PID → /proc/<pid>/cgroup → pod UID, container id → (who knows them) → namespace, pod, container
package process

import "strings"

// Container is what a cgroup's name says. Either field may be empty, never both.
type Container struct {
	// PodUID is the pod's UID as the kubelet has it, with hyphens. A static pod's is its configuration hash (32 hexadecimal
	// digits), which is not the UID of the API object. Empty when the name does not show it.
	PodUID string
	// ID is the runtime's id of the container (64 hexadecimal digits). It may be the pod's sandbox. Empty when the process is in
	// the pod's cgroup but not in a container's: the runtime's monitor, for one.
	ID string
}

// deleted is what the kernel appends to the path of a cgroup that was removed under its last process.
const deleted = " (deleted)"

// ParseCgroup reads the text of /proc/<pid>/cgroup, of cgroup v1 (a line for each hierarchy) or v2 (one line). It reports
// false for a process of no pod.
//
// Paths are not taken to begin at the root: in a private cgroup namespace they begin at the reader's own cgroup
// (/../../kubepods-pod….slice/…), and under kind, k3d, LXC or the kubelet's --cgroup-root there is more before the pod. The
// outermost pod counts: what a container creates below its own cgroup, whatever its name, stays the container's.
func ParseCgroup(text string) (Container, bool) {
	var best Container
	for line := range strings.Lines(text) {
		// hierarchy:controllers:path; the path may hold colons.
		fields := strings.SplitN(strings.TrimRight(line, "\n"), ":", 3)
		if len(fields) < 3 {
			continue
		}
		c := parsePath(strings.TrimSuffix(fields[2], deleted))
		if c.PodUID != "" && c.ID != "" {
			return c, true
		}
		if best.PodUID == "" && c != (Container{}) {
			best = c
		}
	}
	return best, best != Container{}
}

// parsePath finds the first part of the path that names a pod, and takes the part after it for the container's.
func parsePath(path string) Container {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	for i, part := range parts {
		if uid, rest, ok := podPart(part); ok {
			switch {
			case rest != "":
				return Container{uid, containerPart(rest)}
			case i+1 < len(parts):
				return Container{uid, containerPart(parts[i+1])}
			}
			return Container{PodUID: uid}
		}
		// Right below a cgroup of the reader's own: another container of the reader's own pod, whose name the kernel does not show.
		if i > 0 && parts[i-1] == ".." {
			if id := containerPart(part); id != "" {
				return Container{ID: id}
			}
		}
	}
	return Container{}
}

// podPart reads the name of a pod's cgroup:
//
//	pod<uid>                                  cgroupfs driver
//	kubepods-burstable-pod<uid with _>.slice  systemd driver
//
// A runtime that has the systemd driver's name but not the driver puts slice:prefix:id into one part; rest is what follows the
// slice then.
func podPart(part string) (uid, rest string, ok bool) {
	slice, rest, _ := strings.Cut(part, ":")
	name, isSlice := strings.CutSuffix(slice, ".slice")
	if isSlice {
		name = name[strings.LastIndexByte(name, '-')+1:] // systemd's names have _ for the hyphens of the UID
	}
	name, ok = strings.CutPrefix(name, "pod")
	if !ok {
		return "", "", false
	}
	uid = strings.ReplaceAll(name, "_", "-")
	return uid, rest, isPodUID(uid)
}

// containerPart reads the id from the name of a container's cgroup:
//
//	<id>                                      cgroupfs driver
//	cri-containerd-<id>.scope                 systemd driver: docker-, crio-, libpod- and others
//	cri-containerd:<id>                       after slice:
//
// It is empty for what is no container, such as CRI-O's monitor of one, crio-conmon-<id>.scope.
func containerPart(part string) string {
	if strings.HasPrefix(part, "crio-conmon-") {
		return ""
	}
	part = strings.TrimSuffix(part, ".scope")
	id := part[strings.LastIndexAny(part, "-:_")+1:]
	if len(id) != 64 || !isHex(id) {
		return ""
	}
	return id
}

// isPodUID tells 8-4-4-4-12 hexadecimal digits, which the API server gives, and 32, which the kubelet gives static pods.
func isPodUID(uid string) bool {
	if len(uid) == 32 {
		return isHex(uid)
	}
	if len(uid) != 36 {
		return false
	}
	for i, c := range []byte(uid) {
		if hyphen := i == 8 || i == 13 || i == 18 || i == 23; hyphen != (c == '-') || !hyphen && !isHexDigit(c) {
			return false
		}
	}
	return true
}

func isHex(s string) bool {
	for _, c := range []byte(s) {
		if !isHexDigit(c) {
			return false
		}
	}
	return true
}

func isHexDigit(c byte) bool { return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' }
