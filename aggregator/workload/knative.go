package workload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/client-go/dynamic"
)

// A Knative Service has no scale subresource: Knative's own autoscaler runs as many pods of its Revision as requests need, and no
// fewer than the Revision's annotation autoscaling.knative.dev/min-scale says. That floor is what is read and set here:
//
//	Service ─► status.latestReadyRevisionName ─► Revision: status.desiredReplicas, and the floor in its annotations
//
// It is set on the Revision, not in the Service's template: a changed template makes a new Revision, with new pods, each time. From
// Knative Serving 1.21 on (knative/serving#16186) a Revision's autoscaling annotations reach its PodAutoscaler and nothing else; an
// older one would write them into the pods and replace all of them, so there the floor is not set.
const (
	knativeGroup    = "serving.knative.dev"
	knativeService  = knativeGroup + "/service"
	knativeRevision = knativeGroup + "/revision"
	// knativeRevisionUID is in the selector of the Deployment that Knative makes of a Revision.
	knativeRevisionUID = knativeGroup + "/revisionUID"

	minScale    = "autoscaling.knative.dev/min-scale"
	minScaleOld = "autoscaling.knative.dev/minScale" // counts where the other is not there

	// versionLabel is on what Knative installs.
	versionLabel = "app.kubernetes.io/version"
)

// oldestKnative takes annotations of a Revision to its PodAutoscaler alone.
var oldestKnative = version.MajorMinor(1, 21)

var (
	knativeServices  = schema.GroupVersionResource{Group: knativeGroup, Version: "v1", Resource: "services"}
	knativeRevisions = schema.GroupVersionResource{Group: knativeGroup, Version: "v1", Resource: "revisions"}
	definitions      = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
)

// knative reads and sets the floor of Knative Services.
type knative struct {
	client   dynamic.Interface
	suitable atomic.Bool // the version was seen to be new enough
}

// isKnative reports whether a reference is to a Knative Service.
func isKnative(ref Reference) bool {
	return ref.Kind == "Service" && strings.HasPrefix(ref.APIVersion, knativeGroup+"/")
}

// knativeTarget reads a Knative Service: the pods of its latest ready Revision, and how many Knative wants of them.
func (d *Directory) knativeTarget(ctx context.Context, namespace string, ref Reference) (Target, error) {
	target := Target{ID: ID{Namespace: namespace, Kind: ref.Kind, Name: ref.Name}}
	service, err := d.knative.get(ctx, knativeServices, namespace, ref.Name)
	if err != nil {
		return Target{}, err
	}
	name, _, _ := unstructured.NestedString(service.Object, "status", "latestReadyRevisionName")
	if name == "" {
		return Target{}, fmt.Errorf("no Revision of Knative Service %s/%s is ready yet", namespace, ref.Name)
	}
	revision, err := d.knative.get(ctx, knativeRevisions, namespace, name)
	if err != nil {
		return Target{}, err
	}
	if !d.Synced() {
		return Target{}, ErrNotSynced
	}
	if _, err := d.picker(target.ID, knativeService+"="+ref.Name); err != nil { // demand is that of all Revisions
		return Target{}, err
	}
	latest := picker{selector: labels.SelectorFromSet(labels.Set{knativeRevision: name}), key: labelKey(namespace, knativeRevision, name)}
	if target.Pods, err = d.podsOf(target.ID, latest); err != nil {
		return Target{}, err
	}
	target.Floor = new(floorOf(revision))
	target.Replicas = replicasOf(revision, target.Pods)
	target.Version = name + "@" + revision.GetResourceVersion()
	return target, nil
}

// ofKnative tells whether a selector is that of a Revision's Deployment, which Knative scales.
func ofKnative(selector labels.Selector) bool {
	requirements, _ := selector.Requirements()
	return slices.ContainsFunc(requirements, func(r labels.Requirement) bool { return r.Key() == knativeRevisionUID })
}

// replicasOf is how many pods Knative wants of a Revision; where it does not say, how many there are.
func replicasOf(revision *unstructured.Unstructured, pods []Pod) int32 {
	for _, field := range []string{"desiredReplicas", "actualReplicas"} { // -1 is unknown
		if n, ok, err := unstructured.NestedInt64(revision.Object, "status", field); ok && err == nil && n >= 0 {
			return int32(n)
		}
	}
	there := int32(0)
	for _, pod := range pods {
		if pod.State != Gone {
			there++
		}
	}
	return there
}

// floorOf is a Revision's min-scale; 0 where it has none.
func floorOf(revision *unstructured.Unstructured) int32 {
	annotations := revision.GetAnnotations()
	text, ok := annotations[minScale]
	if !ok {
		text = annotations[minScaleOld]
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return 0
	}
	return int32(n)
}

// get reads one of Knative's objects.
func (k *knative) get(ctx context.Context, resource schema.GroupVersionResource, namespace, name string) (*unstructured.Unstructured, error) {
	if k.client == nil {
		return nil, errors.New("no client for Knative Services")
	}
	object, err := k.client.Resource(resource).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("%s.%s %s/%s: %w: %w", resource.Resource, resource.Group, namespace, name, ErrTargetNotFound, err)
	case err != nil:
		return nil, fmt.Errorf("read %s.%s %s/%s: %w%s", resource.Resource, resource.Group, namespace, name, err, missingRights(err))
	}
	return object, nil
}

// setFloor sets the floor of the Revision that a Target was read of.
func (k *knative) setFloor(ctx context.Context, namespace string, ref Reference, floor int32, read string) error {
	name, resourceVersion, _ := strings.Cut(read, "@")
	fail := func(err error) error {
		switch {
		case apierrors.IsConflict(err):
			err = fmt.Errorf("%w: %w", ErrConflict, err)
		case apierrors.IsNotFound(err):
			err = fmt.Errorf("%w: %w", ErrTargetNotFound, err)
		}
		return fmt.Errorf("set %s of Revision %s/%s to %d: %w%s", minScale, namespace, name, floor, err, missingRights(err))
	}
	if err := k.check(ctx, ref); err != nil {
		return fail(err)
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"resourceVersion": resourceVersion, "annotations": map[string]string{minScale: strconv.Itoa(int(floor))},
	}})
	if err != nil {
		return fail(err)
	}
	if _, err := k.client.Resource(knativeRevisions).Namespace(namespace).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fail(err)
	}
	return nil
}

// check returns an error when this Knative would replace a Revision's pods for its annotations. One that is built from source says
// no number and is taken for a new one.
func (k *knative) check(ctx context.Context, ref Reference) error {
	if k.suitable.Load() {
		return nil
	}
	definition, err := k.client.Resource(definitions).Get(ctx, "revisions."+knativeGroup, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("find out Knative's version: %w", err)
	}
	is := definition.GetLabels()[versionLabel]
	if parsed, err := version.ParseGeneric(is); is == "" || err == nil && parsed.LessThan(oldestKnative) {
		return fmt.Errorf("version %q of Knative Serving (label %s of %s): %s or later is needed, an older one replaces all pods of %s for it",
			is, versionLabel, definition.GetName(), oldestKnative, ref.Name)
	}
	k.suitable.Store(true)
	return nil
}

// missingRights says where the rights are that were missing.
func missingRights(err error) string {
	if apierrors.IsForbidden(err) {
		return "; deploy/components/knative grants it"
	}
	return ""
}
