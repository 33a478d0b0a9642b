package slices

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	resourcev1 "k8s.io/api/resource/v1"
	resourcev1beta1 "k8s.io/api/resource/v1beta1"
	resourcev1beta2 "k8s.io/api/resource/v1beta2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

func encode(t testing.TB, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// apiSlice is a ResourceSlice of driver gpu.nvidia.com with devices that have these attributes, given as name, key, value.
func apiSlice(pool string, generation int64, attributes ...[3]string) resourcev1.ResourceSlice {
	s := resourcev1.ResourceSlice{ObjectMeta: metav1.ObjectMeta{Name: pool}, Spec: resourcev1.ResourceSliceSpec{
		Driver: "gpu.nvidia.com", NodeName: ptr.To("node-1"),
		Pool: resourcev1.ResourcePool{Name: pool, Generation: generation, ResourceSliceCount: 1},
	}}
	for _, a := range attributes {
		n := len(s.Spec.Devices)
		if n == 0 || s.Spec.Devices[n-1].Name != a[0] {
			s.Spec.Devices = append(s.Spec.Devices, resourcev1.Device{Name: a[0], Attributes: map[resourcev1.QualifiedName]resourcev1.DeviceAttribute{
				"driverVersion": {VersionValue: ptr.To("580.1.0")}, "numa": {IntValue: ptr.To(int64(1))}, "ecc": {BoolValue: ptr.To(true)},
			}})
			n++
		}
		s.Spec.Devices[n-1].Attributes[resourcev1.QualifiedName(a[1])] = resourcev1.DeviceAttribute{StringValue: ptr.To(a[2])}
	}
	return s
}

func apiList(slices ...resourcev1.ResourceSlice) resourcev1.ResourceSliceList {
	return resourcev1.ResourceSliceList{TypeMeta: metav1.TypeMeta{APIVersion: "resource.k8s.io/v1", Kind: "ResourceSliceList"}, Items: slices}
}

func TestDevicesAreReadFromSlices(t *testing.T) {
	got, err := Parse(encode(t, apiList(apiSlice("node-1", 3,
		[3]string{"gpu-0-mig-1g10gb-19-2", "type", "mig"}, // made when needed: there is no UUID
		[3]string{"gpu-0-mig-1g10gb-19-2", "parentUUID", "GPU-0"},
		[3]string{"gpu-0-mig-1g10gb-19-2", "profile", "1g.10gb"},
		[3]string{"gpu-1", "type", "gpu"},
		[3]string{"gpu-1", "uuid", "GPU-1"},
		[3]string{"gpu-2", "gpu.nvidia.com/uuid", "GPU-2"},
		[3]string{"gpu-3", "other.example.com/uuid", "GPU-3"},
	))))
	if err != nil {
		t.Fatal(err)
	}
	device := func(name, uuid string) Device {
		return Device{Driver: "gpu.nvidia.com", Pool: "node-1", Name: name, UUID: uuid}
	}
	mig, whole := device("gpu-0-mig-1g10gb-19-2", ""), device("gpu-1", "GPU-1")
	mig.Type, mig.ParentUUID, mig.Profile, whole.Type = "mig", "GPU-0", "1g.10gb", "gpu"
	if d := cmp.Diff([]Device{mig, whole, device("gpu-2", "GPU-2"), device("gpu-3", "")}, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestOlderVersionsAreReadToo(t *testing.T) {
	want := []Device{{Driver: "gpu.nvidia.com", Pool: "p", Name: "gpu-0", UUID: "GPU-0"}}
	beta1 := resourcev1beta1.ResourceSliceList{Items: []resourcev1beta1.ResourceSlice{{Spec: resourcev1beta1.ResourceSliceSpec{
		Driver: "gpu.nvidia.com", Pool: resourcev1beta1.ResourcePool{Name: "p"}, Devices: []resourcev1beta1.Device{{Name: "gpu-0",
			Basic: &resourcev1beta1.BasicDevice{Attributes: map[resourcev1beta1.QualifiedName]resourcev1beta1.DeviceAttribute{"uuid": {StringValue: ptr.To("GPU-0")}}}}},
	}}}}
	beta2 := resourcev1beta2.ResourceSliceList{Items: []resourcev1beta2.ResourceSlice{{Spec: resourcev1beta2.ResourceSliceSpec{
		Driver: "gpu.nvidia.com", Pool: resourcev1beta2.ResourcePool{Name: "p"}, Devices: []resourcev1beta2.Device{{Name: "gpu-0",
			Attributes: map[resourcev1beta2.QualifiedName]resourcev1beta2.DeviceAttribute{"uuid": {StringValue: ptr.To("GPU-0")}}}},
	}}}}
	for version, list := range map[string]any{"v1beta1": beta1, "v1beta2": beta2} {
		got, err := Parse(encode(t, list))
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Errorf("%s: %v (-want +got)\n%s", version, err, d)
		}
	}
}

func TestOnlyTheNewestGenerationOfAPoolCounts(t *testing.T) {
	got, err := Parse(encode(t, apiList(
		apiSlice("a", 1, [3]string{"gpu-0", "uuid", "old"}, [3]string{"gpu-9", "uuid", "removed"}),
		apiSlice("a", 2, [3]string{"gpu-0", "uuid", "new"}),
		apiSlice("a", 2, [3]string{"gpu-1", "uuid", "second slice"}),
		apiSlice("b", 1, [3]string{"gpu-0", "uuid", "other pool"}),
	)))
	if err != nil {
		t.Fatal(err)
	}
	var uuids []string
	for _, d := range got {
		uuids = append(uuids, d.UUID)
	}
	if d := cmp.Diff([]string{"new", "second slice", "other pool"}, uuids); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestWhatIsNoListIsAnError(t *testing.T) {
	for name, data := range map[string]string{"nothing": "", "no JSON": "<html>", "another type": `{"items": 3}`,
		"too much": `{"items":[]` + strings.Repeat(" ", maxBody) + "}"} {
		if _, err := Parse([]byte(data)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(encode(f, apiList(apiSlice("a", 1, [3]string{"gpu-0", "uuid", "GPU-0"}), apiSlice("a", 2, [3]string{"gpu-0", "uuid", "GPU-1"}))))
	f.Add([]byte(`{"items":[{"spec":{"driver":"d","devices":[{"name":"x","basic":null},{"name":"x"},{}]}},{}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		devices, err := Parse(data)
		if err != nil && devices != nil {
			t.Errorf("devices %v and error %v", devices, err)
		}
		seen := map[key]bool{}
		for _, d := range devices {
			if d.Driver == "" || d.Name == "" || seen[d.key()] {
				t.Errorf("device %+v has no name, or is there twice", d)
			}
			seen[d.key()] = true
		}
	})
}
