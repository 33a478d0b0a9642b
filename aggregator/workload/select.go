package workload

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// labelIndex is the informer's index of pods by namespace and by each label that many of them may share: of a namespace with
// thousands of pods, those of one target are found without a look at the others.
const labelIndex = "label"

// unshared are labels that Kubernetes gives each pod, or each revision, a value of its own of: an index of them would be as large as the
// pods and pick no better than the label beside them.
var unshared = map[string]bool{
	"pod-template-hash": true, "controller-revision-hash": true, "pod-template-generation": true,
	"statefulset.kubernetes.io/pod-name": true, "apps.kubernetes.io/pod-index": true,
}

func labelKey(namespace, key, value string) string { return namespace + "/" + key + "=" + value }

func indexLabels(obj any) ([]string, error) {
	r, ok := obj.(*record)
	if !ok {
		return nil, nil
	}
	keys := make([]string, 0, len(r.Labels))
	for key, value := range r.Labels {
		if !unshared[key] {
			keys = append(keys, labelKey(r.Namespace, key, value))
		}
	}
	return keys, nil
}

// picker is how the pods of a target that was read are found.
type picker struct {
	text     string // the selector as the target has it
	selector labels.Selector
	// key is the label whose pods are looked at, of those the selector asks for the one that the fewest pods had when it was first
	// read; "" looks at the whole namespace.
	key string
}

// picker returns that of a selector, which is read when it changes.
func (d *Directory) picker(id ID, text string) (picker, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p := d.read[id]; p.text == text {
		return p, nil
	}
	selector, err := labels.Parse(text)
	if err != nil {
		return picker{}, fmt.Errorf("selector %q: %w", text, err)
	}
	p := picker{text: text, selector: selector}
	requirements, _ := selector.Requirements()
	fewest := -1
	for _, r := range requirements {
		if unshared[r.Key()] || r.Operator() != selection.Equals && r.Operator() != selection.DoubleEquals && r.Operator() != selection.In {
			continue
		}
		value, single := r.Values().PopAny()
		if !single || r.Values().Len() > 1 {
			continue
		}
		key := labelKey(id.Namespace, r.Key(), value)
		names, err := d.pods.GetIndexer().IndexKeys(labelIndex, key)
		if err == nil && (fewest < 0 || len(names) < fewest) {
			p.key, fewest = key, len(names)
		}
	}
	d.read[id] = p
	return p, nil
}

// candidates are the pods among which a picker finds those of a target.
func (d *Directory) candidates(id ID, p picker) ([]any, error) {
	index, key := labelIndex, p.key
	if key == "" {
		index, key = namespaceIndex, id.Namespace
	}
	objects, err := d.pods.GetIndexer().ByIndex(index, key)
	if err != nil {
		return nil, fmt.Errorf("list pods of %s/%s: %w", id.Namespace, id.Name, err)
	}
	return objects, nil
}

// matches reports whether a pod is one that the selector picks.
func (p picker) matches(labelled metav1.ObjectMeta) bool {
	return p.selector.Matches(labels.Set(labelled.Labels))
}
