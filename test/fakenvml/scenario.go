package fakenvml

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
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
	if err := writeKeys(&b, s.keys()); err != nil {
		return nil, err
	}
	for i := range s.Devices {
		d := &s.Devices[i]
		fmt.Fprintf(&b, "[device %d]\n", i)
		if err := writeKeys(&b, d.keys()); err != nil {
			return nil, fmt.Errorf("device %d: %w", i, err)
		}
		if len(d.MIGInstances) > MaxInstances {
			return nil, fmt.Errorf("device %d: %d MIG instances: at most %d are allowed", i, len(d.MIGInstances), MaxInstances)
		}
		for j := range d.MIGInstances {
			fmt.Fprintf(&b, "[mig %d.%d]\n", i, j)
			if err := writeKeys(&b, d.MIGInstances[j].keys()); err != nil {
				return nil, fmt.Errorf("device %d: MIG instance %d: %w", i, j, err)
			}
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
		return s.beginSection(line)
	}
	name, value, ok := strings.Cut(line, "=")
	if !ok {
		return fmt.Errorf("%q: a line is key=value, [device N] or [mig N.M]", line)
	}
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	section, keys := s.section()
	for _, k := range keys {
		if k.name == name {
			return k.read(value)
		}
	}
	return fmt.Errorf("%s: %s has no such key", name, section)
}

// beginSection adds the device or MIG instance that a header announces: they come in order, an instance after its device.
func (s *Scenario) beginSection(header string) error {
	device := len(s.Devices)
	want := fmt.Sprintf("[device %d]", device)
	if header == want {
		if device == MaxDevices {
			return fmt.Errorf("more than %d devices", MaxDevices)
		}
		s.Devices = append(s.Devices, Device{})
		return nil
	}
	if device == 0 {
		return fmt.Errorf("section %q: the next one is %q", header, want)
	}
	d := &s.Devices[device-1]
	instance := fmt.Sprintf("[mig %d.%d]", device-1, len(d.MIGInstances))
	if header != instance {
		return fmt.Errorf("section %q: the next one is %q or %q", header, want, instance)
	}
	if len(d.MIGInstances) == MaxInstances {
		return fmt.Errorf("more than %d MIG instances of a device", MaxInstances)
	}
	d.MIGInstances = append(d.MIGInstances, MIGInstance{})
	return nil
}

// section returns what the lines after the last header are about.
func (s *Scenario) section() (string, []key) {
	if len(s.Devices) == 0 {
		return "what comes before the first device", s.keys()
	}
	d := &s.Devices[len(s.Devices)-1]
	if len(d.MIGInstances) == 0 {
		return "a device", d.keys()
	}
	return "a MIG instance", d.MIGInstances[len(d.MIGInstances)-1].keys()
}
