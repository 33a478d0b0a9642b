package node

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// clockTick is USER_HZ: /proc/<pid>/stat counts CPU time in 1/100 s on Linux (proc(5)).
const clockTick = 100

// ResidentMiB is the memory the agent has now.
func (n *Node) ResidentMiB() (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.PID()))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kib / 1024, err
		}
	}
	return 0, fmt.Errorf("process %d has no VmRSS: it has ended", n.PID())
}

// CPUSeconds is the processor time the agent has used so far.
func (n *Node) CPUSeconds() (float64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.PID()))
	if err != nil {
		return 0, err
	}
	// Fields after the command in parentheses: utime and stime are the 12th and 13th (proc(5)).
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, err := strconv.ParseFloat(fields[11], 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseFloat(fields[12], 64)
	return (user + system) / clockTick, err
}
