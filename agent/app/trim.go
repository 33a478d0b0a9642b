package app

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// madvPageout asks the kernel to take pages back (madvise(2), since Linux 5.4).
const madvPageout = 21

// trim gives the pages of the agent's own program back that only its start needed: more than half of a program that links TLS, gRPC,
// HTTP and two of NVIDIA's bindings. They are clean pages of a file, so that what is needed again is read again. A kernel that
// cannot do this leaves everything as it is.
func trim() {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return
	}
	for _, m := range readOnlyMappings(string(maps), self) {
		_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, m.from, m.to-m.from, madvPageout)
	}
}

type mapping struct{ from, to uintptr }

// readOnlyMappings finds the parts of a file that /proc/<pid>/maps (proc(5)) shows as not writable.
func readOnlyMappings(maps, file string) []mapping {
	var found []mapping
	for line := range strings.Lines(maps) {
		fields := strings.Fields(line)
		if len(fields) < 6 || fields[5] != file || strings.Contains(fields[1], "w") {
			continue
		}
		var m mapping
		if _, err := fmt.Sscanf(fields[0], "%x-%x", &m.from, &m.to); err == nil && m.to > m.from {
			found = append(found, m)
		}
	}
	return found
}
