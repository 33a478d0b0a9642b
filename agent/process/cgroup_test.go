package process

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	uid        = "3d2a1f6c-8b7e-4c1d-9a0f-5e6d7c8b9a01"
	uidSystemd = "3d2a1f6c_8b7e_4c1d_9a0f_5e6d7c8b9a01"
	otherUID   = "11111111-2222-3333-4444-555555555555"
	hashUID    = "0123456789abcdef0123456789abcdef"
	id         = "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccdddddddddddddddd"
	otherID    = "9999999999999999888888888888888877777777777777776666666666666666"
	scope      = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + uidSystemd + ".slice/"
)

func TestContainerIsReadFromEveryRuntimesForm(t *testing.T) {
	whole, podOnly, none := Container{uid, id}, Container{PodUID: uid}, Container{}
	for name, test := range map[string]struct {
		text string
		want Container
	}{
		// Cgroup v2: one line.
		"containerd, cgroupfs, besteffort":           {"0::/kubepods/besteffort/pod" + uid + "/" + id, whole},
		"containerd, cgroupfs, burstable":            {"0::/kubepods/burstable/pod" + uid + "/" + id, whole},
		"containerd, cgroupfs, guaranteed":           {"0::/kubepods/pod" + uid + "/" + id, whole},
		"containerd, systemd, burstable":             {"0::" + scope + "cri-containerd-" + id + ".scope", whole},
		"containerd, systemd, guaranteed":            {"0::/kubepods.slice/kubepods-pod" + uidSystemd + ".slice/cri-containerd-" + id + ".scope", whole},
		"containerd, systemd's names by cgroupfs":    {"0::/kubepods-burstable-pod" + uidSystemd + ".slice:cri-containerd:" + id, whole},
		"the same, below containerd's service":       {"0::/system.slice/containerd.service/kubepods-besteffort-pod" + uidSystemd + ".slice:cri-containerd:" + id, whole},
		"CRI-O, systemd":                             {"0::" + scope + "crio-" + id + ".scope", whole},
		"CRI-O with crun, a cgroup below":            {"0::" + scope + "crio-" + id + ".scope/container", whole},
		"CRI-O, cgroupfs":                            {"0::/kubepods/burstable/pod" + uid + "/crio-" + id, whole},
		"CRI-O's monitor, systemd":                   {"0::" + scope + "crio-conmon-" + id + ".scope", podOnly},
		"CRI-O's monitor, cgroupfs":                  {"0::/kubepods/burstable/pod" + uid + "/crio-conmon-" + id, podOnly},
		"Docker by cri-dockerd, systemd":             {"0::" + scope + "docker-" + id + ".scope", whole},
		"Docker by cri-dockerd, cgroupfs":            {"0::/kubepods/besteffort/pod" + uid + "/" + id, whole},
		"Podman in a pod's slice":                    {"0::" + scope + "libpod-" + id + ".scope", whole},
		"Kata, cgroupfs":                             {"0::/kubepods/burstable/pod" + uid + "/kata_" + id, whole},
		"gVisor by containerd":                       {"0::/kubepods/burstable/pod" + uid + "/" + id, whole},
		"Docker in a pod":                            {"0::/kubepods/besteffort/pod" + uid + "/" + id + "/docker/" + otherID, whole},
		"systemd in a pod":                           {"0::" + scope + "cri-containerd-" + id + ".scope/system.slice/sshd.service", whole},
		"a pod's name in a container":                {"0::/kubepods/besteffort/pod" + uid + "/" + id + "/pod" + otherUID + "/" + otherID, whole},
		"kubelet --cgroup-root, systemd":             {"0::/site.slice/site-kubepods.slice/site-kubepods-besteffort.slice/site-kubepods-besteffort-pod" + uidSystemd + ".slice/cri-containerd-" + id + ".scope", whole},
		"kubelet --cgroup-root, cgroupfs":            {"0::/site/kubepods/besteffort/pod" + uid + "/" + id, whole},
		"kind, cgroupfs":                             {"0::/docker/" + otherID + "/kubelet/kubepods/besteffort/pod" + uid + "/" + id, whole},
		"kind, systemd":                              {"0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod" + uidSystemd + ".slice/cri-containerd-" + id + ".scope", whole},
		"kind in Podman":                             {"0::/machine.slice/libpod-" + otherID + ".scope/container/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod" + uidSystemd + ".slice/cri-containerd-" + id + ".scope", whole},
		"k3s in LXC":                                 {"0::/lxc.payload.node-1/kubepods/burstable/pod" + uid + "/" + id, whole},
		"Talos":                                      {"0::/kubepods/burstable/pod" + uid + "/" + id, whole},
		"static pod, cgroupfs":                       {"0::/kubepods/burstable/pod" + hashUID + "/" + id, Container{hashUID, id}},
		"static pod, systemd":                        {"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + hashUID + ".slice/cri-containerd-" + id + ".scope", Container{hashUID, id}},
		"private namespace, pod of another class":    {"0::/../../../kubepods-burstable.slice/kubepods-burstable-pod" + uidSystemd + ".slice/cri-containerd-" + id + ".scope", whole},
		"private namespace, pod of the same class":   {"0::/../../pod" + uid + "/" + id, whole},
		"private namespace, the same pod, cgroupfs":  {"0::/../" + id, Container{ID: id}},
		"private namespace, the same pod, systemd":   {"0::/../cri-containerd-" + id + ".scope", Container{ID: id}},
		"private namespace, flat names":              {"0::/../kubepods-burstable-pod" + uidSystemd + ".slice:cri-containerd:" + id, whole},
		"private namespace, host's process":          {"0::/../../../../system.slice/sshd.service", none},
		"private namespace, host's Docker container": {"0::/../../../../system.slice/docker-" + id + ".scope", none},
		"private namespace, CRI-O's monitor":         {"0::/../crio-conmon-" + id + ".scope", none},
		"private namespace, the reader itself":       {"0::/", none},
		"a pod's own cgroup":                         {"0::/kubepods/burstable/pod" + uid, podOnly},
		"a removed cgroup":                           {"0::" + scope + "cri-containerd-" + id + ".scope (deleted)", whole},
		"a container with a strange id":              {"0::/kubepods/burstable/pod" + uid + "/sandbox", podOnly},

		// Cgroup v1: a line for each hierarchy.
		"containerd, cgroup v1": {"12:pids:/kubepods/burstable/pod" + uid + "/" + id + "\n11:cpu,cpuacct:/kubepods/burstable/pod" + uid + "/" + id +
			"\n1:name=systemd:/kubepods/burstable/pod" + uid + "/" + id + "\n", whole},
		"Docker, cgroup v1, systemd": {"4:memory:" + scope + "docker-" + id + ".scope\n1:name=systemd:" + scope + "docker-" + id + ".scope\n", whole},
		"hybrid, v2's line empty":    {"1:name=systemd:/kubepods/pod" + uid + "/" + id + "\n0::/\n", whole},
		"hybrid, v2's line first":    {"0::/\n1:name=systemd:/kubepods/pod" + uid + "/" + id, whole},
		"one hierarchy of the pod":   {"2:cpu:/\n3:memory:/kubepods/pod" + uid + "\n4:devices:/kubepods/pod" + uid + "/" + id, whole},
		"the pod before the id":      {"2:cpu:/../" + otherID + "\n3:memory:/kubepods/pod" + uid, podOnly},
		"flat names, cgroup v1":      {"1:name=systemd:/kubepods-pod" + uidSystemd + ".slice:cri-containerd:" + id, whole},

		// Of no pod.
		"systemd's service":        {"0::/system.slice/containerd.service", none},
		"a user's session":         {"0::/user.slice/user-1000.slice/session-3.scope", none},
		"Docker without a pod":     {"0::/system.slice/docker-" + id + ".scope", none},
		"Docker, cgroupfs":         {"0::/docker/" + id, none},
		"Podman's pod":             {"0::/machine.slice/machine-libpod_pod_" + otherID + ".slice/libpod-" + id + ".scope", none},
		"Slurm":                    {"0::/system.slice/slurmstepd.scope/job_123/step_0/user/task_0", none},
		"Talos's own services":     {"0::/podruntime/kubelet", none},
		"the kubelet":              {"0::/kubepods.slice", none},
		"a UID of the wrong form":  {"0::/kubepods/pod3d2a1f6c-8b7e-4c1d-9a0f/" + id, none},
		"a UID with a wrong digit": {"0::/kubepods/pod" + strings.Replace(uid, "3", "g", 1) + "/" + id, none},
		"a UID with a hyphen off":  {"0::/kubepods/pod3d2a1f6c8-b7e-4c1d-9a0f-5e6d7c8b9a01/" + id, none},
		"nothing":                  {"", none},
		"no cgroup file":           {"hello\n1:2\n", none},
	} {
		got, ofPod := ParseCgroup(test.text)
		if d := cmp.Diff(test.want, got); d != "" || ofPod != (test.want != none) {
			t.Errorf("%s: of a pod %v (-want +got)\n%s", name, ofPod, d)
		}
	}
}

func FuzzParseCgroup(f *testing.F) {
	f.Add("0::" + scope + "cri-containerd-" + id + ".scope")
	f.Add("1:name=systemd:/kubepods/pod" + uid + "/" + id + " (deleted)\n0::/../" + id)
	f.Add("0::/a-pod_.slice:::/..//..//pod")
	f.Fuzz(func(t *testing.T, text string) {
		c, ofPod := ParseCgroup(text)
		if ofPod != (c.PodUID != "" || c.ID != "") {
			t.Errorf("of a pod %v, container %+v", ofPod, c)
		}
		if c.PodUID != "" && !isPodUID(c.PodUID) || c.ID != "" && (len(c.ID) != 64 || !strings.Contains(text, c.ID)) {
			t.Errorf("container %+v", c)
		}
	})
}
