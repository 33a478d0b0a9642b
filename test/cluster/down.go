package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/foretide/foretide/test/cluster/gpu"
	"github.com/foretide/foretide/test/cluster/host"
	"github.com/foretide/foretide/test/cluster/proc"
)

// podGrace is how long the processes of pods have between SIGTERM and SIGKILL.
const podGrace = 3 * time.Second

// down stops every process of the cluster and removes everything it made, whatever state a crash left it in.
// It is an error, naming each, if something is left.
func down(l layout, keepLogs bool, out io.Writer) error {
	began := time.Now()
	if os.Geteuid() != 0 {
		return errors.New("the cluster needs root")
	}
	ours, err := isOurs(l)
	if err != nil {
		return err
	}
	if !ours {
		fmt.Fprintf(out, "no cluster under %s\n", l.dir)
		return nil
	}
	if unlock, err := lock(l.dir); err == nil {
		defer unlock()
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	sockets := shimSockets(l)
	var problems []error
	steps := []struct {
		name string
		do   func() (int, error)
	}{
		{"node components stopped", func() (int, error) { return stopAll(l, []string{"kubelet", "foretide-cluster", "foretide-dra-driver"}) }},
		{"pod processes stopped", stopPods},
		{"other processes stopped", func() (int, error) { return stopAll(l, executables()) }},
		{"mounts removed", func() (int, error) { return host.UnmountBelow(l.dir) }},
		{"nftables tables removed", host.DeleteKubeProxyTables},
		{"network interfaces removed", removeLinks},
		{"cgroup trees removed", removeCgroups},
		{"files elsewhere removed", func() (int, error) { return removeElsewhere(l, sockets) }},
		{"kernel settings restored", func() (int, error) { return restoreSysctls(l) }},
	}
	for _, s := range steps {
		n, err := s.do()
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", s.name, err))
			continue
		}
		fmt.Fprintf(out, "%-30s %d\n", s.name, n)
	}
	if len(problems) == 0 {
		if err := removeState(l, keepLogs); err != nil {
			problems = append(problems, err)
		}
	}
	left, err := leftovers(l, keepLogs)
	if err != nil {
		problems = append(problems, err)
	}
	for _, what := range left {
		problems = append(problems, errors.New("left over: "+what))
	}
	if len(problems) > 0 {
		return errors.Join(problems...)
	}
	fmt.Fprintf(out, "down in %s: no process, mount, interface, table, cgroup or file is left\n", since(began))
	return nil
}

// isOurs says whether there is a cluster to take down: its marker, or processes that mention its folder.
// Without either nothing is touched, for pods and cgroups might be another cluster's.
func isOurs(l layout) (bool, error) {
	if _, err := os.Stat(l.marker()); err == nil {
		return true, nil
	}
	ids, err := proc.Find(l.dir, executables())
	return len(ids) > 0, err
}

func stopAll(l layout, names []string) (int, error) {
	ids, err := proc.Find(l.dir, names)
	if err != nil {
		return 0, err
	}
	return len(ids), stillAlive(proc.Stop(ids, 0))
}

func stopPods() (int, error) {
	ids, err := podProcesses()
	if err != nil {
		return 0, err
	}
	return len(ids), stillAlive(proc.Stop(ids, podGrace))
}

func podProcesses() ([]proc.ID, error) {
	trees, err := host.CgroupTrees("kubepods")
	if err != nil {
		return nil, err
	}
	pids, err := host.CgroupPids(trees)
	if err != nil {
		return nil, err
	}
	var ids []proc.ID
	for _, pid := range pids {
		if id, err := proc.Lookup(pid); err == nil {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

func stillAlive(ids []proc.ID) error {
	var errs []error
	for _, id := range ids {
		errs = append(errs, fmt.Errorf("%s does not end", proc.Describe(id)))
	}
	return errors.Join(errs...)
}

// shimSockets reads where the shims listen: each bundle's address file. Killed shims leave their sockets behind, and
// the folder, /run/containerd/s, may hold those of another containerd.
func shimSockets(l layout) []string {
	files, err := filepath.Glob(l.path("run", "containerd", "io.containerd.runtime.v2.task", "k8s.io", "*", "address"))
	if err != nil {
		return nil
	}
	var sockets []string // a pod's containers share one shim, so an address may come up several times
	for _, file := range files {
		text, err := os.ReadFile(file)
		path, ok := strings.CutPrefix(strings.TrimSpace(string(text)), "unix://")
		if err == nil && ok && !slices.Contains(sockets, path) {
			sockets = append(sockets, path)
		}
	}
	return sockets
}

func removeLinks() (int, error) {
	links, err := host.PodLinks(podNet())
	if err != nil {
		return 0, err
	}
	n := 0
	for _, link := range append(links, vethName) {
		if !host.LinkExists(link) {
			continue
		}
		if err := host.DeleteLink(link); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

func removeCgroups() (int, error) {
	trees, err := host.CgroupTrees("kubepods")
	if err != nil {
		return 0, err
	}
	return len(trees), host.RemoveCgroups(trees)
}

// elsewhere lists the files that the cluster's components make outside the state folder.
func elsewhere(l layout, sockets []string) ([]string, error) {
	paths := slices.Clone(sockets)
	for _, name := range []string{"kubelet.sock", "kubelet_internal_checkpoint", "DEPRECATION"} {
		paths = append(paths, filepath.Join(devicePluginFolder, name))
	}
	plugins, err := gpu.Sockets(devicePluginFolder)
	if err != nil {
		return nil, err
	}
	paths = append(paths, plugins...)
	results, err := filepath.Glob(filepath.Join(cniResults, "*"))
	if err != nil {
		return nil, err
	}
	for _, result := range results {
		// Both attachments of a pod, ours and the loopback one, name its network namespace, which is below the folder.
		if text, err := os.ReadFile(result); err == nil && strings.Contains(string(text), l.dir+"/") {
			paths = append(paths, result)
		}
	}
	links, err := filepath.Glob(filepath.Join(containerLogLinks, "*.log"))
	if err != nil {
		return nil, err
	}
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, l.dir+"/") {
			paths = append(paths, link)
		}
	}
	return slices.DeleteFunc(paths, func(path string) bool {
		_, err := os.Lstat(path)
		return errors.Is(err, fs.ErrNotExist)
	}), nil
}

// removeElsewhere removes those files, and the folders that are empty without them.
func removeElsewhere(l layout, sockets []string) (int, error) {
	paths, err := elsewhere(l, sockets)
	if err != nil {
		return 0, err
	}
	for _, path := range paths {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, err
		}
	}
	for _, folder := range []string{devicePluginFolder, filepath.Dir(devicePluginFolder), cniResults, filepath.Dir(cniResults),
		containerLogLinks, "/run/containerd/s", "/run/containerd"} {
		_ = os.Remove(folder) // stays unless it is empty
	}
	return len(paths), nil
}

func restoreSysctls(l layout) (int, error) {
	text, err := os.ReadFile(l.savedSysctls())
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var values map[string]string
	if err := json.Unmarshal(text, &values); err != nil {
		return 0, fmt.Errorf("read %q: %w", l.savedSysctls(), err)
	}
	for name, value := range values {
		if err := host.SetSysctl(name, value); err != nil {
			return 0, err
		}
	}
	return len(values), nil
}

// removeState removes the state folder, its marker last, so that a removal cut short can be taken up again.
// Nothing may be mounted below any more: removing through a mount would empty what is mounted.
func removeState(l layout, keepLogs bool) error {
	mounts, err := host.MountsBelow(l.dir)
	if err != nil {
		return err
	}
	if len(mounts) > 0 {
		return fmt.Errorf("%s stays: still mounted below it: %s", l.dir, strings.Join(mounts, ", "))
	}
	entries, err := os.ReadDir(l.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		path := l.path(entry.Name())
		if path == l.marker() || (keepLogs && path == l.logs()) {
			continue
		}
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	if err := os.Remove(l.marker()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if keepLogs {
		return nil
	}
	return os.Remove(l.dir)
}
