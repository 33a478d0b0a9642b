package simulate

import (
	"math"
	"time"
)

// cluster is the GPUs that there are for the workload's pods, where they can run out.
type cluster struct {
	gpus    float64
	ordered queue     // when a pod's GPUs come, each
	idle    time.Time // since when GPUs have been without a pod; zero when none are
	spare   float64   // the fewest of them since then
}

// fits tells whether there are GPUs for one more pod.
func (s *state) fits() bool {
	return s.GPUs <= 0 || float64(s.holding()+1)*s.GPUsPerPod <= s.cluster.gpus+1e-9
}

// supply lets GPUs come that were ordered, pods that are pending begin where there are any, and orders them for those that go on waiting:
// each pod's come Provisioning after it was found to lack them, as a cluster autoscaler brings nodes, and also when it is gone by then.
func (s *state) supply(now time.Time) {
	if s.GPUs <= 0 {
		return
	}
	c := &s.cluster
	c.gpus += float64(c.ordered.until(now)) * s.GPUsPerPod
	for s.pending > 0 && s.fits() {
		s.pending--
		s.start(now)
	}
	for s.Provisioning > 0 && c.ordered.len() < int(s.pending) {
		c.ordered.put(now.Add(s.Provisioning))
	}
	s.release(now)
}

// release lets GPUs go that came and have been without a pod for long.
func (s *state) release(now time.Time) {
	c := &s.cluster
	free := c.gpus - float64(s.holding())*s.GPUsPerPod
	switch {
	case s.Unneeded <= 0 || free < s.GPUsPerPod-1e-9:
		c.idle = time.Time{}
	case c.idle.IsZero():
		c.idle, c.spare = now, free
	default:
		c.spare = min(c.spare, free)
		if now.Sub(c.idle) >= s.Unneeded {
			c.gpus -= min(c.gpus-s.GPUs, math.Floor(c.spare/s.GPUsPerPod+1e-9)*s.GPUsPerPod)
			c.idle = time.Time{}
		}
	}
}
