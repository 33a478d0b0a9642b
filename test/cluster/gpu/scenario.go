package gpu

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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

// Device is one [device N] section of a scenario: a GPU.
type Device struct {
	// Index is N, Minor the number in the device's file name, /dev/nvidia<minor>; N where the scenario does not say.
	Index, Minor     int
	UUID, Name       string
	MemoryTotalBytes int64
	// MIG are its [mig N.M] sections in file order.
	MIG []MIGInstance
}

// MIGInstance is one [mig N.M] section of a scenario: a slice of the GPU with that number.
type MIGInstance struct {
	// Index is M.
	Index int
	UUID  string
	// Profile is NVIDIA's name of the slice's size, such as 1g.10gb.
	Profile string
	// GPUInstance and ComputeInstance are the ids that NVML gives.
	GPUInstance, ComputeInstance int
	// PlacementStart is the first memory slice, PlacementSize how many there are.
	PlacementStart, PlacementSize int
	MemoryTotalBytes              int64
}

// ParseScenario takes the devices and MIG instances that have a uuid from a scenario's text, in file order; an instance
// without one is an empty slot. Everything that is no business of this package is skipped. A uuid outside a section, an empty one, one named twice, a wrong number and a [mig N.M]
// section without its [device N] before it are errors that name the line.
func ParseScenario(text string) ([]Device, error) {
	s := scenario{seen: map[string]bool{}}
	for i, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		if err := s.read(strings.TrimSpace(line)); err != nil {
			return nil, fmt.Errorf("scenario line %d: %w", i+1, err)
		}
	}
	var fleet []Device
	for _, d := range s.devices {
		if d.UUID == "" {
			continue
		}
		d.MIG = slices.DeleteFunc(d.MIG, func(m MIGInstance) bool { return m.UUID == "" })
		fleet = append(fleet, *d)
	}
	return fleet, nil
}

// ReadScenario reads the devices of a scenario file.
func ReadScenario(path string) ([]Device, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return ParseScenario(string(text))
}

// scenario is a scenario read as far as the current line.
type scenario struct {
	devices []*Device
	seen    map[string]bool // uuids
	device  *Device         // the section at hand; nil outside
	mig     *MIGInstance    // nil outside a [mig N.M] section
}

func (s *scenario) read(line string) error {
	if name, ok := strings.CutPrefix(line, "["); ok {
		return s.open(strings.TrimSuffix(name, "]"))
	}
	key, value, ok := strings.Cut(line, "=")
	if !ok {
		return nil
	}
	key, value = strings.TrimSpace(key), strings.TrimSpace(value)
	if key == "uuid" || key == "mig_uuid" {
		return s.setUUID(value)
	}
	switch {
	case s.mig != nil:
		return s.mig.set(key, value)
	case s.device != nil:
		return s.device.set(key, value)
	}
	return nil
}

// open begins a section; one of another kind than these two belongs to no device.
func (s *scenario) open(section string) error {
	s.device, s.mig = nil, nil
	kind, number, _ := strings.Cut(section, " ")
	switch kind {
	case "device":
		n, err := strconv.Atoi(number)
		if err != nil {
			return fmt.Errorf("section %q: want device N", section)
		}
		s.device = &Device{Index: n, Minor: n}
		s.devices = append(s.devices, s.device)
	case "mig":
		parent, slot, _ := strings.Cut(number, ".")
		n, err := strconv.Atoi(parent)
		m, err2 := strconv.Atoi(slot)
		if errors.Join(err, err2) != nil {
			return fmt.Errorf("section %q: want mig N.M", section)
		}
		for _, d := range s.devices {
			if d.Index == n {
				s.device = d
			}
		}
		if s.device == nil {
			return fmt.Errorf("section %q: there is no device %d before it", section, n)
		}
		s.device.MIG = append(s.device.MIG, MIGInstance{Index: m})
		s.mig = &s.device.MIG[len(s.device.MIG)-1]
	}
	return nil
}

func (s *scenario) setUUID(value string) error {
	switch {
	case s.device == nil:
		return fmt.Errorf("uuid %q stands outside a [device N] or [mig N.M] section", value)
	case value == "":
		return errors.New("uuid is empty")
	case s.seen[value]:
		return fmt.Errorf("uuid %q is named twice", value)
	}
	s.seen[value] = true
	if s.mig != nil {
		s.mig.UUID = value
	} else {
		s.device.UUID = value
	}
	return nil
}

func (d *Device) set(key, value string) (err error) {
	switch key {
	case "name":
		d.Name = value
	case "minor":
		d.Minor, err = strconv.Atoi(value)
	case "memory_total_bytes":
		d.MemoryTotalBytes, err = strconv.ParseInt(value, 10, 64)
	}
	return err
}

func (m *MIGInstance) set(key, value string) (err error) {
	switch key {
	case "profile":
		m.Profile = value
	case "gpu_instance":
		m.GPUInstance, err = strconv.Atoi(value)
	case "compute_instance":
		m.ComputeInstance, err = strconv.Atoi(value)
	case "placement_start":
		m.PlacementStart, err = strconv.Atoi(value)
	case "placement_size":
		m.PlacementSize, err = strconv.Atoi(value)
	case "memory_total_bytes":
		m.MemoryTotalBytes, err = strconv.ParseInt(value, 10, 64)
	}
	return err
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
