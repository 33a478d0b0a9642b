package process

import (
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/foretide/foretide/pkg/telemetry"
)

const (
	// DefaultPodLogs holds a folder <namespace>_<pod>_<uid> for each pod (kubernetes pkg/kubelet/kuberuntime/helpers.go).
	DefaultPodLogs = "/var/log/pods"
	// DefaultContainerLogs holds a link <pod>_<namespace>_<container>-<id>.log for each container (kubernetes
	// pkg/kubelet/kuberuntime/legacy.go).
	DefaultContainerLogs = "/var/log/containers"

	// readNamesEvery is the shortest time between two looks at the folders.
	readNamesEvery = time.Second
	// maxEntries bounds how much of a folder is read. A node has a few hundred containers, and as many that ended.
	maxEntries = 16 << 10
)

// Names knows pods and containers by the names of their logs, where the kubelet does not serve its Pods API.
//
// The folders belong to root and are written by the kubelet alone, so whoever could put a false name there could do anything
// else on the node as well. Only names are read: no file is opened and no link followed. They say neither who owns a pod nor
// whether it is ready; they stay for a while after a pod ended, so they cannot tell which pods there are; and of a container
// whose link would have a name longer than 255 bytes only the pod is known.
type Names struct {
	podLogs, containerLogs string
	now                    func() time.Time

	mu         sync.Mutex
	read       time.Time // when last
	pods       map[string]telemetry.Owner
	containers map[string]telemetry.Owner
}

// NewNames reads the two folders; empty takes DefaultPodLogs and DefaultContainerLogs. They need not be there: then nothing is
// known.
func NewNames(podLogs, containerLogs string) *Names {
	if podLogs == "" {
		podLogs = DefaultPodLogs
	}
	if containerLogs == "" {
		containerLogs = DefaultContainerLogs
	}
	return &Names{podLogs: podLogs, containerLogs: containerLogs, now: time.Now}
}

// Pod returns the namespace and name of a pod by the UID in its cgroup's name.
func (n *Names) Pod(uid string) (telemetry.Owner, bool) {
	return n.find(func() (telemetry.Owner, bool) { o, ok := n.pods[uid]; return o, ok })
}

// Container returns the namespace, pod and name of a container by its id, and the pod's UID when only one pod has the name: one
// that ended, whose logs are still there, may have had it too.
func (n *Names) Container(id string) (owner telemetry.Owner, uid string, known bool) {
	owner, known = n.find(func() (telemetry.Owner, bool) { o, ok := n.containers[id]; return o, ok })
	if !known {
		return telemetry.Owner{}, "", false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	pods := 0
	for candidate, pod := range n.pods {
		if pod.Namespace == owner.Namespace && pod.Pod == owner.Pod {
			uid = candidate
			pods++
		}
	}
	if pods != 1 {
		uid = ""
	}
	return owner, uid, true
}

// find looks again at the folders when the name is not known, but not more often than each second.
func (n *Names) find(look func() (telemetry.Owner, bool)) (telemetry.Owner, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if owner, known := look(); known {
		return owner, true
	}
	if now := n.now(); n.read.IsZero() || now.Sub(n.read) >= readNamesEvery {
		n.read = now
		n.readFolders()
	}
	return look()
}

// readFolders replaces what is known with what is there.
func (n *Names) readFolders() {
	n.pods, n.containers = map[string]telemetry.Owner{}, map[string]telemetry.Owner{}
	eachEntry(n.podLogs, func(e fs.DirEntry) {
		if uid, owner, ok := parsePodLog(e.Name()); ok && e.IsDir() {
			n.pods[uid] = owner
		}
	})
	eachEntry(n.containerLogs, func(e fs.DirEntry) {
		if id, owner, ok := parseContainerLog(e.Name()); ok && e.Type() == fs.ModeSymlink {
			n.containers[id] = owner
		}
	})
}

// eachEntry visits the entries of a folder; one that cannot be read has none.
func eachEntry(folder string, visit func(fs.DirEntry)) {
	dir, err := os.Open(folder)
	if err != nil {
		return
	}
	defer func() { _ = dir.Close() }()
	const batch = 256
	for range maxEntries / batch {
		entries, err := dir.ReadDir(batch)
		for _, e := range entries {
			visit(e)
		}
		if err != nil { // io.EOF at the end
			return
		}
	}
}

// parsePodLog reads <namespace>_<pod>_<uid>. None of the three can hold an underscore.
func parsePodLog(name string) (uid string, owner telemetry.Owner, ok bool) {
	parts := strings.Split(name, "_")
	if len(parts) != 3 || !isLabel(parts[0]) || !isSubdomain(parts[1]) || !isPodUID(parts[2]) {
		return "", telemetry.Owner{}, false
	}
	return parts[2], telemetry.Owner{Namespace: parts[0], Pod: parts[1]}, true
}

// parseContainerLog reads <pod>_<namespace>_<container>-<id>.log.
func parseContainerLog(name string) (id string, owner telemetry.Owner, ok bool) {
	stem, isLog := strings.CutSuffix(name, ".log")
	parts := strings.Split(stem, "_")
	if !isLog || len(parts) != 3 || !isSubdomain(parts[0]) || !isLabel(parts[1]) {
		return "", telemetry.Owner{}, false
	}
	hyphen := strings.LastIndexByte(parts[2], '-')
	if hyphen < 0 || !isLabel(parts[2][:hyphen]) {
		return "", telemetry.Owner{}, false
	}
	id = parts[2][hyphen+1:]
	return id, telemetry.Owner{Namespace: parts[1], Pod: parts[0], Container: parts[2][:hyphen]}, len(id) == 64 && isHex(id)
}

// isSubdomain tells what may be the name of a pod: labels with dots between (RFC 1123).
func isSubdomain(name string) bool {
	for label := range strings.SplitSeq(name, ".") {
		// Of a subdomain the API limits the whole only.
		if !isLabelOf(label, 253) {
			return false
		}
	}
	return len(name) <= 253
}

// isLabel tells what may be the name of a namespace or a container.
func isLabel(name string) bool { return isLabelOf(name, 63) }

func isLabelOf(name string, longest int) bool {
	if name == "" || len(name) > longest || name[0] == '-' || name[len(name)-1] == '-' {
		return false
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}
