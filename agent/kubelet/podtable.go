package kubelet

import (
	"cmp"
	"slices"
)

// podTable finds pods by what else is known of them. Keys are the UIDs the kubelet has.
type podTable struct {
	byUID       map[string]*PodInfo
	byContainer map[string]string  // container id → UID
	byName      map[podName]string // → UID
	byHash      map[string]string  // configuration hash → UID
}

type podName struct{ namespace, name string }

func newPodTable() *podTable {
	return &podTable{map[string]*PodInfo{}, map[string]string{}, map[podName]string{}, map[string]string{}}
}

func (t *podTable) put(uid string, p *PodInfo) {
	t.remove(uid)
	t.byUID[uid] = p
	t.byName[podName{p.Namespace, p.Name}] = uid
	if hash := p.Annotations[configHash]; hash != "" {
		t.byHash[hash] = uid
	}
	for _, c := range p.Containers {
		if c.ID != "" {
			t.byContainer[c.ID] = uid
		}
	}
}

// remove takes a pod out. What points to another pod by now stays: a new pod may have the name of one that ended.
func (t *podTable) remove(uid string) {
	p := t.byUID[uid]
	if p == nil {
		return
	}
	delete(t.byUID, uid)
	removePointer(t.byName, podName{p.Namespace, p.Name}, uid)
	removePointer(t.byHash, p.Annotations[configHash], uid)
	for _, c := range p.Containers {
		removePointer(t.byContainer, c.ID, uid)
	}
}

func removePointer[K comparable](pointers map[K]string, key K, uid string) {
	if pointers[key] == uid {
		delete(pointers, key)
	}
}

// all returns the pods by namespace, name and UID.
func (t *podTable) all() []PodInfo {
	pods := make([]PodInfo, 0, len(t.byUID))
	for _, p := range t.byUID {
		pods = append(pods, *p)
	}
	slices.SortFunc(pods, func(a, b PodInfo) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.UID, b.UID))
	})
	return pods
}

// forgetReadiness makes every pod's readiness unknown.
func (t *podTable) forgetReadiness() {
	for uid, p := range t.byUID {
		unsure := *p // the one before was handed out
		unsure.Known, unsure.Ready = false, false
		t.byUID[uid] = &unsure
	}
}
