package controller

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

const (
	leadShare   = 0.9       // of the pods were ready after the lead time that is measured
	leastStarts = 3         // pods below which nothing is measured
	mostStarts  = 50        // pods that are remembered
	longest     = time.Hour // a pod that took longer was not starting all the time
)

// starts remembers how long a workload's pods took from created to ready, the newest last.
type starts struct {
	took []time.Duration
	seen map[string]time.Time // when pods that were ready were made, by name
}

// watch looks at the pods as they are. Each counts once: a pod that was ready before and is so again did not start twice.
func (s *starts) watch(pods []Pod) {
	if s.seen == nil {
		s.seen = make(map[string]time.Time, len(pods))
	}
	for _, pod := range pods {
		if pod.ReadySince.IsZero() || pod.Created.IsZero() {
			continue
		}
		if made, ok := s.seen[pod.Name]; ok && made.Equal(pod.Created) {
			continue
		}
		s.seen[pod.Name] = pod.Created
		if took := pod.ReadySince.Sub(pod.Created); took >= 0 && took <= longest {
			s.took = append(s.took, took)
		}
	}
	s.took = s.took[max(0, len(s.took)-mostStarts):]
	if len(s.seen) > len(pods) {
		s.forget(pods)
	}
}

// forget drops pods that are gone. It is done only when there are more than there can be: nearly every look sees the same pods.
func (s *starts) forget(pods []Pod) {
	seen := make(map[string]time.Time, len(pods))
	for _, pod := range pods {
		if made, ok := s.seen[pod.Name]; ok {
			seen[pod.Name] = made
		}
	}
	s.seen = seen
}

// lead is how far ahead pods are to be asked for, and on how many pods that was measured.
func (s *starts) lead(spec v1alpha1.AdvancedHorizontalPodAutoscalerSpec) (time.Duration, int) {
	if spec.Prediction.ScaleUpForward.Type != intstr.String || len(s.took) < leastStarts {
		return fixedLead(spec), 0
	}
	sorted := slices.Sorted(slices.Values(s.took))
	return sorted[int(leadShare*float64(len(sorted)-1)+0.5)].Round(time.Second), len(sorted)
}

// fixedLead is the lead time where none is measured.
func fixedLead(spec v1alpha1.AdvancedHorizontalPodAutoscalerSpec) time.Duration {
	if lead := spec.Prediction.ScaleUpForward; lead.Type == intstr.Int {
		return seconds(lead.IntVal)
	}
	return seconds(v1alpha1.DefaultScaleUpForward)
}
