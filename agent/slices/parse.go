// Package slices finds the UUIDs of devices that were given out by Dynamic Resource Allocation (DRA). The kubelet knows such a
// device by its driver, pool and name; the driver says in ResourceSlices what it is.
//
//	API server → ResourceSlices of this node → devices by driver, pool and name
package slices

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
)

// maxBody bounds one page of a list.
const maxBody = 8 << 20

// Device is a device of a ResourceSlice.
type Device struct {
	// Driver, Pool and Name are its identity: gpu.nvidia.com, usually the node's name, gpu-0.
	Driver, Pool, Name string
	// UUID is the one NVML reports. It is empty where the driver cannot say: of a MIG instance that is made when it is needed.
	UUID string
	// ParentUUID is the UUID of the GPU that a MIG instance is part of.
	ParentUUID string
	// Profile is the kind of a MIG instance, such as 1g.10gb.
	Profile string
	// Type is the driver's word: gpu, mig, vfio.
	Type string
}

// key is what the kubelet knows of a device.
type key struct{ driver, pool, name string }

func (d Device) key() key { return key{d.Driver, d.Pool, d.Name} }

// list is a ResourceSliceList of resource.k8s.io v1, v1beta2 or v1beta1, as far as it is needed.
type list struct {
	Metadata struct {
		Continue string `json:"continue"`
	} `json:"metadata"`
	Items []slice `json:"items"`
}

type slice struct {
	Spec struct {
		Driver string `json:"driver"`
		Pool   struct {
			Name       string `json:"name"`
			Generation int64  `json:"generation"`
		} `json:"pool"`
		Devices []struct {
			Name       string     `json:"name"`
			Attributes attributes `json:"attributes"`
			// Basic is where v1beta1 has the attributes.
			Basic struct {
				Attributes attributes `json:"attributes"`
			} `json:"basic"`
		} `json:"devices"`
	} `json:"spec"`
}

// attributes are by name, with or without the driver's domain before it.
type attributes map[string]struct {
	String string `json:"string"`
}

func (a attributes) text(driver, name string) string {
	if value, found := a[name]; found {
		return value.String
	}
	return a[driver+"/"+name].String
}

// Parse returns the devices of a ResourceSliceList in JSON, by driver, pool and name. Of a pool only the newest generation
// counts: a driver raises it with each change of the pool, and replaces the slices one after the other.
func Parse(data []byte) ([]Device, error) {
	page, err := parseList(data)
	if err != nil {
		return nil, err
	}
	return newest(page.Items), nil
}

func parseList(data []byte) (list, error) {
	if len(data) > maxBody {
		return list{}, fmt.Errorf("list of ResourceSlices has more than %d MiB", maxBody>>20)
	}
	var page list
	if err := json.Unmarshal(data, &page); err != nil {
		return list{}, fmt.Errorf("list of ResourceSlices: %w", err)
	}
	return page, nil
}

func newest(items []slice) []Device {
	type pool struct{ driver, name string }
	generations := map[pool]int64{}
	for _, s := range items {
		p := pool{s.Spec.Driver, s.Spec.Pool.Name}
		if g, found := generations[p]; !found || s.Spec.Pool.Generation > g {
			generations[p] = s.Spec.Pool.Generation
		}
	}
	var devices []Device
	for _, s := range items {
		driver := s.Spec.Driver
		if driver == "" || s.Spec.Pool.Generation < generations[pool{driver, s.Spec.Pool.Name}] {
			continue
		}
		for _, d := range s.Spec.Devices {
			a := d.Attributes
			if len(a) == 0 {
				a = d.Basic.Attributes
			}
			if d.Name != "" {
				devices = append(devices, Device{
					Driver: driver, Pool: s.Spec.Pool.Name, Name: d.Name,
					UUID: a.text(driver, "uuid"), ParentUUID: a.text(driver, "parentUUID"),
					Profile: a.text(driver, "profile"), Type: a.text(driver, "type"),
				})
			}
		}
	}
	slices.SortStableFunc(devices, func(a, b Device) int {
		return cmp.Or(cmp.Compare(a.Driver, b.Driver), cmp.Compare(a.Pool, b.Pool), cmp.Compare(a.Name, b.Name))
	})
	return slices.CompactFunc(devices, func(a, b Device) bool { return a.key() == b.key() })
}
