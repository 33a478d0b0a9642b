package controller

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// withPlaceholders gives a policy placeholders, for nodes that take so long to come.
func withPlaceholders(seconds int32) func(*v1alpha1.AdvancedHorizontalPodAutoscaler) {
	return func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) {
		p.Spec.Placeholders = &v1alpha1.Placeholders{ProvisioningSeconds: &seconds}
	}
}

// placeholders is the Deployment of a policy's placeholders, nil when there is none.
func (b *bench) placeholders() *appsv1.Deployment {
	b.t.Helper()
	var d appsv1.Deployment
	err := b.Client.Get(b.t.Context(), client.ObjectKey{Namespace: "default", Name: "fib-gpu-placeholder"}, &d)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return &d
}

func (b *bench) expectPlaceholders(p *v1alpha1.AdvancedHorizontalPodAutoscaler, want int32) {
	b.t.Helper()
	got, told := int32(0), int32(0)
	if d := b.placeholders(); d != nil {
		got = *d.Spec.Replicas
	}
	if p.Status.PlaceholderReplicas != nil {
		told = *p.Status.PlaceholderReplicas
	}
	if got != want || told != want {
		b.t.Errorf("%d placeholders, the status tells of %d, want %d", got, told, want)
	}
}

// morning is a world at twenty to nine: at nine, demand has risen from 0.2 GPUs to 1.2 on every day that is known, which is from two
// replicas (the forecast has some doubt) to six or seven at 20 %.
func morning() *world {
	w := newWorld(2, 0.10)
	w.target.Shape = oneGPU()
	w.demand = workday(days(14))
	w.now = time.Date(2026, 3, 2, 8, 40, 0, 0, time.UTC)
	for i := range w.target.Pods {
		w.target.Pods[i].ReadySince = w.now.Add(-time.Hour)
	}
	return w
}

func TestPlaceholdersComeANodesTimeBeforeTheReplicasAndGoWithThem(t *testing.T) {
	w := morning()
	b := newBench(t, w, policy(auto, withPlaceholders(600)))
	p := b.sync("fib-gpu", 0) // 8:40; replicas are foretold up to 8:48, placeholders up to 8:58
	b.expectScaled()
	b.expectPlaceholders(p, 0)
	p = b.sync("fib-gpu", 4*time.Minute) // up to 8:52 and 9:02
	b.expectScaled()
	foretold := *p.Status.PlaceholderReplicas
	b.expectPlaceholders(p, foretold)
	if foretold < 2 || foretold > 6 {
		t.Errorf("%d placeholders before replicas rise from 2 to about 6", foretold)
	}
	// The replicas follow: each takes the place of one.
	p = b.sync("fib-gpu", 11*time.Minute) // 8:55
	if *p.Status.DesiredReplicas < 5 {
		t.Fatalf("%d replicas are desired", *p.Status.DesiredReplicas)
	}
	if n := p.Status.PlaceholderReplicas; n != nil && *n+*p.Status.DesiredReplicas > 8 {
		t.Errorf("%d placeholders beside %d replicas are more than maxReplicas", *n, *p.Status.DesiredReplicas)
	}
	b.run(8, 0.15)
	p = b.sync("fib-gpu", 10*time.Second)
	b.expectPlaceholders(p, 0)
	if b.placeholders() != nil {
		t.Error("the Deployment is still there")
	}
}

func TestPlaceholdersAreAsManyWhereTheTargetIsAnAmountByPod(t *testing.T) {
	var counts []int32
	for _, target := range []v1alpha1.MetricTarget{
		{Type: v1alpha1.UtilizationTarget, AverageUtilization: new(int32(20))}, {Type: v1alpha1.AverageValueTarget, AverageValue: new(resource.MustParse("200m"))},
	} {
		b := newBench(t, morning(), policy(auto, withPlaceholders(1800), func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) { p.Spec.Metrics[0].Resource.Target = target }))
		if n := b.sync("fib-gpu", 0).Status.PlaceholderReplicas; n != nil {
			counts = append(counts, *n)
		}
	}
	if len(counts) != 2 || counts[0] != counts[1] {
		t.Errorf("placeholders %v, want as many of both", counts)
	}
}

func TestNoPlaceholdersComeForAForecastThatIsSwitchedOff(t *testing.T) {
	b := newBench(t, morning(), policy(auto, withPlaceholders(1800), func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) { p.Spec.Metrics[0].Forecast = new(false) }))
	b.expectPlaceholders(b.sync("fib-gpu", 0), 0)
}

func TestPlaceholderAsksForWhatAReplicaAsksForAndDoesNothing(t *testing.T) {
	w := morning()
	most := int32(1000)
	w.target.Shape.Priority = &most
	w.target.Shape.NodeSelector = map[string]string{"gpu": "a100"}
	w.target.Shape.Tolerations = []corev1.Toleration{{Key: "gpu", Operator: corev1.TolerationOpExists}}
	b := newBench(t, w, policy(auto, withPlaceholders(1800)))
	b.sync("fib-gpu", 0)
	d := b.placeholders()
	if d == nil {
		t.Fatal("there is no Deployment")
	}
	pod := d.Spec.Template.Spec
	c := pod.Containers[0]
	switch {
	case pod.NodeSelector["gpu"] != "a100" || len(pod.Tolerations) != 1:
		t.Errorf("it would go to other nodes: %+v", pod)
	case pod.PriorityClassName != PlaceholderPriorityClass || pod.Priority != nil:
		t.Errorf("its priority is %q, %v", pod.PriorityClassName, pod.Priority)
	case !c.Resources.Requests["cpu"].Equal(resource.MustParse("4")) || !c.Resources.Limits["nvidia.com/gpu"].Equal(resource.MustParse("1")):
		t.Errorf("it asks for %+v", c.Resources)
	case len(c.Resources.Limits) != 1:
		t.Errorf("it is limited to %+v", c.Resources.Limits)
	case c.Image != DefaultPlaceholderImage || *pod.TerminationGracePeriodSeconds != 0:
		t.Errorf("it runs %q and takes %d s to go", c.Image, *pod.TerminationGracePeriodSeconds)
	case len(d.OwnerReferences) != 1 || d.OwnerReferences[0].UID != "uid-fib-gpu" || d.OwnerReferences[0].BlockOwnerDeletion != nil:
		t.Errorf("its owners are %+v", d.OwnerReferences)
	case d.Spec.Template.Labels[v1alpha1.LabelPlaceholder] != "uid-fib-gpu":
		t.Errorf("its labels are %v", d.Spec.Template.Labels)
	case w.target.Shape.Priority != &most || w.target.Shape.Containers[0].Image != "":
		t.Error("what all pods share was changed")
	}
}

func TestThereAreNoPlaceholdersForAPolicyThatDoesNotAct(t *testing.T) {
	change := func(b *bench, change func(*v1alpha1.AdvancedHorizontalPodAutoscaler)) {
		b.t.Helper()
		var p v1alpha1.AdvancedHorizontalPodAutoscaler
		if err := b.Client.Get(b.t.Context(), client.ObjectKey{Namespace: "default", Name: "fib-gpu"}, &p); err != nil {
			b.t.Fatal(err)
		}
		change(&p)
		if err := b.Client.Update(b.t.Context(), &p); err != nil {
			b.t.Fatal(err)
		}
	}
	for name, stop := range map[string]func(b *bench){
		"it only observes": func(b *bench) {
			change(b, func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) { p.Spec.ScaleStrategy = v1alpha1.StrategyObserver })
		},
		"it is paused": func(b *bench) {
			change(b, func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) { p.Spec.Paused = true })
		},
		"it wants none any more": func(b *bench) {
			change(b, func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) { p.Spec.Placeholders = nil })
		},
		"its target is gone":         func(b *bench) { b.absent = notFound() },
		"its target is switched off": func(b *bench) { b.target.Replicas, b.target.Pods = 0, nil },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, morning(), policy(auto, withPlaceholders(1800)))
			b.sync("fib-gpu", 0)
			if b.placeholders() == nil {
				t.Fatal("there was no Deployment")
			}
			b.Reconciler.placeholders.forget("uid-fib-gpu") // as another leader
			stop(b)
			b.expectPlaceholders(b.sync("fib-gpu", time.Second), 0)
		})
	}
}

func TestPlaceholdersStayWhileNothingIsKnown(t *testing.T) {
	b := newBench(t, morning(), policy(auto, withPlaceholders(1800)))
	n := *b.sync("fib-gpu", 0).Status.PlaceholderReplicas
	b.absent = errors.New("the API server is away")
	b.expectPlaceholders(b.sync("fib-gpu", time.Minute), n)
	b.absent, b.unread = nil, errors.New("the disk is gone")
	b.expectPlaceholders(b.sync("fib-gpu", time.Minute), n)
}

func TestPodsWithResourceClaimsHaveNoPlaceholders(t *testing.T) {
	w := morning()
	w.target.Shape.ResourceClaims = []corev1.PodResourceClaim{{Name: "gpu"}}
	b := newBench(t, w, policy(auto, withPlaceholders(1800)))
	b.expectPlaceholders(b.sync("fib-gpu", 0), 0)
}

func TestWhatForbidsPlaceholdersIsToldOnceAndTheRestGoesOn(t *testing.T) {
	w := morning()
	b := newBench(t, w, policy(auto, withPlaceholders(1800)))
	b.Client = interceptor.NewClient(b.Client.(client.WithWatch), interceptor.Funcs{
		Apply: func(context.Context, client.WithWatch, runtime.ApplyConfiguration, ...client.ApplyOption) error {
			return apierrors.NewForbidden(schema.GroupResource{Group: "apps", Resource: "deployments"}, "fib-gpu-placeholder", errors.New("no"))
		},
	})
	for range 3 {
		p := b.sync("fib-gpu", time.Second)
		b.expectPlaceholders(p, 0)
		expectCondition(t, p, v1alpha1.ConditionAbleToScale, "True ReadyForNewScale")
	}
	if len(b.records) != 1 {
		t.Fatalf("events %q", b.records)
	}
	b.expectEvents("Warning FailedPlaceholders: placeholder pods cannot be set to ")
}

func TestUnchangedPlaceholdersAreNotWrittenAgain(t *testing.T) {
	b := newBench(t, morning(), policy(auto, withPlaceholders(1800)))
	writes := 0
	b.Client = interceptor.NewClient(b.Client.(client.WithWatch), interceptor.Funcs{
		Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			writes++
			return c.Apply(ctx, o, opts...)
		},
	})
	for range 5 {
		b.sync("fib-gpu", 2*time.Second)
	}
	if writes != 1 {
		t.Errorf("%d writes, want 1", writes)
	}
	b.Reconciler.placeholders.get("uid-fib-gpu").at = b.now.Add(-reapply)
	b.sync("fib-gpu", time.Second)
	if writes != 2 {
		t.Errorf("%d writes after a while, want 2", writes)
	}
}

func TestANameTooLongForADeploymentHasNoPlaceholders(t *testing.T) {
	long := fmt.Sprintf("%0250d", 1)
	if got := v1alpha1.PlaceholderName(long); got != "" {
		t.Errorf("got %q", got)
	}
	p := policy(auto, withPlaceholders(1800), func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) {
		p.Name, p.CreationTimestamp = long, metav1.NewTime(noon)
	})
	b := newBench(t, morning(), p)
	b.sync(long, 0)
	b.expectEvents("Warning FailedPlaceholders: ")
}
