package fakenvml

import (
	"fmt"
	"maps"
	"slices"
)

// memorySlices is how many a GPU is divided into: A100, H100, H200 and B200 have eight (NVIDIA MIG user guide, partitioning).
const memorySlices = 8

// migProfile is one way to cut a GPU instance out of a GPU.
type migProfile struct {
	slices int   // memory slices it occupies
	starts []int // where it may begin
	firstGPUInstance,
	gpuInstances int // the driver's numbers of such instances: the first, and how many there are
}

// migOf names the profiles of a GPU by the gigabytes of each. Placements and numbers are what nvidia-smi mig -lgipp and -lgi
// print (NVIDIA MIG user guide, getting started with MIG).
func migOf(one, oneWide, two, three, four, seven string) map[string]migProfile {
	return map[string]migProfile{
		"1g." + one + "gb":     {1, []int{0, 1, 2, 3, 4, 5, 6}, 7, 7},
		"1g." + one + "gb+me":  {1, []int{0, 1, 2, 3, 4, 5, 6}, 7, 7},
		"1g." + oneWide + "gb": {2, []int{0, 2, 4, 6}, 3, 4},
		"2g." + two + "gb":     {2, []int{0, 2, 4}, 3, 4},
		"3g." + three + "gb":   {4, []int{0, 4}, 1, 2},
		"4g." + four + "gb":    {4, []int{0}, 1, 2},
		"7g." + seven + "gb":   {8, []int{0}, 0, 1},
	}
}

// WithMIG returns the device of a [Profile] in MIG mode, with an instance of each of the MIG profiles, such as 1g.10gb, at the
// first place that is free. Each instance is idle, with its part of the memory and the performance monitor of its GPU.
func WithMIG(d Device, migProfiles ...string) (Device, error) {
	known := profilesOf(d.Name)
	if known == nil {
		return Device{}, fmt.Errorf("%s has no MIG", d.Name)
	}
	d.MIGMode, d.MIGInstances = true, nil
	var occupied [memorySlices]bool
	used := map[int]bool{}
	for i, name := range migProfiles {
		p, ok := known[name]
		if !ok {
			return Device{}, fmt.Errorf("MIG profile %q is not one of %q", name, slices.Sorted(maps.Keys(known)))
		}
		start, gpuInstance := p.place(&occupied), p.number(used)
		if start < 0 || gpuInstance < 0 {
			return Device{}, fmt.Errorf("there is no room for MIG profile %s beside %q", name, migProfiles[:i])
		}
		part := func(bytes uint64) uint64 { return bytes * uint64(p.slices) / memorySlices }
		d.MIGInstances = append(d.MIGInstances, MIGInstance{
			UUID: fmt.Sprintf("MIG-f0e7de00-0000-5000-%04d-%012d", d.Minor, gpuInstance), Profile: name, GPUInstance: gpuInstance,
			PlacementStart: start, PlacementSize: p.slices,
			MemoryTotalBytes: part(d.MemoryTotalBytes), MemoryReservedBytes: part(d.MemoryReservedBytes),
			GPM: maps.Clone(d.GPM),
		})
	}
	return d, nil
}

func profilesOf(name string) map[string]migProfile {
	for _, p := range profiles {
		if p.name == name {
			return p.mig
		}
	}
	return nil
}

// place occupies the first place that is free and returns where it begins; -1 when there is none.
func (p migProfile) place(occupied *[memorySlices]bool) int {
	for _, start := range p.starts {
		if !slices.Contains(occupied[start:start+p.slices], true) {
			for i := range p.slices {
				occupied[start+i] = true
			}
			return start
		}
	}
	return -1
}

// number takes the first of the profile's numbers that is free; -1 when there is none.
func (p migProfile) number(used map[int]bool) int {
	for n := p.firstGPUInstance; n < p.firstGPUInstance+p.gpuInstances; n++ {
		if !used[n] {
			used[n] = true
			return n
		}
	}
	return -1
}
