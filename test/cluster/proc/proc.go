// Package proc starts detached background processes, remembers them in pid files and stops them.
//
// A process is identified by its pid and its start time in clock ticks since boot, so a pid that the kernel has given
// to something else is never taken for ours.
package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Spec describes one background process.
type Spec struct {
	// Name is the component's name; it names the log and the pid file.
	Name string
	// Argv is the command line; Argv[0] is an absolute path.
	Argv []string
	// Env is the whole environment; nothing is inherited.
	Env []string
	// LogFile receives stdout and stderr, appended.
	LogFile string
	// PidFile remembers the process.
	PidFile string
}

// ID is one process: its pid and its start time in clock ticks since boot (field 22 of /proc/<pid>/stat).
type ID struct {
	Pid   int
	Start uint64
}

// Start starts the process in a session of its own, so that it outlives the caller, and writes its pid file.
func Start(s Spec) (ID, error) {
	log, err := os.OpenFile(s.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return ID{}, fmt.Errorf("open log of %s: %w", s.Name, err)
	}
	defer log.Close()
	cmd := exec.Command(s.Argv[0], s.Argv[1:]...)
	cmd.Env = s.Env
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return ID{}, fmt.Errorf("start %s: %w", s.Name, err)
	}
	// Reaps the process if it dies while this program still runs; afterwards init does.
	go func() { _ = cmd.Wait() }()
	id, err := Lookup(cmd.Process.Pid)
	if err != nil {
		return ID{}, fmt.Errorf("start %s: it ended at once: %w", s.Name, err)
	}
	line := fmt.Sprintf("%d %d\n", id.Pid, id.Start)
	if err := os.WriteFile(s.PidFile, []byte(line), 0o644); err != nil {
		return ID{}, fmt.Errorf("remember pid of %s: %w", s.Name, err)
	}
	return id, nil
}

// Running reads a pid file and returns the process it names, if that very process is still alive.
// A missing file or a dead process is ok=false without an error.
func Running(pidFile string) (id ID, ok bool, err error) {
	text, err := os.ReadFile(pidFile)
	if errors.Is(err, fs.ErrNotExist) {
		return ID{}, false, nil
	}
	if err != nil {
		return ID{}, false, err
	}
	id, err = ParsePidFile(string(text))
	if err != nil {
		// A pid file cut short by a crash names nobody.
		return ID{}, false, nil
	}
	return id, Alive(id), nil
}

// ParsePidFile reads the "<pid> <start ticks>" line of a pid file.
func ParsePidFile(text string) (ID, error) {
	fields := strings.Fields(text)
	if len(fields) != 2 {
		return ID{}, fmt.Errorf("pid file %q: want \"<pid> <start ticks>\"", text)
	}
	pid, err := strconv.Atoi(fields[0])
	if err != nil || pid <= 1 {
		return ID{}, fmt.Errorf("pid file: pid %q: want a number above 1", fields[0])
	}
	start, err := strconv.ParseUint(fields[1], 10, 64)
	if err != nil {
		return ID{}, fmt.Errorf("pid file: start ticks %q: %w", fields[1], err)
	}
	return ID{Pid: pid, Start: start}, nil
}

// Lookup reads the identity of a living process; a zombie counts as gone.
func Lookup(pid int) (ID, error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return ID{}, err
	}
	state, start, err := parseStat(string(text))
	if err != nil {
		return ID{}, fmt.Errorf("stat of pid %d: %w", pid, err)
	}
	if state == 'Z' || state == 'X' {
		return ID{}, fmt.Errorf("pid %d has ended", pid)
	}
	return ID{Pid: pid, Start: start}, nil
}

// parseStat takes state (field 3) and start time (field 22) from /proc/<pid>/stat; see proc(5).
// The command name in field 2 may hold blanks and brackets, so counting begins after the last ')'.
func parseStat(text string) (state byte, start uint64, err error) {
	end := strings.LastIndexByte(text, ')')
	if end < 0 {
		return 0, 0, fmt.Errorf("no command name in %q", text)
	}
	fields := strings.Fields(text[end+1:])
	const startField = 22 - 3 // the first field here is field 3
	if len(fields) <= startField {
		return 0, 0, fmt.Errorf("%d fields after the command name, want more than %d", len(fields), startField)
	}
	start, err = strconv.ParseUint(fields[startField], 10, 64)
	return fields[0][0], start, err
}

// Alive says whether that very process still runs.
func Alive(id ID) bool {
	now, err := Lookup(id.Pid)
	return err == nil && now.Start == id.Start
}

// Stop asks the processes to end with SIGTERM, waits up to grace for all of them, then kills what is left.
// It returns the ones that are alive even so.
func Stop(ids []ID, grace time.Duration) []ID {
	if grace > 0 {
		signalAll(ids, syscall.SIGTERM)
		ids = waitGone(ids, grace)
	}
	signalAll(ids, syscall.SIGKILL)
	return waitGone(ids, 10*time.Second)
}

func signalAll(ids []ID, sig syscall.Signal) {
	for _, id := range ids {
		if Alive(id) {
			_ = syscall.Kill(id.Pid, sig)
		}
	}
}

func waitGone(ids []ID, limit time.Duration) []ID {
	deadline := time.Now().Add(limit)
	for {
		var left []ID
		for _, id := range ids {
			if Alive(id) {
				left = append(left, id)
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
		ids = left
		time.Sleep(20 * time.Millisecond)
	}
}

// Find lists living processes whose executable is one of the base names given, and whose command line mentions
// the folder. Both together keep an editor or a pager opened on a log from being taken for a component.
func Find(dir string, executables []string) ([]ID, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var found []ID
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		exe, err := os.Readlink(filepath.Join("/proc", entry.Name(), "exe"))
		if err != nil {
			continue // a kernel thread, or gone meanwhile
		}
		cmdline, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline"))
		if err != nil || !Belongs(dir, executables, exe, string(cmdline)) {
			continue
		}
		if id, err := Lookup(pid); err == nil {
			found = append(found, id)
		}
	}
	return found, nil
}

// Belongs says whether an executable path and a NUL-separated command line are a component of the cluster under dir.
func Belongs(dir string, executables []string, exe, cmdline string) bool {
	base := filepath.Base(strings.TrimSuffix(exe, " (deleted)"))
	for _, name := range executables {
		if base == name {
			return strings.Contains(cmdline, dir+"/") || strings.Contains(cmdline, dir+"\x00") || strings.HasSuffix(cmdline, dir)
		}
	}
	return false
}

// Describe returns the command name of a process for messages.
func Describe(id ID) string {
	name, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(id.Pid), "comm"))
	if err != nil {
		return fmt.Sprintf("pid %d", id.Pid)
	}
	return fmt.Sprintf("pid %d (%s)", id.Pid, strings.TrimSpace(string(name)))
}
