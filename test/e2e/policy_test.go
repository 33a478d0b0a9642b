//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// api is asked for what the tests look at again and again: a kubectl each time would take the cores that the cluster needs.
var api = sync.OnceValue(func() *kubernetes.Clientset {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		panic(err)
	}
	config.QPS = -1 // no limit
	return kubernetes.NewForConfigOrDie(config)
})

// policy is what the tests read of an AdvancedHorizontalPodAutoscaler.
type policy struct {
	Metadata struct{ Generation int64 }
	Status   struct {
		ObservedGeneration int64

		CurrentReplicas   int32
		DesiredReplicas   int32
		MinReplicas       int32
		MaxReplicas       int32
		ProactiveReplicas *int32
		ReactiveReplicas  *int32
		CurrentMetrics    []struct {
			Resource struct {
				Current struct{ AverageUtilization *int32 }
			}
		}
		Forecast   *struct{ Method string }
		Decision   struct{ Reason, Message string }
		Conditions []struct{ Type, Status, Reason, Message string }
	}
}

func (p policy) condition(kind string) (status, reason, message string) {
	for _, c := range p.Status.Conditions {
		if c.Type == kind {
			return c.Status, c.Reason, c.Message
		}
	}
	return "absent", "", ""
}

func (p policy) current() int32 {
	if len(p.Status.CurrentMetrics) == 0 || p.Status.CurrentMetrics[0].Resource.Current.AverageUtilization == nil {
		return -1
	}
	return *p.Status.CurrentMetrics[0].Resource.Current.AverageUtilization
}

// proactive and reactive are the two recommendations; -1 where there is none.
func (p policy) proactive() int32 { return orNone(p.Status.ProactiveReplicas) }
func (p policy) reactive() int32  { return orNone(p.Status.ReactiveReplicas) }

func orNone(replicas *int32) int32 {
	if replicas == nil {
		return -1
	}
	return *replicas
}

func (p policy) String() string {
	text, _ := json.Marshal(p.Status)
	return string(text)
}

func getPolicy(namespace, name string) (policy, error) {
	var p policy
	text, err := api().RESTClient().Get().AbsPath("/apis/autoscaling.foretide.dev/v1alpha1").
		Namespace(namespace).Resource("advancedhorizontalpodautoscalers").Name(name).DoRaw(background)
	if err != nil {
		return p, err
	}
	return p, json.Unmarshal(text, &p)
}

// seen waits for a state of a policy in the namespace default.
func seen(t *testing.T, name, what string, within time.Duration, ok func(policy) bool) (policy, time.Duration) {
	t.Helper()
	return seenIn(t, "default", name, what, within, ok)
}

// seenIn waits for a state of a policy, as it is told of the policy's present generation.
func seenIn(t *testing.T, namespace, name, what string, within time.Duration, ok func(policy) bool) (policy, time.Duration) {
	t.Helper()
	var last policy
	took := eventually(t, what, within, func() (bool, string) {
		p, err := getPolicy(namespace, name)
		if err != nil {
			return false, err.Error()
		}
		last = p
		return p.Status.ObservedGeneration == p.Metadata.Generation && ok(p), p.String()
	})
	return last, took
}

// replicas is what a Deployment in the namespace default is set to; -1 when that cannot be read.
func replicas(name string) int {
	d, err := api().AppsV1().Deployments("default").Get(background, name, metav1.GetOptions{})
	if err != nil {
		return -1
	}
	return int(*d.Spec.Replicas)
}
