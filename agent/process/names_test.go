package process

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foretide/foretide/pkg/telemetry"
)

// logs are scripted log folders with a clock.
type logs struct {
	t                *testing.T
	pods, containers string
	now              time.Time
}

func newLogs(t *testing.T) (*logs, *Names) {
	t.Helper()
	root := t.TempDir()
	l := &logs{t, filepath.Join(root, "pods"), filepath.Join(root, "containers"), time.Unix(1_700_000_000, 0)}
	for _, folder := range []string{l.pods, l.containers} {
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	n := NewNames(l.pods, l.containers)
	n.now = func() time.Time { return l.now }
	return l, n
}

func (l *logs) pod(name string) {
	l.t.Helper()
	if err := os.Mkdir(filepath.Join(l.pods, name), 0o755); err != nil {
		l.t.Fatal(err)
	}
}

// container makes a link whose target does not exist: it must not matter.
func (l *logs) container(name string) {
	l.t.Helper()
	if err := os.Symlink("/nowhere/0.log", filepath.Join(l.containers, name)); err != nil {
		l.t.Fatal(err)
	}
}

func TestNamesOfLogsTellPodAndContainer(t *testing.T) {
	l, n := newLogs(t)
	l.pod("team-a_web-7d9f-x2x_" + uid)
	l.container("web-7d9f-x2x_team-a_side-car-" + id + ".log")
	l.pod("kube-system_etcd.node-1_" + hashUID)

	owner, itsUID, known := n.Container(id)
	if d := cmp.Diff(telemetry.Owner{Namespace: "team-a", Pod: "web-7d9f-x2x", Container: "side-car"}, owner); d != "" || itsUID != uid || !known {
		t.Errorf("uid %q, known %v (-want +got)\n%s", itsUID, known, d)
	}
	pod, known := n.Pod(hashUID)
	if d := cmp.Diff(telemetry.Owner{Namespace: "kube-system", Pod: "etcd.node-1"}, pod); d != "" || !known {
		t.Errorf("known %v (-want +got)\n%s", known, d)
	}
}

func TestFoldersAreReadAgainForWhatIsNotKnownButNotAtOnce(t *testing.T) {
	l, n := newLogs(t)
	if _, known := n.Pod(uid); known {
		t.Fatal("a pod without logs is known")
	}
	l.pod("ns_web_" + uid)
	if _, known := n.Pod(uid); known {
		t.Error("the folder was read again within a second")
	}
	l.now = l.now.Add(time.Second)
	if _, known := n.Pod(uid); !known {
		t.Error("the pod is not known after a second")
	}
	if err := os.Remove(filepath.Join(l.pods, "ns_web_"+uid)); err != nil {
		t.Fatal(err)
	}
	l.now = l.now.Add(time.Second)
	if _, known := n.Pod(uid); !known {
		t.Error("the folder was read for a pod that is known")
	}
	if _, known := n.Pod(otherUID); known {
		t.Error("a pod without logs is known")
	}
	if _, known := n.Pod(uid); known {
		t.Error("a pod is known that is not there any more")
	}
}

func TestUIDOfAContainerIsKnownWhenOnePodHasTheName(t *testing.T) {
	l, n := newLogs(t)
	l.pod("ns_web-0_" + uid)
	l.pod("ns_web-0_" + otherUID) // the one before
	l.container("web-0_ns_model-" + id + ".log")
	if owner, itsUID, known := n.Container(id); owner.Pod != "web-0" || itsUID != "" || !known {
		t.Errorf("container is of %q, uid %q, known %v; want web-0 of unknown uid", owner.Pod, itsUID, known)
	}
}

func TestWhatIsNoLogOfTheKubeletsIsLeftOut(t *testing.T) {
	l, n := newLogs(t)
	for _, name := range []string{"ns_web_nouid", "ns_" + uid, "a_b_c_" + uid, "Ns_web_" + uid, "ns_-web_" + uid, "ns_we..b_" + uid, "_web_" + uid} {
		l.pod(name)
	}
	if err := os.WriteFile(filepath.Join(l.pods, "ns_file_"+otherUID), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"web_ns_c-" + id, "web_ns_c-" + id[1:] + ".log", "web_ns_-" + id + ".log", "web_ns_" + id + ".log",
		"web_n.s_c-" + id + ".log", "web_ns_c_" + id + ".log", "web_ns_C-" + id + ".log", strings.Repeat("w", 100) + "_" + strings.Repeat("n", 64) + "_c-" + id + ".log"} {
		l.container(name)
	}
	if err := os.WriteFile(filepath.Join(l.containers, "web_ns_file-"+otherID+".log"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	n.Pod(uid)
	if len(n.pods)+len(n.containers) != 0 {
		t.Errorf("pods %v, containers %v; want none", n.pods, n.containers)
	}
}

func TestMissingFoldersKnowNothing(t *testing.T) {
	n := NewNames(filepath.Join(t.TempDir(), "none"), filepath.Join(t.TempDir(), "none"))
	_, pod := n.Pod(uid)
	_, _, container := n.Container(id)
	if pod || container {
		t.Error("something is known")
	}
}
