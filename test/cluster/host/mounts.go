// Package host looks at and tidies what a cluster leaves in the kernel: mounts, cgroups, network interfaces, nftables
// tables and sysctls.
package host

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// ParseMountPoints takes the mount points from the text of /proc/<pid>/mountinfo in its order; see proc_pid_mountinfo(5).
func ParseMountPoints(mountinfo string) ([]string, error) {
	var points []string
	for i, line := range strings.Split(mountinfo, "\n") {
		if line == "" {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) < 6 {
			return nil, fmt.Errorf("mountinfo line %d: %d fields, want at least 6", i+1, len(fields))
		}
		points = append(points, unescape(fields[4]))
	}
	return points, nil
}

// unescape turns the kernel's three-digit octal escapes (blank \040, tab \011, newline \012, backslash \134) back.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+4 <= len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// Below keeps the mount points that are dir or lie under it, last mounted first: the order to unmount in.
func Below(points []string, dir string) []string {
	var below []string
	for i := len(points) - 1; i >= 0; i-- {
		if points[i] == dir || strings.HasPrefix(points[i], dir+"/") {
			below = append(below, points[i])
		}
	}
	return below
}

// MountsBelow lists the mounts of this process's namespace at or under dir, last mounted first.
func MountsBelow(dir string) ([]string, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	points, err := ParseMountPoints(string(text))
	if err != nil {
		return nil, err
	}
	return Below(points, dir), nil
}

// UnmountBelow unmounts everything at or under dir and returns how many mounts that were.
func UnmountBelow(dir string) (int, error) {
	points, err := MountsBelow(dir)
	if err != nil {
		return 0, err
	}
	for _, point := range points {
		err := syscall.Unmount(point, syscall.MNT_DETACH)
		if err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOENT) {
			return 0, fmt.Errorf("unmount %q: %w", point, err)
		}
	}
	return len(points), nil
}
