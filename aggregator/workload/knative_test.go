package workload

import (
	"errors"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"
)

var ksvc = Reference{APIVersion: "serving.knative.dev/v1", Kind: "Service", Name: "bert"}

func knativeObject(kind, name string, status map[string]any, annotations map[string]string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "serving.knative.dev/v1", "kind": kind, "status": status}}
	o.SetNamespace("default")
	o.SetName(name)
	o.SetAnnotations(annotations)
	o.SetResourceVersion("7")
	return o
}

// knativeOf is a client of a cluster with these objects and a Knative of a version.
func knativeOf(version string, objects ...runtime.Object) *dynamicfake.FakeDynamicClient {
	definition := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}}
	definition.SetName("revisions.serving.knative.dev")
	if version != "" {
		definition.SetLabels(map[string]string{"app.kubernetes.io/version": version})
	}
	return dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{
		knativeServices: "ServiceList", knativeRevisions: "RevisionList", definitions: "CustomResourceDefinitionList",
	}, append(objects, definition)...)
}

func TestTheFloorOfARevisionIsReadInBothSpellings(t *testing.T) {
	f := func(want int32, annotations map[string]string) {
		t.Helper()
		if got := floorOf(knativeObject("Revision", "bert-00001", nil, annotations)); got != want {
			t.Errorf("floor of %v is %d, want %d", annotations, got, want)
		}
	}
	f(0, nil)
	f(3, map[string]string{minScale: "3"})
	f(2, map[string]string{minScaleOld: "2"})
	f(3, map[string]string{minScale: "3", minScaleOld: "2"})
	f(0, map[string]string{minScale: "many"})
}

func TestWhatKnativeWantsIsItsNumberOrThePodsThereAre(t *testing.T) {
	pods := []Pod{{State: Ready}, {State: Unready}, {State: Gone}}
	f := func(want int32, status map[string]any) {
		t.Helper()
		if got := replicasOf(knativeObject("Revision", "bert-00001", status, nil), pods); got != want {
			t.Errorf("replicas of %v are %d, want %d", status, got, want)
		}
	}
	f(5, map[string]any{"desiredReplicas": int64(5), "actualReplicas": int64(1)})
	f(0, map[string]any{"desiredReplicas": int64(0), "actualReplicas": int64(1)})
	f(1, map[string]any{"desiredReplicas": int64(-1), "actualReplicas": int64(1)})
	f(2, map[string]any{"desiredReplicas": int64(-1)})
}

func TestTheFloorIsSetOnTheRevisionOfAKnativeThatLeavesItsPodsAlone(t *testing.T) {
	for version, want := range map[string]string{
		"1.21.0": "", "v1.23.1": "", "devel": "", "v20260821-98e5ef9": "", "1.20.3": `"1.20.3"`, "0.48": `"0.48"`, "": `version ""`,
	} {
		k := knative{client: knativeOf(version, knativeObject("Revision", "bert-00001", nil, nil))}
		err := k.setFloor(t.Context(), "default", ksvc, 4, "bert-00001@7")
		revision, readErr := k.get(t.Context(), knativeRevisions, "default", "bert-00001")
		if readErr != nil {
			t.Fatal(readErr)
		}
		set := revision.GetAnnotations()[minScale]
		if want == "" && (err != nil || set != "4") || want != "" && (err == nil || !strings.Contains(err.Error(), want) || set != "") {
			t.Errorf("Knative %q: floor %q, %v", version, set, err)
		}
	}
}

func TestARefusedFloorSaysWhatToDo(t *testing.T) {
	revision := knativeObject("Revision", "bert-00001", nil, nil)
	group := schema.GroupResource{Group: knativeGroup, Resource: "revisions"}
	for name, c := range map[string]struct {
		refuse, is error
		says       string
	}{
		"changed":   {apierrors.NewConflict(group, "bert-00001", errors.New("changed")), ErrConflict, ""},
		"gone":      {apierrors.NewNotFound(group, "bert-00001"), ErrTargetNotFound, ""},
		"forbidden": {apierrors.NewForbidden(group, "bert-00001", errors.New("no")), nil, "deploy/components/knative"},
	} {
		client := knativeOf("1.21.0", revision)
		client.PrependReactor("patch", "revisions", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, c.refuse })
		k := knative{client: client}
		err := k.setFloor(t.Context(), "default", ksvc, 4, "bert-00001@7")
		if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAKnativeServiceWithoutARevisionIsAnError(t *testing.T) {
	d := &Directory{knative: knative{client: knativeOf("1.21.0", knativeObject("Service", "bert", nil, nil))}}
	if _, err := d.Target(t.Context(), "default", ksvc); err == nil || !strings.Contains(err.Error(), "no Revision of Knative Service default/bert is ready") {
		t.Errorf("%v", err)
	}
	if _, err := d.Target(t.Context(), "default", Reference{APIVersion: ksvc.APIVersion, Kind: ksvc.Kind, Name: "other"}); !errors.Is(err, ErrTargetNotFound) {
		t.Errorf("%v", err)
	}
}

func TestTheDeploymentOfARevisionIsScaledByKnative(t *testing.T) {
	c := newCluster(t, nil)
	c.start(t)
	for selector, want := range map[string]string{"serving.knative.dev/revisionUID=1": "Knative", "app=bert": ""} {
		c.deploy("bert", selector, 1)
		target, err := c.Target(t.Context(), "default", deployment("bert"))
		if err != nil || target.ScaledBy != want {
			t.Errorf("%s: scaled by %q, want %q; %v", selector, target.ScaledBy, want, err)
		}
	}
}
