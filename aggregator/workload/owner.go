package workload

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

// Owner returns the workload a pod belongs to: its controller, or, where that is a ReplicaSet with a controller, the latter.
// False when the pod is not known, has no controller, is a placeholder, or its ReplicaSet has not been seen yet.
func (d *Directory) Owner(namespace, pod string) (ID, bool) {
	object, exists, err := d.pods.GetIndexer().GetByKey(namespace + "/" + pod)
	if err != nil || !exists {
		return ID{}, false
	}
	r, ok := object.(*record)
	if !ok {
		return ID{}, false
	}
	return d.ownerOf(r)
}

func (d *Directory) ownerOf(r *record) (ID, bool) {
	if len(r.OwnerReferences) == 0 || isPlaceholder(r) {
		return ID{}, false
	}
	owner := r.OwnerReferences[0]
	id := ID{Namespace: r.Namespace, Kind: owner.Kind, Name: owner.Name}
	switch owner.Kind {
	case "Job", "DaemonSet", "Node":
		return ID{}, false
	case "ReplicaSet":
		return d.ownerOfReplicaSet(id, owner)
	}
	return id, true
}

func (d *Directory) ownerOfReplicaSet(id ID, ref metav1.OwnerReference) (ID, bool) {
	object, exists, err := d.replicaSets.GetIndexer().GetByKey(id.Namespace + "/" + id.Name)
	if err != nil || !exists {
		return ID{}, false
	}
	set, ok := object.(*metav1.PartialObjectMetadata)
	if !ok || set.UID != ref.UID {
		return ID{}, false
	}
	if owner := metav1.GetControllerOfNoCopy(set); owner != nil {
		id.Kind, id.Name = owner.Kind, owner.Name
	}
	return id, true
}

// ownersOnly is the ReplicaSet informer's transform: name and owners are all that is asked of them.
func ownersOnly(obj any) (any, error) {
	switch o := obj.(type) {
	case cache.DeletedFinalStateUnknown:
		return o, nil
	case *metav1.PartialObjectMetadata:
		o.ObjectMeta = metav1.ObjectMeta{
			Namespace: o.Namespace, Name: o.Name, UID: o.UID, ResourceVersion: o.ResourceVersion, OwnerReferences: o.OwnerReferences,
		}
		return o, nil
	}
	return nil, fmt.Errorf("replica set informer was given a %T", obj)
}
