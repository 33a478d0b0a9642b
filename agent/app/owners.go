package app

import (
	"os"
	"slices"
	"sync/atomic"

	"github.com/foretide/foretide/agent/attribution"
	"github.com/foretide/foretide/agent/kubelet"
	"github.com/foretide/foretide/agent/process"
	"github.com/foretide/foretide/agent/sampler"
	"github.com/foretide/foretide/agent/scrape"
	resourceslices "github.com/foretide/foretide/agent/slices"
	"github.com/foretide/foretide/pkg/telemetry"
)

// owners puts together what is known of devices, pods, processes and claims. Its methods but views are called by the sampler.
type owners struct {
	pods   *kubelet.Pods
	finder *process.Finder
	whose  process.Directory
	claims claims
	// holders are the pods that hold devices.
	holders atomic.Pointer[map[podName]bool]
	// hami tells that HAMi's annotations are believed.
	hami bool
	// blind tells that the processes of the host are not those of /proc.
	blind bool
}

type podName struct{ namespace, pod string }

func newOwners(o Options, pods *kubelet.Pods, lister *resourceslices.Lister) *owners {
	finder, names := process.New(o.HostProcPath), process.NewNames(o.HostPodLogsPath, o.HostContainerLogsPath)
	return &owners{pods: pods, finder: finder, claims: claims{slices: lister}, hami: o.KubeletHAMi,
		// In a PID namespace of its own the agent is its first process, and NVML's PIDs mean nothing there.
		blind: !finder.SeesHost() && os.Getpid() == 1,
		whose: process.Directory{
			Find: finder.Find,
			Containers: []func(string) (telemetry.Owner, string, bool){
				func(id string) (telemetry.Owner, string, bool) {
					pod, container, known := pods.ByContainerID(id)
					return telemetry.Owner{Namespace: pod.Namespace, Pod: pod.Name, Container: container.Name}, pod.UID, known
				},
				names.Container,
			},
			Pods: []func(string) (telemetry.Owner, bool){
				func(uid string) (telemetry.Owner, bool) {
					pod, known := pods.ByUID(uid)
					return telemetry.Owner{Namespace: pod.Namespace, Pod: pod.Name}, known
				},
				names.Pod,
			},
		}}
}

// attribute says who used what of the samples.
func (o *owners) attribute(samples []telemetry.Sample, holdings []telemetry.Holding) sampler.Attributed {
	devices := make([]telemetry.Device, len(samples))
	for i, s := range samples {
		devices[i] = s.Device
	}
	var odd []string
	if o.hami {
		holdings, odd = attribution.ApplyHAMi(holdings, o.allocated)
	}
	o.noteHolders(holdings)
	held, lost, unresolved := attribution.Resolve(devices, holdings, func(h telemetry.Holding) (attribution.Claimed, bool) {
		return o.claims.of(h, func(uuid string) bool {
			return slices.ContainsFunc(devices, func(d telemetry.Device) bool { return d.UUID == uuid })
		})
	})
	out := attribution.Attribute(attribution.Input{Samples: samples, Owners: held, Lost: lost, OwnerOf: o.ownerOf})
	o.finder.Sweep()
	return sampler.Attributed{Readings: out.Readings, Usages: out.Usages, Problems: slices.Concat(odd, unresolved, o.claims.problems(), out.Problems)}
}

func (o *owners) ownerOf(pid int) (telemetry.Owner, attribution.Of) {
	if o.blind {
		return telemetry.Owner{}, attribution.OfUnknown
	}
	owner, _, state := o.whose.Owner(pid)
	switch {
	case state == process.OfHost:
		return telemetry.Owner{}, attribution.OfHost
	case owner.Pod == "": // ended meanwhile, or a pod's that nobody knows
		return telemetry.Owner{}, attribution.OfUnknown
	}
	return owner, attribution.OfPod
}

// allocated returns what HAMi wrote on a pod.
func (o *owners) allocated(namespace, name string) (attribution.Allocated, bool) {
	pod, known := o.pods.ByName(namespace, name)
	text := pod.Annotations[attribution.HAMiAnnotation]
	if !known || text == "" {
		return attribution.Allocated{}, false
	}
	var containers []string
	for _, c := range pod.Containers {
		if !c.Init {
			containers = append(containers, c.Name)
		}
	}
	return attribution.Allocated{Annotation: text, Containers: containers}, true
}

// podsOf returns what the kubelet says of the pods that have usages.
func (o *owners) podsOf(usages []telemetry.Usage) []telemetry.Pod {
	seen := map[podName]bool{}
	var out []telemetry.Pod
	for _, u := range usages {
		key := podName{u.Owner.Namespace, u.Owner.Pod}
		if pod, known := o.pods.ByName(key.namespace, key.pod); known && !seen[key] {
			out = append(out, pod.Pod)
		}
		seen[key] = true
	}
	return out
}

func (o *owners) noteHolders(holdings []telemetry.Holding) {
	holders := make(map[podName]bool, len(holdings))
	for _, h := range holdings {
		holders[podName{h.Owner.Namespace, h.Owner.Pod}] = true
	}
	o.holders.Store(&holders)
}

// scrapeWanted is the annotation by which a pod that holds no GPU wants to be scraped all the same, as a gateway may.
const scrapeWanted = "foretide.dev/scrape"

// maxOtherPods bounds how many of those are scraped, for anybody may write the annotation.
const maxOtherPods = 16

// views returns the pods that may be inference servers, as the scraper looks at them: those that hold GPUs, and those that ask for it.
// It may be called from any goroutine.
func (o *owners) views() []scrape.PodView {
	holders := o.holders.Load()
	if holders == nil {
		return nil
	}
	var views []scrape.PodView
	others := 0
	for _, p := range o.pods.All() {
		if !(*holders)[podName{p.Namespace, p.Name}] {
			if _, wanted := p.Annotations[scrapeWanted]; !wanted || others == maxOtherPods {
				continue
			}
			others++
		}
		v := scrape.PodView{Namespace: p.Namespace, Name: p.Name, IP: p.IP, Running: p.Running, Ready: p.Ready, Annotations: p.Annotations}
		for _, port := range p.Ports {
			v.Ports = append(v.Ports, scrape.Port{Name: port.Name, Number: port.Number})
		}
		views = append(views, v)
	}
	return views
}

// claims tells what DRA devices are: by the driver's ResourceSlices where they can be read, and by the device's name, which says
// where the device is, where they cannot or a dynamic MIG instance has no UUID there.
type claims struct {
	wanted bool // since problems was asked last
	slices interface {
		Lookup(driver, pool, name string) (resourceslices.Device, bool)
		Want(driver, pool, name string)
		Problem() string
	}
}

// problems says why devices that were wanted are not known.
func (c *claims) problems() []string {
	wanted := c.wanted
	c.wanted = false
	if text := c.slices.Problem(); wanted && text != "" {
		return []string{text}
	}
	return nil
}

func (c *claims) of(h telemetry.Holding, present func(uuid string) bool) (attribution.Claimed, bool) {
	claimed := attribution.Claimed{Minor: -1, Placement: -1}
	name, named := resourceslices.ParseName(h.ID)
	if named {
		claimed.Minor, claimed.MIG = name.Minor, name.MIG
		if name.MIG {
			claimed.Profile, claimed.Placement = name.Profile, name.Placement
		}
	}
	device, known := c.slices.Lookup(h.Resource, h.Pool, h.ID)
	if !known || device.UUID != "" && !present(device.UUID) {
		c.wanted = true
		c.slices.Want(h.Resource, h.Pool, h.ID)
	}
	if known {
		claimed.UUID, claimed.ParentUUID = device.UUID, device.ParentUUID
		if device.Profile != "" {
			claimed.MIG, claimed.Profile = true, device.Profile
		}
	}
	return claimed, known || named
}
