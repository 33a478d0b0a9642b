package workload

import (
	"context"
	"fmt"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/scale"
)

// Clients are the ways to the API server that a Directory uses.
type Clients struct {
	// Pods lists and watches pods.
	Pods kubernetes.Interface
	// Metadata lists and watches ReplicaSets, without their spec.
	Metadata metadata.Interface
	// Scales reads and writes scale subresources.
	Scales scale.ScalesGetter
	// Mapper finds the resource of a kind. It should discover again when it does not know a kind, as controller-runtime's does.
	Mapper meta.RESTMapper
	// Objects reads and patches what has no scale subresource, Knative's; nil: such targets are an error.
	Objects dynamic.Interface
}

// Connect makes the clients for a cluster. The configuration is not changed; its rate limit applies to each client apart.
func Connect(config *rest.Config, mapper meta.RESTMapper) (Clients, error) {
	clientset, err := kubernetes.NewForConfig(config)
	if err != nil {
		return Clients{}, fmt.Errorf("kubernetes client: %w", err)
	}
	meta, err := metadata.NewForConfig(config)
	if err != nil {
		return Clients{}, fmt.Errorf("metadata client: %w", err)
	}
	disco, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return Clients{}, fmt.Errorf("discovery client: %w", err)
	}
	scales, err := scale.NewForConfig(rest.CopyConfig(config), mapper, dynamic.LegacyAPIPathResolverFunc,
		scale.NewDiscoveryScaleKindResolver(disco))
	if err != nil {
		return Clients{}, fmt.Errorf("scale client: %w", err)
	}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return Clients{}, fmt.Errorf("dynamic client: %w", err)
	}
	return Clients{Pods: clientset, Metadata: meta, Scales: scales, Mapper: mapper, Objects: objects}, nil
}

// scales reads and writes the scale subresource of any kind.
type scales struct {
	getter scale.ScalesGetter
	mapper meta.RESTMapper
}

func (s scales) get(ctx context.Context, namespace string, ref Reference) (*autoscalingv1.Scale, error) {
	resource, err := s.resource(ref)
	if err != nil {
		return nil, err
	}
	got, err := s.getter.Scales(namespace).Get(ctx, resource, ref.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("%s %s/%s: %w: %w", ref.Kind, namespace, ref.Name, ErrTargetNotFound, err)
	}
	if err != nil {
		return nil, fmt.Errorf("read scale of %s %s/%s: %w", ref.Kind, namespace, ref.Name, err)
	}
	return got, nil
}

func (s scales) set(ctx context.Context, namespace string, ref Reference, replicas int32, version string) error {
	resource, err := s.resource(ref)
	if err != nil {
		return err
	}
	wanted := &autoscalingv1.Scale{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: ref.Name, ResourceVersion: version},
		Spec:       autoscalingv1.ScaleSpec{Replicas: replicas},
	}
	_, err = s.getter.Scales(namespace).Update(ctx, resource, wanted, metav1.UpdateOptions{})
	switch {
	case err == nil:
		return nil
	case apierrors.IsConflict(err):
		return fmt.Errorf("scale %s %s/%s to %d: %w: %w", ref.Kind, namespace, ref.Name, replicas, ErrConflict, err)
	case apierrors.IsNotFound(err):
		return fmt.Errorf("scale %s %s/%s to %d: %w: %w", ref.Kind, namespace, ref.Name, replicas, ErrTargetNotFound, err)
	}
	return fmt.Errorf("scale %s %s/%s to %d: %w", ref.Kind, namespace, ref.Name, replicas, err)
}

// resource finds what the API server calls the reference's kind.
func (s scales) resource(ref Reference) (schema.GroupResource, error) {
	version, err := schema.ParseGroupVersion(ref.APIVersion)
	if err != nil {
		return schema.GroupResource{}, fmt.Errorf("scaleTargetRef.apiVersion %q: %w", ref.APIVersion, err)
	}
	mapping, err := s.mapper.RESTMapping(schema.GroupKind{Group: version.Group, Kind: ref.Kind})
	if meta.IsNoMatchError(err) {
		return schema.GroupResource{}, fmt.Errorf("no kind %s in %s: %w: %w", ref.Kind, ref.APIVersion, ErrTargetNotFound, err)
	}
	if err != nil {
		return schema.GroupResource{}, fmt.Errorf("find kind %s in %s: %w", ref.Kind, ref.APIVersion, err)
	}
	return mapping.Resource.GroupResource(), nil
}
