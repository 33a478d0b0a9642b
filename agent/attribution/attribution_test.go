package attribution

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/foretide/foretide/pkg/telemetry"
)

func reading(uuid string, utilization float64) telemetry.Reading {
	return telemetry.Reading{Device: telemetry.Device{UUID: uuid},
		Values: telemetry.Values{telemetry.UtilizationMean: utilization, telemetry.MemoryUsed: 1 << 30}}
}

func owner(pod string) telemetry.Owner {
	return telemetry.Owner{Namespace: "ns", Pod: pod, Container: "c"}
}

func TestOnlyOwnerGetsTheWholeReading(t *testing.T) {
	usages, problems := Attribute([]telemetry.Reading{reading("GPU-1", 0.4), reading("GPU-2", 0.1)},
		map[string][]telemetry.Owner{"GPU-2": {owner("a")}})
	want := []telemetry.Usage{{Owner: owner("a"), DeviceUUID: "GPU-2", Attribution: telemetry.AttributionExclusive,
		Values: telemetry.Values{telemetry.UtilizationMean: 0.1, telemetry.MemoryUsed: 1 << 30}}}
	if d := cmp.Diff(want, usages); d != "" || problems != nil {
		t.Errorf("(-want +got)\n%s problems %q", d, problems)
	}
}

func TestIdleOwnerIsPresentWithZero(t *testing.T) {
	usages, _ := Attribute([]telemetry.Reading{reading("GPU-1", 0)}, map[string][]telemetry.Owner{"GPU-1": {owner("a")}})
	if len(usages) != 1 {
		t.Fatalf("usages = %v", usages)
	}
	if u, ok := usages[0].Values[telemetry.UtilizationMean]; !ok || u != 0 {
		t.Errorf("utilization = %v, %v; want 0, present", u, ok)
	}
}

func TestSharedDeviceIsAttributedToNobodyAndNamed(t *testing.T) {
	usages, problems := Attribute([]telemetry.Reading{reading("GPU-1", 1)},
		map[string][]telemetry.Owner{"GPU-1": {owner("a"), owner("b")}})
	if len(usages) != 0 || len(problems) != 1 || !strings.Contains(problems[0], "ns/a (c), ns/b (c)") {
		t.Errorf("usages %v, problems %q; want none, one that names both", usages, problems)
	}
}

func TestOwnerOfADeviceThatWasNotReadIsNamed(t *testing.T) {
	usages, problems := Attribute(nil, map[string][]telemetry.Owner{"GPU-1": {owner("a")}, "GPU-2": {}})
	if len(usages) != 0 || len(problems) != 1 || !strings.Contains(problems[0], "GPU-1 of ns/a (c) was not read") {
		t.Errorf("usages %v, problems %q", usages, problems)
	}
}

func TestMetricThatWasNotMeasuredStaysAbsent(t *testing.T) {
	r := telemetry.Reading{Device: telemetry.Device{UUID: "GPU-1"}, Values: telemetry.Values{telemetry.MemoryUsed: 5}}
	usages, _ := Attribute([]telemetry.Reading{r}, map[string][]telemetry.Owner{"GPU-1": {owner("a")}})
	if _, ok := usages[0].Values[telemetry.UtilizationMean]; ok {
		t.Error("a utilization appeared that nobody measured")
	}
}

// Whatever the readings and owners are: per device and metric, usages plus what is left over make the reading, no usage is
// of a device that was not read, and no pod gets a device it does not hold.
func TestUsagesAndTheRestAddUpToTheReading(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var readings []telemetry.Reading
		owners := map[string][]telemetry.Owner{}
		for i := range random.IntN(9) {
			uuid := fmt.Sprintf("GPU-%d", i)
			if random.IntN(8) > 0 {
				readings = append(readings, reading(uuid, random.Float64()))
			}
			for range random.IntN(4) {
				owners[uuid] = append(owners[uuid], owner(fmt.Sprint(random.IntN(5))))
			}
		}
		usages, _ := Attribute(readings, owners)
		used := map[string]telemetry.Values{}
		for _, u := range usages {
			if len(owners[u.DeviceUUID]) != 1 || owners[u.DeviceUUID][0] != u.Owner {
				t.Fatalf("%v got device %s, which %v hold", u.Owner, u.DeviceUUID, owners[u.DeviceUUID])
			}
			if used[u.DeviceUUID] == nil {
				used[u.DeviceUUID] = telemetry.Values{}
			}
			for m, v := range u.Values {
				used[u.DeviceUUID][m] += v
			}
		}
		for _, r := range readings {
			for m, whole := range r.Values {
				rest := whole
				if len(owners[r.Device.UUID]) == 1 {
					rest = 0
				}
				if got := used[r.Device.UUID][m] + rest; math.Abs(got-whole) > 1e-12*whole {
					t.Fatalf("device %s metric %d: %v used + %v left = %v; want %v", r.Device.UUID, m, used[r.Device.UUID][m], rest, got, whole)
				}
			}
			delete(used, r.Device.UUID)
		}
		if len(used) != 0 {
			t.Fatalf("usages of devices that were not read: %v", used)
		}
	}
}
