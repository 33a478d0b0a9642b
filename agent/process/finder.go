package process

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

// State says how much is known of where a process belongs.
type State int

const (
	// NotVisible means that there is no such process in /proc, or it cannot be read. It has just ended, or /proc is not the host's: see
	// [Finder.SeesHost].
	NotVisible State = iota
	// OfHost means that the process belongs to no pod.
	OfHost
	// OfPod means that the process belongs to a pod, but to which of its containers is not known: it is the sandbox's or the
	// runtime's own, or nobody knows the container.
	OfPod
	// OfContainer means that the process belongs to a container of a pod.
	OfContainer
)

// String says the state in words.
func (s State) String() string {
	switch s {
	case NotVisible:
		return "not visible"
	case OfHost:
		return "of the host"
	case OfPod:
		return "of a pod"
	case OfContainer:
		return "of a container"
	}
	return "State(" + strconv.Itoa(int(s)) + ")"
}

// DefaultProcRoot is where the kernel shows processes.
const DefaultProcRoot = "/proc"

// maxProcFile bounds what is read of a file of /proc. A cgroup file has at most some fifteen lines, of at most 4 KiB.
const maxProcFile = 64 << 10

// Finder finds the containers of processes. What it found is kept for as long as it is asked for: see [Finder.Sweep].
type Finder struct {
	root string

	mu    sync.Mutex
	known map[int]*found // by PID
	text  []byte         // what was read last: one for all files, for there are many each tick
}

// found is what is known of a process. A PID is given again to another process, but not with the same start time.
type found struct {
	started   uint64 // in clock ticks after boot
	container Container
	state     State
	fresh     bool // looked at since the last Sweep
}

// New returns a finder that reads the processes below procRoot; empty takes DefaultProcRoot.
func New(procRoot string) *Finder {
	if procRoot == "" {
		procRoot = DefaultProcRoot
	}
	return &Finder{root: procRoot, known: map[int]*found{}}
}

// Find returns the container of a process, by its number in the host's PID namespace. The state is OfContainer when the
// container's id is known, and OfPod when only the pod's UID is.
//
// Between two calls of Sweep a process is looked at once: first that it is still the process of that number.
func (f *Finder) Find(pid int) (Container, State) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.known[pid]
	if before != nil && before.fresh {
		return before.container, before.state
	}
	now := f.look(pid, before)
	f.known[pid] = now
	return now.container, now.state
}

// Sweep forgets the processes that were not asked for since the last Sweep. It is called once a tick.
func (f *Finder) Sweep() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for pid, p := range f.known {
		if !p.fresh {
			delete(f.known, pid)
			continue
		}
		p.fresh = false
	}
}

// look reads what there is about a process. One of a container stays there; any other is looked at again, for a runtime
// moves a process into its container after it was started.
func (f *Finder) look(pid int, before *found) *found {
	hidden := &found{state: NotVisible, fresh: true}
	started, err := f.started(pid)
	if err != nil {
		return hidden
	}
	if before != nil && before.started == started && before.state == OfContainer {
		before.fresh = true
		return before
	}
	text, err := f.read(pid, "cgroup")
	if err != nil {
		return hidden
	}
	container, ofPod := ParseCgroup(string(text))
	if again, err := f.started(pid); err != nil || again != started {
		return hidden // it ended meanwhile, and the cgroup may be another process's
	}
	now := &found{started: started, container: container, fresh: true}
	switch {
	case !ofPod:
		now.state = OfHost
	case container.ID == "":
		now.state = OfPod
	default:
		now.state = OfContainer
	}
	return now
}

// started returns when the process was started, field 22 of its stat.
func (f *Finder) started(pid int) (uint64, error) {
	stat, err := f.read(pid, "stat")
	if err != nil {
		return 0, err
	}
	rest := stat[bytes.LastIndexByte(stat, ')')+1:] // the name in parentheses may hold anything
	field := 2                                      // the name's
	for word := range bytes.FieldsSeq(rest) {
		if field++; field == 22 {
			return strconv.ParseUint(string(word), 10, 64)
		}
	}
	return 0, fmt.Errorf("stat of process %d has %d fields: want at least 22", pid, field)
}

// read returns the text of a file of a process. It is valid until the next read.
func (f *Finder) read(pid int, name string) ([]byte, error) {
	file, err := os.Open(filepath.Join(f.root, strconv.Itoa(pid), name))
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	text := bytes.NewBuffer(f.text[:0])
	_, err = text.ReadFrom(io.LimitReader(file, maxProcFile))
	f.text = text.Bytes()
	return f.text, err
}

// SeesHost reports whether the processes below the root are the host's, as they must be: NVML gives the host's PIDs. It tells by
// the kernel's own kthreadd, which has number 2 there and is in no other PID namespace. Where it is false the agent's pod
// lacks hostPID: true, or a mount of the host's /proc.
func (f *Finder) SeesHost() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	stat, err := f.read(2, "stat")
	return err == nil && bytes.HasPrefix(stat, []byte("2 (kthreadd) "))
}
