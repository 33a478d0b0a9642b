package process

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/foretide/foretide/pkg/telemetry"
)

type answer struct {
	Owner telemetry.Owner
	UID   string
	State State
}

func TestDirectoryPutsTogetherWhatOthersKnow(t *testing.T) {
	p := newProc(t)
	p.start(1, 1, inPod(uid, id))          // known in full
	p.start(2, 1, inPod(uid, otherID))     // the sandbox, say: the pod is known
	p.start(3, 1, inPod(otherUID, id[1:])) // no container's cgroup, an unknown pod
	p.start(4, 1, "0::/../"+id)            // a private cgroup namespace does not show the pod
	p.start(5, 1, "0::/../"+otherID)       // nor is the container known
	p.start(6, 1, "0::/init.scope")
	p.start(7, 1, inPod(hashUID, id)) // a static pod: the API's UID is another

	l, n := newLogs(t)
	l.pod("ns_web_" + uid)
	l.container("web_ns_logged-" + id + ".log")
	best := telemetry.Owner{Namespace: "ns", Pod: "web", Container: "model"}
	d := Directory{
		Find: New(p.root).Find,
		Containers: []func(string) (telemetry.Owner, string, bool){
			func(asked string) (telemetry.Owner, string, bool) { return best, "api", asked == id },
			n.Container,
		},
		Pods: []func(string) (telemetry.Owner, bool){n.Pod},
	}
	model, web := best, telemetry.Owner{Namespace: "ns", Pod: "web"}
	for pid, want := range map[int]answer{
		1: {model, uid, OfContainer}, 2: {web, uid, OfPod}, 3: {telemetry.Owner{}, otherUID, OfPod}, 4: {model, "api", OfContainer},
		5: {telemetry.Owner{}, "", OfPod}, 6: {telemetry.Owner{}, "", OfHost}, 7: {model, hashUID, OfContainer}, 8: {telemetry.Owner{}, "", NotVisible},
	} {
		var got answer
		got.Owner, got.UID, got.State = d.Owner(pid)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("process %d (-want +got)\n%s", pid, d)
		}
	}
	d.Containers = d.Containers[1:]
	if owner, _, _ := d.Owner(1); owner.Container != "logged" {
		t.Errorf("container is %q; want what the logs say where the kubelet says nothing", owner.Container)
	}
	d.Containers, d.Pods = nil, nil
	if owner, itsUID, state := d.Owner(1); owner != (telemetry.Owner{}) || itsUID != uid || state != OfPod {
		t.Errorf("owner %+v, uid %q, %v; want an unknown pod's", owner, itsUID, state)
	}
}

func TestStatesHaveWords(t *testing.T) {
	for state, want := range map[State]string{NotVisible: "not visible", OfHost: "of the host", OfPod: "of a pod", OfContainer: "of a container", 9: "State(9)"} {
		if state.String() != want {
			t.Errorf("%d is %q; want %q", state, state, want)
		}
	}
}
