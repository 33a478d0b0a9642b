package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/foretide/foretide/test/cluster/gpu"
	"github.com/foretide/foretide/test/cluster/host"
	"github.com/foretide/foretide/test/cluster/proc"
)

// readyLimit is how long one component may take to do its work.
const readyLimit = 2 * time.Minute

// up brings the cluster to life, or checks a living one and restarts what died in it.
func up(ctx context.Context, l layout, gpus int, out io.Writer) error {
	began := time.Now()
	if err := preflight(l); err != nil {
		return err
	}
	bin, err := build(ctx, out)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(l.dir, 0o755); err != nil {
		return err
	}
	unlock, err := lock(l.dir)
	if err != nil {
		return err
	}
	defer unlock()
	steps := []struct {
		name string
		do   func() error
	}{
		{"state folder, keys and configuration", func() error { return prepare(l, bin, gpus) }},
		{"node address " + nodeAddress, func() error { return prepareNetwork(l) }},
	}
	for _, c := range components(l, bin) {
		steps = append(steps, step{c.name, func() error { return ensure(ctx, l, c) }})
		if c.name == "containerd" {
			steps = append(steps, step{"images " + pauseImage + " " + idleImage, func() error { return ensureImages(ctx, l, bin) }})
		}
		if c.name == "kube-apiserver" {
			steps = append(steps,
				step{"roles", func() error { return ensureRoles(ctx, l) }},
				step{"device classes", func() error { return ensureDeviceClasses(ctx, l) }})
		}
	}
	steps = append(steps,
		step{"volume foretide-data", func() error { return ensureVolume(ctx, l) }},
		step{"default service account", func() error { return waitServiceAccount(ctx, l) }})
	for _, s := range steps {
		start := time.Now()
		if err := s.do(); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		fmt.Fprintf(out, "%-42s ok  %s\n", s.name, since(start))
	}
	fmt.Fprintf(out, "\nup in %s. Use it:\n  export KUBECONFIG=%s PATH=%s:$PATH\nScenario: %s\nStop it:\n  go -C test/cluster run . down%s\n",
		since(began), l.kubeconfig(), bin, l.scenario(), dirFlag(l))
	return nil
}

type step = struct {
	name string
	do   func() error
}

func dirFlag(l layout) string {
	if l.dir == defaultDir {
		return ""
	}
	return " --dir " + l.dir
}

// preflight checks what cannot be mended here: root, Debian packages, and that no other kubelet works on this machine.
func preflight(l layout) error {
	if os.Geteuid() != 0 {
		return errors.New("the cluster needs root")
	}
	var absent []string
	for _, need := range debianPrograms() {
		if _, err := exec.LookPath(need[0]); err != nil {
			absent = append(absent, need[1])
		}
	}
	if len(absent) > 0 {
		return fmt.Errorf("missing Debian packages: apt-get install -y --no-install-recommends %s", strings.Join(absent, " "))
	}
	if _, err := os.Stat(l.marker()); err == nil {
		return nil
	}
	entries, err := os.ReadDir(l.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, entry := range entries {
		if entry.Name() != filepath.Base(l.logs()) { // what down --keep-logs leaves
			return fmt.Errorf("%s holds %q and was not made by this program: choose another --dir", l.dir, entry.Name())
		}
	}
	trees, err := host.CgroupTrees("kubepods")
	if err != nil {
		return err
	}
	pids, err := host.CgroupPids(trees)
	if err != nil {
		return err
	}
	if len(pids) > 0 || host.LinkExists(vethName) {
		return fmt.Errorf("another cluster runs on this machine (%d pod processes, interface %s there: %t): take it down first, with its own --dir",
			len(pids), vethName, host.LinkExists(vethName))
	}
	return nil
}

// debianPrograms maps each program needed to the Debian package that has it.
func debianPrograms() [][2]string {
	return [][2]string{{"etcd", "etcd-server"}, {"containerd", "containerd"}, {"runc", "runc"}, {cniPlugins + "/ptp", "containernetworking-plugins"},
		{"nft", "nftables"}, {"ip", "iproute2"}}
}

// lock takes the state folder for this process alone until the function returned is called.
func lock(dir string) (func(), error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("another command works on %s: %w", dir, err)
	}
	return func() { f.Close() }, nil
}

// waitLock takes a folder for this process alone, waiting for its turn.
func waitLock(dir string) (func(), error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %q: %w", dir, err)
	}
	return func() { f.Close() }, nil
}

// prepare writes everything that the components read.
func prepare(l layout, bin string, gpus int) error {
	if err := os.WriteFile(l.marker(), []byte("This folder belongs to foretide's test cluster; `down` removes it.\n"), 0o644); err != nil {
		return err
	}
	if err := l.makeFolders(); err != nil {
		return err
	}
	if err := ensurePKI(l, time.Now()); err != nil {
		return err
	}
	if err := writeConfigs(l); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := install(l, self, l.self(), "gpu-plugin"); err != nil {
		return err
	}
	if err := install(l, filepath.Join(bin, "dradriver"), l.draDriver(), "dra-driver"); err != nil {
		return err
	}
	if err := os.MkdirAll(devicePluginFolder, 0o755); err != nil {
		return err
	}
	return gpu.EnsureScenario(l.scenario(), gpus)
}

// install copies a program under the state folder: `go run` removes its own copy of this one when it ends, and a build
// may replace the other while the component runs. A component that runs an older copy is stopped, to be started anew.
func install(l layout, from, to, component string) error {
	if from == to {
		return nil
	}
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if old, err := os.ReadFile(to); err == nil && bytes.Equal(old, text) {
		return nil
	}
	temp := to + ".new"
	if err := os.WriteFile(temp, text, 0o755); err != nil {
		return err
	}
	if err := os.Rename(temp, to); err != nil {
		return err
	}
	if id, running, err := proc.Running(l.pidFile(component)); err != nil || !running {
		return err
	} else if len(proc.Stop([]proc.ID{id}, podGrace)) > 0 {
		return fmt.Errorf("the older %s, %s, does not end", component, proc.Describe(id))
	}
	return nil
}

// changedSysctls are the kernel settings that the kubelet (pkg/kubelet/cm/container_manager_linux.go, setupKernelTunables),
// kube-proxy and this program change; down sets them back.
func changedSysctls() []string {
	return []string{"net/ipv4/ip_forward", "net/ipv4/conf/all/route_localnet", "vm/overcommit_memory", "vm/panic_on_oom",
		"kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes"}
}

func prepareNetwork(l layout) error {
	if _, err := os.Stat(l.savedSysctls()); errors.Is(err, fs.ErrNotExist) {
		values, err := host.Sysctls(changedSysctls())
		if err != nil {
			return err
		}
		text, err := json.MarshalIndent(values, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(l.savedSysctls(), text, 0o644); err != nil {
			return err
		}
	}
	if err := host.SetSysctl("net/ipv4/ip_forward", "1"); err != nil {
		return err
	}
	return host.EnsureVeth(vethName, vethPeer, nodeVeth())
}

// ensure starts a component if it is not running, and waits until it is ready.
func ensure(ctx context.Context, l layout, c component) error {
	id, running, err := proc.Running(l.pidFile(c.name))
	if err != nil {
		return err
	}
	var started time.Time
	if !running {
		started = time.Now()
		// What the one before was registered with says nothing of this one.
		if err := os.Remove(l.registered(c.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		id, err = proc.Start(proc.Spec{Name: c.name, Argv: c.argv, Env: environment(), LogFile: l.log(c.name), PidFile: l.pidFile(c.name)})
		if err != nil {
			return err
		}
	}
	deadline := time.Now().Add(readyLimit)
	for {
		err := c.ready(ctx, started)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !proc.Alive(id):
			return fmt.Errorf("it ended; last lines of %s:\n%s", l.log(c.name), lastLines(l.log(c.name), 15))
		case time.Now().After(deadline):
			return fmt.Errorf("not ready after %s: %w; last lines of %s:\n%s", readyLimit, err, l.log(c.name), lastLines(l.log(c.name), 15))
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// environment is all that components inherit: no proxy settings, which would send cluster traffic outside.
func environment() []string {
	return []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"}
}

func lastLines(path string, n int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return "  " + strings.Join(lines[max(0, len(lines)-n):], "\n  ")
}
