// Package gpu offers the devices of a scenario file to the kubelet as nvidia.com/gpu.
//
// The scenario file is what the scenario library (test/fakenvml) reads: line-based text with one [device N] section per GPU.
package gpu

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// MemoryTotalBytes is the memory of one device in the default scenario: what NVML reports for an H100 80GB HBM3.
const MemoryTotalBytes = 85520809984

// UUID is the identity of device i of the default fleet.
func UUID(i int) string {
	return fmt.Sprintf("GPU-f0e7de00-0000-4000-8000-%012d", i)
}

// DefaultScenario renders a scenario of n idle devices.
func DefaultScenario(n int) string {
	var b strings.Builder
	b.WriteString("# Written by the cluster at its first start; load drivers and tests replace it.\n")
	b.WriteString("driver_version=570.124.06\n")
	for i := range n {
		fmt.Fprintf(&b, "[device %d]\nuuid=%s\nname=NVIDIA H100 80GB HBM3\nminor=%d\n", i, UUID(i), i)
		fmt.Fprintf(&b, "memory_total_bytes=%d\nmemory_reserved_bytes=0\nmemory_used_bytes=0\n", int64(MemoryTotalBytes))
		b.WriteString("utilization_gpu_percent=0\nutilization_memory_percent=0\n")
	}
	return b.String()
}

// ParseUUIDs takes the device ids from a scenario's text in file order. A uuid outside a [device N] section, an empty
// one or one named twice is an error that names the line.
func ParseUUIDs(text string) ([]string, error) {
	var uuids []string
	seen := map[string]bool{}
	inDevice := false
	for i, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			inDevice = strings.HasPrefix(line, "[device ") && strings.HasSuffix(line, "]")
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || strings.TrimSpace(key) != "uuid" {
			continue
		}
		value = strings.TrimSpace(value)
		switch {
		case !inDevice:
			return nil, fmt.Errorf("scenario line %d: uuid %q stands outside a [device N] section", i+1, value)
		case value == "":
			return nil, fmt.Errorf("scenario line %d: uuid is empty", i+1)
		case seen[value]:
			return nil, fmt.Errorf("scenario line %d: uuid %q is named twice", i+1, value)
		}
		seen[value] = true
		uuids = append(uuids, value)
	}
	return uuids, nil
}

// ReadUUIDs reads the device ids of a scenario file.
func ReadUUIDs(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return ParseUUIDs(string(text))
}

// EnsureScenario writes a default scenario of n devices at path if there is none, atomically, and leaves an existing one alone.
func EnsureScenario(path string, n int) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	temp := path + ".new"
	if err := os.WriteFile(temp, []byte(DefaultScenario(n)), 0o644); err != nil {
		return err
	}
	return os.Rename(temp, path)
}
