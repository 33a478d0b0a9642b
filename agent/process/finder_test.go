package process

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// proc is a scripted /proc.
type proc struct {
	t    *testing.T
	root string
}

func newProc(t *testing.T) proc { return proc{t, t.TempDir()} }

func (p proc) write(pid int, name, text string) {
	p.t.Helper()
	folder := filepath.Join(p.root, fmt.Sprint(pid))
	if err := os.MkdirAll(folder, 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// start puts a process there, its name as bad as the kernel allows.
func (p proc) start(pid, started int, cgroup string) {
	p.write(pid, "stat", fmt.Sprintf("%d (a) b 1) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 %d 20 21\n", pid, started))
	p.write(pid, "cgroup", cgroup)
}

func (p proc) end(pid int) {
	if err := os.RemoveAll(filepath.Join(p.root, fmt.Sprint(pid))); err != nil {
		p.t.Fatal(err)
	}
}

func inPod(uid, id string) string { return "0::/kubepods/pod" + uid + "/" + id + "\n" }

func (p proc) expect(f *Finder, pid int, wantContainer Container, wantState State) {
	p.t.Helper()
	container, state := f.Find(pid)
	if d := cmp.Diff(wantContainer, container); d != "" || state != wantState {
		p.t.Errorf("process %d is %v, want %v (-want +got)\n%s", pid, state, wantState, d)
	}
}

func TestProcessIsFoundWhereItsCgroupSays(t *testing.T) {
	p := newProc(t)
	p.start(10, 100, inPod(uid, id))
	p.start(11, 100, "0::/kubepods/pod"+uid+"\n")
	p.start(12, 100, "0::/system.slice/Xorg.service\n")
	p.write(13, "stat", "13 (cut) S 1\n")
	p.write(13, "cgroup", inPod(uid, id))
	p.write(14, "stat", "")
	f := New(p.root)
	p.expect(f, 10, Container{uid, id}, OfContainer)
	p.expect(f, 11, Container{PodUID: uid}, OfPod)
	p.expect(f, 12, Container{}, OfHost)
	for _, pid := range []int{13, 14, 15, -1} {
		p.expect(f, pid, Container{}, NotVisible)
	}
}

func TestNumberGivenToAnotherProcessIsNotTakenForTheFirst(t *testing.T) {
	p := newProc(t)
	f := New(p.root)
	p.start(10, 100, inPod(uid, id))
	p.expect(f, 10, Container{uid, id}, OfContainer)
	p.end(10)
	p.start(10, 200, inPod(otherUID, otherID))
	f.Sweep()
	p.expect(f, 10, Container{otherUID, otherID}, OfContainer)
	p.end(10)
	f.Sweep()
	p.expect(f, 10, Container{}, NotVisible)
}

func TestProcessOfAPodIsReadOnceAndOneOfTheHostEachTime(t *testing.T) {
	p := newProc(t)
	f := New(p.root)
	p.start(10, 100, inPod(uid, id))
	p.start(11, 100, "0::/system.slice/containerd.service\n") // a runtime starts a container there
	p.expect(f, 10, Container{uid, id}, OfContainer)
	p.expect(f, 11, Container{}, OfHost)
	f.Sweep()
	p.write(10, "cgroup", "unreadable by now")
	p.write(11, "cgroup", inPod(uid, id))
	p.expect(f, 10, Container{uid, id}, OfContainer)
	p.expect(f, 11, Container{uid, id}, OfContainer)
}

func TestProcessNotAskedForIsForgotten(t *testing.T) {
	p := newProc(t)
	f := New(p.root)
	for pid := range 100 {
		p.start(pid, 100, inPod(uid, id))
		f.Find(pid)
	}
	f.Sweep()
	f.Find(7)
	f.Sweep()
	if len(f.known) != 1 || f.known[7] == nil {
		t.Errorf("%d processes are known; want number 7 alone", len(f.known))
	}
}

func TestHostsProcIsKnownByTheKernelsOwnProcess(t *testing.T) {
	p := newProc(t)
	f := New(p.root)
	if f.SeesHost() {
		t.Error("an empty /proc is taken for the host's")
	}
	p.write(2, "stat", "2 (agent) S 1 2 3\n") // the second process of a container
	if f.SeesHost() {
		t.Error("a container's /proc is taken for the host's")
	}
	p.write(2, "stat", "2 (kthreadd) S 0 0 0 0 -1 2129984\n")
	if !f.SeesHost() {
		t.Error("the host's /proc is not recognised")
	}
}

func TestRealProcIsRead(t *testing.T) {
	started, err := New("").started(os.Getpid())
	if err != nil || started == 0 {
		t.Errorf("this process was started at %d, %v", started, err)
	}
	if _, state := New("").Find(os.Getpid()); state == NotVisible {
		t.Error("this process is not visible")
	}
}
