package main

import (
	"fmt"
	"math"
	"time"

	"github.com/foretide/foretide/test/fakenvml"
	"github.com/foretide/foretide/test/podresources"
)

// startup is how long a demo pod takes from created to serving; a real GPU pod takes minutes.
const startup = 10 * time.Second

// fleet plays the cluster: the pods of one workload, each holding one device.
type fleet struct {
	kubelet  *podresources.Server
	scenario string // empty: a real GPU, whose load is its own
	devices  []string
	pods     []pod
	next     int
}

type pod struct {
	name, device string
	created      time.Time
}

func (p pod) serves(now time.Time) bool { return now.Sub(p.created) >= startup }

// scale creates pods, or removes the newest, until there are want (at least one, and no more than there are devices).
func (f *fleet) scale(want int, now time.Time) {
	want = max(1, min(want, len(f.devices)))
	for len(f.pods) < want {
		f.pods = append(f.pods, pod{fmt.Sprintf("%s-%05d", workload, f.next), f.free(), now})
		f.next++
	}
	f.pods = f.pods[:want]
	var holders []podresources.Holder
	for _, p := range f.pods {
		// Without Kubernetes nobody says that a pod is not ready yet, so it is shown once it is.
		if p.serves(now) {
			holders = append(holders, podresources.Holder{Namespace: namespace, Pod: p.name, Container: "model", DeviceIDs: []string{p.device}})
		}
	}
	f.kubelet.Set(holders)
}

func (f *fleet) free() string {
	taken := map[string]bool{}
	for _, p := range f.pods {
		taken[p.device] = true
	}
	for _, d := range f.devices {
		if !taken[d] {
			return d
		}
	}
	return ""
}

// load spreads the offered busy GPUs over the pods that serve and returns how many those are.
func (f *fleet) load(offered float64, now time.Time) (serving int, err error) {
	busy := map[string]bool{}
	for _, p := range f.pods {
		if p.serves(now) {
			serving++
			busy[p.device] = true
		}
	}
	if f.scenario == "" {
		return serving, nil
	}
	s, err := fakenvml.Read(f.scenario)
	if err != nil {
		return 0, err
	}
	for i := range s.Devices {
		d := &s.Devices[i]
		d.UtilizationGPUPercent, d.MemoryUsedBytes = 0, 0
		if busy[d.UUID] {
			d.UtilizationGPUPercent = int(math.Round(100 * math.Min(1, offered/float64(serving))))
			d.MemoryUsedBytes = d.MemoryTotalBytes / 4
		}
	}
	return serving, s.Write(f.scenario)
}
