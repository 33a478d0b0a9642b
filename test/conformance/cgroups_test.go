//go:build conformance

package conformance

import (
	"slices"
	"strings"
	"testing"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/test/fakenvml"
)

func processOfNoPod(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 2))
	shared, own := &w.Scenario.Devices[0], &w.Scenario.Devices[1]
	busy(shared, 30, 10, 20)
	own.UtilizationGPUPercent, own.Processes = 60, []fakenvml.Process{{PID: 103, UsedBytes: 1 << 30, SMPercent: 15}, {PID: 104, UsedBytes: 1 << 30, SMPercent: 45}}
	w.play()
	w.shared("nvidia.com/gpu", shared.UUID, "bert-0", "bert-1")
	w.process(104, "train-0", "model")
	w.hold(append(w.holders, holder("train-0", "model", "nvidia.com/gpu", own.UUID))...)
	if err := w.Process(103, "0::/user.slice/user-1000.slice/session-3.scope\n"); err != nil {
		t.Fatal(err)
	}
	w.start()
	b := w.batch("nobody's part of both", func(b telemetry.Batch) bool {
		a, _ := reading(b, shared.UUID)
		o, _ := reading(b, own.UUID)
		return near(a.Unattributed[telemetry.UtilizationMean], 0.2) && near(o.Unattributed[telemetry.UtilizationMean], 0.15)
	})
	if !near(used(b, "bert-0", shared.UUID), 0.3) || !near(used(b, "bert-1", shared.UUID), 0.1) || !near(used(b, "train-0", own.UUID), 0.45) {
		t.Errorf("usages: %+v", b.Usages)
	}
}

func unseenProcess(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 1))
	d := &w.Scenario.Devices[0]
	busy(d, 50, 0, 20) // 103 is not in /proc
	w.play()
	w.shared("nvidia.com/gpu", d.UUID, "bert-0")
	w.hold(append(w.holders, holder("bert-1", "model", "nvidia.com/gpu", d.UUID+"::1"))...)
	w.start()
	b := w.parts(d.UUID, map[string]float64{"bert-0": 0.5})
	if u, there := usage(b, "bert-1", d.UUID); !there || u.Attribution != telemetry.AttributionUnknown || !tells(b, "hostPID") {
		t.Errorf("%+v, problems %q", u, b.Problems)
	}
	if r, _ := reading(b, d.UUID); !near(r.Unattributed[telemetry.UtilizationMean], 0.2) {
		t.Errorf("unattributed: %v", r.Unattributed)
	}
}

func intruder(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 1))
	d := &w.Scenario.Devices[0]
	busy(d, 50, 20)
	w.play()
	w.process(101, "bert-0", "model")
	w.process(102, "sneaky-0", "shell")
	w.hold(holder("bert-0", "model", "nvidia.com/gpu", d.UUID))
	w.start()
	b := w.parts(d.UUID, map[string]float64{"bert-0": 0.5, "sneaky-0": 0.2})
	if u, _ := usage(b, "sneaky-0", d.UUID); u.Attribution != telemetry.AttributionProcess || u.Owner.Container != "shell" {
		t.Errorf("%+v", u)
	}
}

// cgroups are the forms in which a process's cgroup names its container.
func cgroups() []kase {
	const (
		uid   = "0a1b2c3d-4e5f-4678-9abc-def012345678"
		short = "POD_UID" // with _ for -
	)
	id := strings.Repeat("c0ffee42", 8)
	var all []kase
	for _, form := range []struct{ name, text string }{
		{"cgroup v2, containerd, systemd driver", "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podPOD_UID.slice/cri-containerd-ID.scope\n"},
		{"cgroup v2, cgroupfs driver", "0::/kubepods/burstable/podUID/ID\n"},
		{"cgroup v2, a guaranteed pod with processes below its container", "0::/kubepods.slice/kubepods-podPOD_UID.slice/cri-containerd-ID.scope/init.scope\n"},
		{"cgroup v1, cgroupfs driver", "12:devices:/kubepods/besteffort/podUID/ID\n5:cpu,cpuacct:/kubepods/besteffort/podUID/ID\n1:name=systemd:/kubepods/besteffort/podUID/ID\n"},
		{"cgroup v1, systemd driver", "11:memory:/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podPOD_UID.slice/cri-containerd-ID.scope\n0::/\n"},
		{"the private cgroup namespace of the agent's own container (/../..)", "0::/../../kubepods-burstable-podPOD_UID.slice/cri-containerd-ID.scope\n"},
		{"CRI-O", "0::/kubepods.slice/kubepods-podPOD_UID.slice/crio-ID.scope/container\n"},
		{"Docker", "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podPOD_UID.slice/docker-ID.scope\n"},
		{"a kubelet in a container (kind)", "0::/system.slice/docker-1234.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podPOD_UID.slice/cri-containerd-ID.scope\n"},
	} {
		text := strings.NewReplacer(short, strings.ReplaceAll(uid, "-", "_"), "UID", uid, "ID", id).Replace(form.text)
		all = append(all, kase{"attribution", "processes are known by " + form.name, scripted, func(t *testing.T) {
			w := newWorld(t, profile(t, "h100", 1))
			d := &w.Scenario.Devices[0]
			busy(d, 50, 20)
			w.play()
			w.shared("nvidia.com/gpu", d.UUID, "other-0")
			if err := w.Process(102, text); err != nil {
				t.Fatal(err)
			}
			if err := w.Logs("default", "bert-0", uid, "model", id); err != nil {
				t.Fatal(err)
			}
			w.hold(append(w.holders, holder("bert-0", "model", "nvidia.com/gpu", d.UUID+"::7"))...)
			w.start()
			b := w.parts(d.UUID, map[string]float64{"other-0": 0.5, "bert-0": 0.2})
			if u, _ := usage(b, "bert-0", d.UUID); u.Owner.Container != "model" || slices.ContainsFunc(b.Problems, func(p string) bool { return strings.Contains(p, "hostPID") }) {
				t.Errorf("%+v, problems %q", u, b.Problems)
			}
		}})
	}
	return all
}
