package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/test/swarm"
)

// system is the namespace of the aggregator, tlsConfigMap where it puts its authority.
const (
	system       = "foretide-system"
	tlsConfigMap = "foretide-ca"
	writers      = 16
)

// world is what the API server holds: the workloads of a swarm, with their pods and nodes, and a policy for each.
type world struct {
	settings
	client client.Client
}

func newWorld(config *rest.Config, s settings) (*world, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	return &world{s, c}, err
}

// create makes everything.
func (w *world) create(ctx context.Context) error {
	namespaces := map[string]bool{system: true}
	for i := range w.policies {
		namespace, _, _ := swarm.WorkloadName(i)
		namespaces[namespace] = true
	}
	for name := range namespaces {
		if err := w.client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
			return err
		}
	}
	sets := make([]types.UID, w.policies)
	if err := all(ctx, w.policies, func(ctx context.Context, i int) (err error) {
		sets[i], err = w.workload(ctx, i)
		return err
	}); err != nil {
		return err
	}
	return all(ctx, w.nodes(), func(ctx context.Context, i int) error { return w.node(ctx, i, sets) })
}

// all calls a function for each number below n, many at once.
func all(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	for i := range n {
		group.Go(func() error { return do(ctx, i) })
	}
	return group.Wait()
}

// workload makes a Deployment, its ReplicaSet, and the policy that scales it, which acts: it returns the ReplicaSet's UID.
func (w *world) workload(ctx context.Context, i int) (types.UID, error) {
	namespace, name, setName := swarm.WorkloadName(i)
	labels := map[string]string{"app": name}
	meta := metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels}
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: podSpec("")}
	replicas, selector := ptr.To(int32(w.podsPerPolicy)), &metav1.LabelSelector{MatchLabels: labels}
	deployment := &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{Replicas: replicas, Selector: selector, Template: template}}
	if err := w.client.Create(ctx, deployment); err != nil {
		return "", err
	}
	set := &appsv1.ReplicaSet{ObjectMeta: *meta.DeepCopy(), Spec: appsv1.ReplicaSetSpec{Replicas: replicas, Selector: selector, Template: template}}
	set.Name, set.OwnerReferences = setName, owner("Deployment", name, deployment.UID)
	if err := w.client.Create(ctx, set); err != nil {
		return "", err
	}
	policy := &v1alpha1.AdvancedHorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	policy.Spec = v1alpha1.AdvancedHorizontalPodAutoscalerSpec{
		ScaleStrategy:  v1alpha1.StrategyAuto,
		ScaleTargetRef: v1alpha1.ScaleTargetRef{APIVersion: "apps/v1", Kind: "Deployment", Name: name},
		Metrics: []v1alpha1.MetricSpec{{Type: v1alpha1.MetricSourceResource, Resource: &v1alpha1.ResourceMetric{
			Name: v1alpha1.ResourceGPU, Target: v1alpha1.MetricTarget{Type: v1alpha1.UtilizationTarget, AverageUtilization: new(int32(60))},
		}}},
		// The pods are all there are: nobody would make more.
		MinReplicas: replicas, MaxReplicas: *replicas,
	}
	return set.UID, w.client.Create(ctx, policy)
}

func owner(kind, name string, uid types.UID) []metav1.OwnerReference {
	return []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: kind, Name: name, UID: uid, Controller: ptr.To(true)}}
}

func podSpec(node string) corev1.PodSpec {
	return corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{
		Name: "model", Image: "model", Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{"nvidia.com/gpu": resource.MustParse("1")}},
	}}}
}

// node makes a node and its pods: those that the agent of that name will tell of.
func (w *world) node(ctx context.Context, i int, sets []types.UID) error {
	name := fmt.Sprintf("%s%05d", nodePrefix, i)
	if err := w.client.Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
		return err
	}
	for gpu, pod := range swarm.NewNode(name, "", i, seed, w.settings.node()).Pods() {
		if number := w.settings.node().Workload(i*w.gpusPerNode + gpu); number < len(sets) {
			if err := w.pod(ctx, name, number, pod, sets[number]); err != nil {
				return err
			}
		}
	}
	return nil
}

// pod makes one that has been ready for a while.
func (w *world) pod(ctx context.Context, node string, workload int, pod telemetry.Pod, set types.UID) error {
	namespace, name, setName := swarm.WorkloadName(workload)
	p := &corev1.Pod{Spec: podSpec(node), ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: pod.Name, Labels: map[string]string{"app": name}, OwnerReferences: owner("ReplicaSet", setName, set),
	}}
	if err := w.client.Create(ctx, p); err != nil {
		return err
	}
	p.Status.Phase = corev1.PodRunning
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()}}
	return w.client.Status().Update(ctx, p)
}

// roots waits for the authority of the aggregator's certificate.
func (w *world) roots(ctx context.Context) (*x509.CertPool, error) {
	for {
		var authority corev1.ConfigMap
		err := w.client.Get(ctx, client.ObjectKey{Namespace: system, Name: tlsConfigMap}, &authority)
		roots := x509.NewCertPool()
		if err == nil && roots.AppendCertsFromPEM([]byte(authority.Data["ca.crt"])) {
			return roots, nil
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(err, ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}
