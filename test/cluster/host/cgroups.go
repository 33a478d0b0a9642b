package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// CgroupTrees lists the folder `name` at the root of every mounted cgroup hierarchy where it exists:
// every v1 controller, a hybrid unified mount, or the one v2 tree.
func CgroupTrees(name string) ([]string, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var trees []string
	for _, root := range cgroupMounts(string(text)) {
		tree := filepath.Join(root, name)
		if _, err := os.Stat(tree); err == nil {
			trees = append(trees, tree)
		}
	}
	return trees, nil
}

// cgroupMounts takes the mount points of type cgroup or cgroup2 from the text of /proc/self/mountinfo.
func cgroupMounts(mountinfo string) []string {
	var roots []string
	for _, line := range strings.Split(mountinfo, "\n") {
		head, tail, ok := strings.Cut(line, " - ")
		if !ok {
			continue
		}
		kind, _, _ := strings.Cut(tail, " ")
		fields := strings.Fields(head)
		if (kind == "cgroup" || kind == "cgroup2") && len(fields) >= 5 {
			roots = append(roots, unescape(fields[4]))
		}
	}
	return roots
}

// CgroupPids lists the processes in the given cgroup folders and all below them, each once.
func CgroupPids(trees []string) ([]int, error) {
	var pids []int
	for _, tree := range trees {
		err := filepath.WalkDir(tree, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.Name() != "cgroup.procs" {
				return ignoreGone(err)
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return ignoreGone(err)
			}
			for _, field := range strings.Fields(string(text)) {
				if pid, err := strconv.Atoi(field); err == nil && pid > 1 {
					pids = append(pids, pid)
				}
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("list processes of cgroup %q: %w", tree, err)
		}
	}
	slices.Sort(pids)
	return slices.Compact(pids), nil
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// RemoveCgroups removes the given cgroup folders, deepest first. Their processes must have ended; the kernel may need
// a moment to let a cgroup go after that, so it tries for up to five seconds.
func RemoveCgroups(trees []string) error {
	for _, tree := range trees {
		deadline := time.Now().Add(5 * time.Second)
		for {
			err := removeCgroup(tree)
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				return err
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	return nil
}

func removeCgroup(tree string) error {
	var folders []string
	err := filepath.WalkDir(tree, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			folders = append(folders, path)
		}
		return ignoreGone(err)
	})
	if err != nil {
		return err
	}
	for _, folder := range slices.Backward(folders) {
		if err := os.Remove(folder); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove cgroup %q: %w", folder, err)
		}
	}
	return nil
}
