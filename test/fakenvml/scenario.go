package fakenvml

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Write puts the scenario at path, replacing what was there at once: the library sees the old one or the new one whole.
func (s Scenario) Write(path string) error {
	text, err := s.format()
	if err != nil {
		return fmt.Errorf("scenario %s: %w", path, err)
	}
	temp, err := os.CreateTemp(filepath.Dir(path), ".scenario-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temp.Name()) }()
	if _, err := temp.Write(text); err != nil {
		_ = temp.Close()
		return err
	}
	if err := temp.Chmod(0o644); err != nil {
		_ = temp.Close()
		return err
	}
	if err := temp.Close(); err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
}

func (s Scenario) format() ([]byte, error) {
	if len(s.Devices) > MaxDevices {
		return nil, fmt.Errorf("%d devices: at most %d are allowed", len(s.Devices), MaxDevices)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "driver_version=%s\ninit_error=%d\n", s.DriverVersion, s.InitError)
	for i, d := range s.Devices {
		if strings.ContainsAny(d.UUID+d.Name, "#\n=") {
			return nil, fmt.Errorf("device %d: uuid %q and name %q may hold no #, = or line break", i, d.UUID, d.Name)
		}
		fmt.Fprintf(&b, "[device %d]\nuuid=%s\nname=%s\nminor=%d\n", i, d.UUID, d.Name, d.Minor)
		fmt.Fprintf(&b, "memory_total_bytes=%d\nmemory_reserved_bytes=%d\nmemory_used_bytes=%d\n",
			d.MemoryTotalBytes, d.MemoryReservedBytes, d.MemoryUsedBytes)
		fmt.Fprintf(&b, "utilization_gpu_percent=%d\nutilization_memory_percent=%d\n", d.UtilizationGPUPercent, d.UtilizationMemoryPercent)
		for _, p := range d.Processes {
			fmt.Fprintf(&b, "process=%d:%d:%d\n", p.PID, p.UsedBytes, p.SMPercent)
		}
		for _, function := range slices.Sorted(maps.Keys(d.Errors)) {
			fmt.Fprintf(&b, "error=%s:%d\n", function, d.Errors[function])
		}
	}
	return b.Bytes(), nil
}

// Read reads the scenario at path. Unlike the library, which skips what it does not know, it refuses a line that is wrong
// and names it.
func Read(path string) (Scenario, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Scenario{}, err
	}
	var s Scenario
	for i, line := range strings.Split(string(text), "\n") {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if err := s.readLine(line); err != nil {
			return Scenario{}, fmt.Errorf("%s:%d: %w", path, i+1, err)
		}
	}
	return s, nil
}

func (s *Scenario) readLine(line string) error {
	if strings.HasPrefix(line, "[") {
		if want := fmt.Sprintf("[device %d]", len(s.Devices)); line != want {
			return fmt.Errorf("section %q: the next one is %q", line, want)
		}
		if len(s.Devices) == MaxDevices {
			return fmt.Errorf("more than %d devices", MaxDevices)
		}
		s.Devices = append(s.Devices, Device{})
		return nil
	}
	key, value, ok := strings.Cut(line, "=")
	if !ok {
		return fmt.Errorf("%q: a line is key=value or [device N]", line)
	}
	key, value = strings.TrimSpace(key), strings.TrimSpace(value)
	if len(s.Devices) == 0 {
		return s.set(key, value)
	}
	return s.Devices[len(s.Devices)-1].set(key, value)
}

func (s *Scenario) set(key, value string) (err error) {
	switch key {
	case "driver_version":
		s.DriverVersion = value
	case "init_error":
		s.InitError, err = number[int](key, value)
	default:
		err = fmt.Errorf("%s: before the first device only driver_version and init_error are allowed", key)
	}
	return err
}

func (d *Device) set(key, value string) (err error) {
	switch key {
	case "uuid":
		d.UUID = value
	case "name":
		d.Name = value
	case "minor":
		d.Minor, err = number[int](key, value)
	case "memory_total_bytes":
		d.MemoryTotalBytes, err = number[uint64](key, value)
	case "memory_reserved_bytes":
		d.MemoryReservedBytes, err = number[uint64](key, value)
	case "memory_used_bytes":
		d.MemoryUsedBytes, err = number[uint64](key, value)
	case "utilization_gpu_percent":
		d.UtilizationGPUPercent, err = number[int](key, value)
	case "utilization_memory_percent":
		d.UtilizationMemoryPercent, err = number[int](key, value)
	case "process":
		err = d.addProcess(value)
	case "error":
		err = d.addError(value)
	default:
		err = fmt.Errorf("%s: a device has no such key", key)
	}
	return err
}

func (d *Device) addProcess(value string) error {
	parts := strings.Split(value, ":")
	if len(parts) != 3 {
		return fmt.Errorf("process %q: it is pid:used_bytes:sm_percent", value)
	}
	var p Process
	var err error
	if p.PID, err = number[int]("pid", parts[0]); err != nil {
		return err
	}
	if p.UsedBytes, err = number[uint64]("used_bytes", parts[1]); err != nil {
		return err
	}
	if p.SMPercent, err = number[int]("sm_percent", parts[2]); err != nil {
		return err
	}
	d.Processes = append(d.Processes, p)
	return nil
}

func (d *Device) addError(value string) error {
	function, code, ok := strings.Cut(value, ":")
	if !ok || function == "" {
		return fmt.Errorf("error %q: it is function:code", value)
	}
	n, err := number[int]("code", code)
	if err != nil {
		return err
	}
	if d.Errors == nil {
		d.Errors = map[string]int{}
	}
	d.Errors[function] = n
	return nil
}

// number reads a whole number of 0 or more.
func number[T int | uint64](key, value string) (T, error) {
	n, err := strconv.ParseUint(value, 10, 63)
	if err != nil {
		return 0, fmt.Errorf("%s is %q: it must be a whole number of 0 or more", key, value)
	}
	return T(n), nil
}
