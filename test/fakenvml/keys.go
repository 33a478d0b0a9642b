package fakenvml

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// key is one name that lines of a section may have, and where their value is kept. Lists and maps have a line per item.
type key struct {
	name string
	at   any
}

func (s *Scenario) keys() []key {
	return []key{{"driver_version", &s.DriverVersion}, {"init_error", &s.InitError}, {"now_microseconds", &s.NowMicroseconds}}
}

func (d *Device) keys() []key {
	return []key{
		{"uuid", &d.UUID}, {"name", &d.Name}, {"minor", &d.Minor}, {"pci_bus_id", &d.PCIBusID},
		{"compute_capability", &d.ComputeCapability}, {"brand", &d.Brand},
		{"memory_total_bytes", &d.MemoryTotalBytes}, {"memory_reserved_bytes", &d.MemoryReservedBytes}, {"memory_used_bytes", &d.MemoryUsedBytes},
		{"utilization_gpu_percent", &d.UtilizationGPUPercent}, {"utilization_memory_percent", &d.UtilizationMemoryPercent},
		{"encoder_percent", &d.EncoderPercent}, {"decoder_percent", &d.DecoderPercent},
		{"sm_clock_mhz", &d.SMClockMHz}, {"memory_clock_mhz", &d.MemoryClockMHz}, {"temperature_celsius", &d.TemperatureCelsius},
		{"power_milliwatts", &d.PowerMilliwatts}, {"power_limit_milliwatts", &d.PowerLimitMilliwatts},
		{"clock_event_reasons", &d.ClockEventReasons}, {"field", &d.Fields}, {"energy_from_power", &d.EnergyFromPower},
		{"sample_period_microseconds", &d.SamplePeriodMicroseconds}, {"burst", &d.Bursts}, {"process", &d.Processes},
		{"mig_mode", &d.MIGMode}, {"gpm", &d.GPM}, {"xid", &d.XIDs},
		{"error", &d.Errors}, {"hang", &d.Hangs}, {"delay", &d.Delays},
	}
}

// keys of a MIG instance: its uuid has a name of its own, for uuid= means a device to whoever reads devices alone.
func (m *MIGInstance) keys() []key {
	return []key{
		{"mig_uuid", &m.UUID}, {"gpu_instance", &m.GPUInstance}, {"compute_instance", &m.ComputeInstance}, {"profile", &m.Profile},
		{"placement_start", &m.PlacementStart}, {"placement_size", &m.PlacementSize},
		{"memory_total_bytes", &m.MemoryTotalBytes}, {"memory_reserved_bytes", &m.MemoryReservedBytes}, {"memory_used_bytes", &m.MemoryUsedBytes},
		{"gpm", &m.GPM}, {"process", &m.Processes}, {"error", &m.Errors},
	}
}

// writeKeys writes all that is not zero or empty. The library takes what is missing for that.
func writeKeys(b *bytes.Buffer, keys []key) error {
	for _, k := range keys {
		for _, value := range k.values() {
			if strings.ContainsAny(value, "#\n=") || strings.TrimSpace(value) != value {
				return fmt.Errorf("%s %q may hold no #, = or line break, nor begin or end in white space", k.name, value)
			}
			fmt.Fprintf(b, "%s=%s\n", k.name, value)
		}
	}
	return nil
}

// values returns the key's lines, without its name.
func (k key) values() []string {
	switch at := k.at.(type) {
	case *string:
		return unlessZero(*at, *at)
	case *int:
		return unlessZero(*at, strconv.Itoa(*at))
	case *int64:
		return unlessZero(*at, strconv.FormatInt(*at, 10))
	case *uint64:
		return unlessZero(*at, strconv.FormatUint(*at, 10))
	case *bool:
		return unlessZero(*at, "1")
	case *[]string:
		return *at
	case *map[string]int:
		return pairs(*at, strconv.Itoa)
	case *map[int]uint64:
		return pairs(*at, func(v uint64) string { return strconv.FormatUint(v, 10) })
	case *map[int]float64:
		if *at != nil && len(*at) == 0 {
			return []string{""} // a monitor that knows of nothing is one all the same
		}
		return pairs(*at, func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) })
	case *[]Burst:
		return each(*at, func(b Burst) string {
			return fmt.Sprintf("%d:%d:%d", b.StartMicroseconds, b.LengthMicroseconds, b.Percent)
		})
	case *[]XID:
		return each(*at, func(x XID) string { return fmt.Sprintf("%d:%d", x.Sequence, x.Code) })
	case *[]Process:
		return each(*at, Process.format)
	}
	panic(fmt.Sprintf("key %s is kept in a %T", k.name, k.at))
}

func unlessZero[T comparable](v T, text string) []string {
	if v == *new(T) {
		return nil
	}
	return []string{text}
}

func pairs[K int | string, V any](m map[K]V, format func(V) string) []string {
	var lines []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		lines = append(lines, fmt.Sprintf("%v:%s", k, format(m[k])))
	}
	return lines
}

func each[T any](items []T, format func(T) string) []string {
	var lines []string
	for _, item := range items {
		lines = append(lines, format(item))
	}
	return lines
}

// format is the short form where the long one says no more.
func (p Process) format() string {
	short := fmt.Sprintf("%d:%d:%d", p.PID, p.UsedBytes, p.SMPercent)
	if p == (Process{PID: p.PID, UsedBytes: p.UsedBytes, SMPercent: p.SMPercent}) {
		return short
	}
	return fmt.Sprintf("%s:%d:%d:%d:%s:%s:%s", short, p.MemoryPercent, p.EncoderPercent, p.DecoderPercent, p.Kind,
		instanceText(p.GPUInstance), instanceText(p.ComputeInstance))
}

func instanceText(id *int) string {
	if id == nil {
		return "-"
	}
	return strconv.Itoa(*id)
}
