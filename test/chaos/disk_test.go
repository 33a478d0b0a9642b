//go:build chaos

package chaos

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// mount mounts something until the test ends.
func mount(t *testing.T, what, at, kind, options string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root may mount a disk of its own for the test")
	}
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	command(t, "mount", "-t", kind, "-o", options, what, at)
	t.Cleanup(func() { command(t, "umount", at) })
}

func command(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// slowDisk is a file system on a loop device on which every write is synchronous, and the kernel's I/O controller, which limits how many
// bytes a second a process may write to that device. Writes then take as long as they do on a disk that is that slow.
type slowDisk struct {
	t      *testing.T
	path   string
	device string // major:minor
	group  string // folder of the control group
	v2     bool
}

func newSlowDisk(t *testing.T) *slowDisk {
	t.Helper()
	dir := t.TempDir()
	image, path := filepath.Join(dir, "image"), filepath.Join(dir, "disk")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 512<<20); err != nil {
		t.Fatal(err)
	}
	command(t, "mkfs.ext4", "-q", "-O", "^has_journal", image)
	mount(t, image, path, "ext4", "loop,sync")
	d := &slowDisk{t: t, path: path, device: deviceOf(t, path)}
	d.makeGroup()
	return d
}

// deviceOf is the major:minor of what is mounted at a path (proc_pid_mountinfo(5)).
func deviceOf(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); fields[4] == path {
			return fields[2]
		}
	}
	t.Fatalf("%s is not mounted", path)
	return ""
}

// makeGroup makes a control group with the I/O controller, of either version.
func (d *slowDisk) makeGroup() {
	d.t.Helper()
	name := fmt.Sprintf("foretide-chaos-%d", os.Getpid())
	controllers, err := os.ReadFile("/sys/fs/cgroup/cgroup.controllers")
	switch {
	case err == nil && strings.Contains(" "+strings.TrimSpace(string(controllers))+" ", " io "):
		d.v2, d.group = true, filepath.Join("/sys/fs/cgroup", name)
		d.write("/sys/fs/cgroup/cgroup.subtree_control", "+io")
	case exists("/sys/fs/cgroup/blkio/blkio.throttle.write_bps_device"):
		d.group = filepath.Join("/sys/fs/cgroup/blkio", name)
	default:
		d.t.Skip("this kernel has no I/O controller mounted at /sys/fs/cgroup: a disk cannot be made slow")
	}
	if err := os.Mkdir(d.group, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		d.t.Fatal(err)
	}
	// A group is empty once the processes in it have ended, which the kernel says a moment later.
	d.t.Cleanup(func() { _ = os.Remove(d.group) })
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (d *slowDisk) write(path, text string) {
	d.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

// slow lets a process write no more than so many bytes a second to the disk.
func (d *slowDisk) slow(pid, bytesPerSecond int) {
	d.t.Helper()
	d.limit(strconv.Itoa(bytesPerSecond))
	d.write(filepath.Join(d.group, "cgroup.procs"), strconv.Itoa(pid))
}

// fast takes the limit away.
func (d *slowDisk) fast() {
	d.t.Helper()
	if d.v2 {
		d.limit("max")
	} else {
		d.limit("0")
	}
}

func (d *slowDisk) limit(bytes string) {
	d.t.Helper()
	if d.v2 {
		d.write(filepath.Join(d.group, "io.max"), d.device+" wbps="+bytes)
	} else {
		d.write(filepath.Join(d.group, "blkio.throttle.write_bps_device"), d.device+" "+bytes)
	}
}
