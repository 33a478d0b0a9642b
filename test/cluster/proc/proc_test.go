package proc

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestParseStatReadsPastAnOddCommandName(t *testing.T) {
	text := "42 (a) b (c)) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 98765 0 0\n"
	state, start, err := parseStat(text)
	if err != nil || state != 'S' || start != 98765 {
		t.Errorf("got %c, %d, %v, want S, 98765", state, start, err)
	}
	for _, bad := range []string{"", "42 (a", "42 (a) S 1"} {
		if _, _, err := parseStat(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestParsePidFile(t *testing.T) {
	if id, err := ParsePidFile("42 98765\n"); err != nil || id != (ID{42, 98765}) {
		t.Errorf("got %v, %v", id, err)
	}
	for _, bad := range []string{"", "42", "x 1", "1 5", "-4 5", "42 x"} {
		if _, err := ParsePidFile(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestBelongsNeedsProgramAndFolder(t *testing.T) {
	names := []string{"kubelet", "containerd-shim-runc-v2"}
	for _, tc := range []struct {
		exe, cmdline string
		want         bool
	}{
		{"/cache/kubelet", "kubelet\x00--config=/var/lib/c/conf/kubelet.yaml\x00", true},
		{"/cache/kubelet (deleted)", "kubelet\x00--config=/var/lib/c/conf/kubelet.yaml\x00", true},
		{"/usr/bin/containerd-shim-runc-v2", "shim\x00-address\x00/var/lib/c/run/containerd.sock\x00", true},
		{"/cache/kubelet", "kubelet\x00--config=/var/lib/cc/conf/kubelet.yaml\x00", false},
		{"/usr/bin/tail", "tail\x00/var/lib/c/logs/kubelet.log\x00", false},
	} {
		if got := Belongs("/var/lib/c", names, tc.exe, tc.cmdline); got != tc.want {
			t.Errorf("%q %q: got %t, want %t", tc.exe, tc.cmdline, got, tc.want)
		}
	}
}

func TestStartedProcessIsRunningUntilStopped(t *testing.T) {
	dir := t.TempDir()
	spec := Spec{Name: "sleeper", Argv: []string{"/bin/sleep", "600"}, LogFile: filepath.Join(dir, "log"), PidFile: filepath.Join(dir, "pid")}
	id, err := Start(spec)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok, err := Running(spec.PidFile); err != nil || !ok || got != id {
		t.Errorf("running: got %v, %t, %v, want %v", got, ok, err, id)
	}
	if left := Stop([]ID{id}, time.Minute); len(left) > 0 {
		t.Errorf("%v is alive", left)
	}
	if _, ok, err := Running(spec.PidFile); err != nil || ok {
		t.Errorf("after stop: running %t, %v", ok, err)
	}
	if err := os.WriteFile(spec.PidFile, []byte("cut sh"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := Running(spec.PidFile); err != nil || ok {
		t.Errorf("pid file cut short: running %t, %v", ok, err)
	}
}
