//go:build conformance

package conformance

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/test/fakenvml"
)

// steps are the shares of 8 pods on one GPU in per cent, one load after the other.
var steps = [][]int{
	{10, 10, 10, 10, 10, 10, 10, 10},
	{50, 20, 10, 5, 3, 2, 1, 0},
	{0, 0, 0, 0, 0, 0, 0, 97},
	{0, 0, 0, 0, 0, 0, 0, 0},
	{33, 1, 0, 17, 0, 9, 23, 4},
}

func knownShares(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 1))
	d := &w.Scenario.Devices[0]
	var pods []string
	for i := range steps[0] {
		pods = append(pods, fmt.Sprintf("bert-%d", i))
	}
	w.shared("nvidia.com/gpu", d.UUID, pods...)
	w.start()
	largest := 0.0
	for _, shares := range steps {
		busy(d, shares...)
		w.play()
		played := time.Now()
		// The driver's samples are a sixth of a second apart: half a second after the step they are of the new load alone.
		settled := 0
		w.batch(fmt.Sprintf("three windows of %v", shares), func(b telemetry.Batch) bool {
			if !b.Start.After(played.Add(500*time.Millisecond)) || len(b.Usages) != len(pods) {
				return false
			}
			for i, pod := range pods {
				if u := used(b, pod, d.UUID); u >= 0 {
					largest = max(largest, math.Abs(u-float64(shares[i])/100))
				} else {
					t.Errorf("of %s it is not known how busy it was", pod)
				}
			}
			settled++
			return settled == 3
		})
	}
	fmt.Printf("        largest error of 8 pods over %d loads: %.2f percentage points\n", len(steps), 100*largest)
	if largest > 0.01 {
		t.Errorf("a pod's share is off by %.2f percentage points", 100*largest)
	}
}

// crowd is a node with a GPU that three pods share, a process of no pod among theirs, a GPU held by one, and one divided by MIG.
func crowd(t *testing.T) *world {
	s := profile(t, "h100", 3)
	var err error
	if s.Devices[2], err = fakenvml.WithMIG(s.Devices[2], "1g.10gb", "3g.40gb"); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, s)
	w.shared("nvidia.com/gpu", s.Devices[0].UUID, "bert-0", "bert-1", "bert-2")
	w.hold(append(w.holders, holder("train-0", "model", "nvidia.com/gpu", s.Devices[1].UUID),
		holder("mig-0", "model", "nvidia.com/mig-1g.10gb", s.Devices[2].MIGInstances[0].UUID))...)
	if err := w.Process(104, "0::/user.slice\n"); err != nil {
		t.Fatal(err)
	}
	return w
}

// load changes what the crowd does; k counts up.
func (w *world) load(k int) {
	devices := w.Scenario.Devices
	busy(&devices[0], (7*k)%40, (13*k)%30, k%10, (3*k)%20)
	devices[0].UtilizationMemoryPercent, devices[0].EncoderPercent = (5*k)%60, k%7
	devices[1].UtilizationGPUPercent, devices[1].MemoryUsedBytes = (11*k)%100, uint64(k%50)<<30
	devices[1].Processes = []fakenvml.Process{{PID: 102, UsedBytes: 1 << 20, SMPercent: k % 9}} // not its holder's
	devices[2].MIGInstances[0].GPM[1], devices[2].MIGInstances[1].GPM[1] = float64((17*k)%100), float64((19*k)%100)
	for i := range devices {
		devices[i].PowerMilliwatts = 100_000 + 5000*((k*(i+3))%100)
	}
	w.play()
}

func sumsUp(t *testing.T) {
	const want = 200
	w := crowd(t)
	w.load(1)
	w.reportEach(100 * time.Millisecond) // a sample each; windows of two samples after three quarters
	w.start("--sampler.interval=100ms")
	n, checked := 0, map[telemetry.Metric]int{}
	for k := 2; n < want; k++ {
		if n >= want*3/4 {
			w.reportEach(200 * time.Millisecond)
		}
		switch k % 40 { // pods come and go too
		case 20:
			w.Kubelet.Set(w.holders[1:])
		case 0:
			w.Kubelet.Set(w.holders)
		}
		w.load(k)
		w.batch("a few windows", func(b telemetry.Batch) bool {
			n++
			checkSums(t, b, checked)
			return n%3 == 0
		})
		if t.Failed() {
			return
		}
	}
	for _, row := range telemetry.Catalogue() {
		if row.Split.Sums() && row.Kind == telemetry.Gauge && checked[row.Metric] < want {
			t.Errorf("%s was there only %d times in %d batches of three GPUs", row.Name, checked[row.Metric], n)
		}
	}
}

// checkSums compares every device with what its owners and nobody have of it. What a GPU in MIG mode draws its instances' owners have.
func checkSums(t *testing.T, b telemetry.Batch, checked map[telemetry.Metric]int) {
	parent := map[string]string{}
	for _, r := range b.Readings {
		parent[r.Device.UUID] = r.Device.MIG.ParentUUID
	}
	for _, r := range b.Readings {
		for m, whole := range r.Values {
			if !m.Definition().Split.Sums() || m.Definition().Kind == telemetry.Counter {
				continue
			}
			sum, divided := r.Unattributed[m]
			if !divided {
				continue
			}
			checked[m]++
			for _, u := range b.Usages {
				if u.DeviceUUID == r.Device.UUID || m.Definition().Split == telemetry.SplitTime && parent[u.DeviceUUID] == r.Device.UUID {
					sum += u.Values[m]
				}
			}
			if math.Abs(sum-whole) > 1e-6*max(1, math.Abs(whole)) {
				t.Errorf("batch %d: %s of %s is %v, its parts make up %v", b.Sequence, m.Definition().Name, r.Device.UUID, whole, sum)
			}
		}
		for _, u := range b.Usages {
			if v := u.Values[telemetry.UtilizationMean]; u.DeviceUUID == r.Device.UUID && (v < 0 || v > r.Values[telemetry.UtilizationMean]+1e-9) {
				t.Errorf("batch %d: %s has %v of %v", b.Sequence, u.Owner.Pod, v, r.Values[telemetry.UtilizationMean])
			}
		}
	}
}

func energyOfPods(t *testing.T) {
	w := crowd(t)
	w.load(5)
	w.start()
	counted := func(b telemetry.Batch, uuid string) (device, parts float64) {
		r, _ := reading(b, uuid)
		device, parts = r.Values[telemetry.Energy], r.Unattributed[telemetry.Energy]
		for _, u := range b.Usages {
			if u.DeviceUUID == uuid {
				parts += u.Values[telemetry.Energy]
			}
		}
		if uuid == w.Scenario.Devices[2].UUID {
			for _, i := range w.Scenario.Devices[2].MIGInstances {
				u, _ := usage(b, "mig-0", i.UUID)
				parts += u.Values[telemetry.Energy]
			}
		}
		return device, parts
	}
	first := w.batch("energy of everybody", func(b telemetry.Batch) bool {
		for _, d := range w.Scenario.Devices {
			if _, parts := counted(b, d.UUID); parts == 0 {
				return false
			}
		}
		return true
	})
	var last telemetry.Batch
	for k := 6; k < 16; k++ {
		w.load(k)
		last = w.batch("a batch", func(telemetry.Batch) bool { return true })
	}
	for i, d := range w.Scenario.Devices {
		before, partsBefore := counted(first, d.UUID)
		after, partsAfter := counted(last, d.UUID)
		drawn, accounted := after-before, partsAfter-partsBefore
		rounding := 1e-3 * float64(1+len(last.Usages)) // each total is rounded to a millijoule
		if drawn < 50 || math.Abs(drawn-accounted) > rounding+1e-6*drawn {
			t.Errorf("GPU %d drew %v J; pods and idle time account for %v", i, drawn, accounted)
		}
	}
	for _, pod := range []string{"bert-0", "train-0", "mig-0"} {
		for _, u := range last.Usages {
			if u.Owner.Pod == pod && u.Values[telemetry.Energy] <= 0 {
				t.Errorf("%s drew nothing: %v", pod, u.Values)
			}
		}
	}
}
