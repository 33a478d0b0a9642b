package fakedcgm

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Numbers of the fields that identify a device (dcgm_fields.h).
const (
	FieldDriverVersion = 1
	FieldName          = 50
	FieldNVMLIndex     = 52
	FieldUUID          = 54
	FieldMinor         = 55
	FieldPCIBusID      = 57
	FieldMemoryTotal   = 250 // MiB
)

// Default returns an engine with n idle H100 GPUs that are known by name and not measured.
func Default(n int) Scenario {
	var s Scenario
	for i := range n {
		s.Entities = append(s.Entities, Entity{Kind: GPU, ID: i, NVMLIndex: i, Fields: map[int]Value{
			FieldDriverVersion: Text("570.124.06"),
			FieldName:          Text("NVIDIA H100 80GB HBM3"),
			FieldNVMLIndex:     Int(int64(i)),
			FieldUUID:          Text(fmt.Sprintf("GPU-f0e7de00-0000-4000-8000-%012d", i)),
			FieldMinor:         Int(int64(i)),
			FieldPCIBusID:      Text(fmt.Sprintf("00000000:%02X:00.0", 0x1b+i)),
			FieldMemoryTotal:   Int(81559),
		}})
	}
	return s
}

// AddMIG divides a GPU further: by a GPU instance of the profile, with the given share of the memory in MiB, that holds one
// compute instance. It returns the GPU instance, to give it values.
func (s *Scenario) AddMIG(gpu int, profile string, memoryMiB int64) *Entity {
	n := 0
	for _, e := range s.Entities {
		if e.Kind == GPUInstance {
			n++
		}
	}
	instance := Entity{Kind: GPUInstance, ID: n, Parent: gpu, NVMLIndex: gpu, GPUInstance: n + 7,
		Fields: map[int]Value{FieldName: Text(profile), FieldMemoryTotal: Int(memoryMiB)}}
	compute := Entity{Kind: ComputeInstance, ID: n, Parent: n, NVMLIndex: gpu, GPUInstance: n + 7,
		Fields: map[int]Value{FieldUUID: Text(fmt.Sprintf("MIG-f0e7de00-0000-4000-8000-%012d", n))}}
	s.Entities = append(s.Entities, compute, instance)
	return &s.Entities[len(s.Entities)-1]
}

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
	if err := temp.Close(); err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
}

func (s Scenario) format() ([]byte, error) {
	if len(s.Entities) > MaxEntities {
		return nil, fmt.Errorf("%d entities: at most %d are allowed", len(s.Entities), MaxEntities)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "address=%s\nconnect_error=%d\nrun=%d\nprofiling_error=%d\nhierarchy_error=%d\ninterval_us=%d\nhang=%s\n",
		s.Address, s.ConnectError, s.Run, s.ProfilingError, s.HierarchyError, s.Interval.Microseconds(), s.Hang)
	for _, e := range s.Entities {
		if len(e.Fields) > MaxFields {
			return nil, fmt.Errorf("entity %d %d has %d fields: at most %d are allowed", e.Kind, e.ID, len(e.Fields), MaxFields)
		}
		fmt.Fprintf(&b, "[entity %d %d]\nparent=%d\nnvml_gpu=%d\ngpu_instance=%d\ncompute_instance=%d\nerror=%d\n",
			e.Kind, e.ID, e.Parent, e.NVMLIndex, e.GPUInstance, e.ComputeInstance, e.Error)
		for _, id := range slices.Sorted(maps.Keys(e.Fields)) {
			v := e.Fields[id]
			if strings.ContainsAny(v.text, "\n=") {
				return nil, fmt.Errorf("field %d: %q may hold no = or line break", id, v.text)
			}
			fmt.Fprintf(&b, "field=%d:%d:%d:%c:%s\n", id, v.status, v.age/time.Millisecond, v.kind, v.text)
		}
	}
	return b.Bytes(), nil
}
