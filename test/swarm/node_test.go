package swarm

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/foretide/foretide/pkg/telemetry"
)

var begin = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

func window(n *Node, i int) telemetry.Frame {
	return n.Next(begin.Add(time.Duration(i)*time.Second), begin.Add(time.Duration(i+1)*time.Second))
}

func TestGPUHas20ValuesOrAllOfTheCatalogue(t *testing.T) {
	if f := window(NewNode("n", "s", 0, 1, NodeOptions{}), 0); f.Layout.Len() != 160 || len(f.Values) != 160 {
		t.Errorf("8 GPUs have %d values, layout %d; want 160", len(f.Values), f.Layout.Len())
	}
	want := 0
	for _, d := range telemetry.Catalogue() {
		want++
		if d.Split != telemetry.SplitNone {
			want++
		}
		if d.Split.Sums() {
			want++
		}
	}
	if f := window(NewNode("n", "s", 0, 1, NodeOptions{GPUs: 1, Full: true}), 0); len(f.Values) != want {
		t.Errorf("a GPU has %d values; the catalogue has %d", len(f.Values), want)
	}
}

func TestSameSeedMakesTheSameFrames(t *testing.T) {
	a, b, other := NewNode("n", "s", 3, 7, NodeOptions{PodLife: time.Minute}), NewNode("n", "s", 3, 7, NodeOptions{PodLife: time.Minute}), NewNode("n", "s", 4, 7, NodeOptions{})
	differs := false
	for i := range 200 {
		x, y, z := window(a, i), window(b, i), window(other, i)
		if !slices.Equal(x.Values, y.Values) || !slices.Equal(x.Layout.Uses, y.Layout.Uses) {
			t.Fatalf("window %d differs between two nodes of one seed", i)
		}
		differs = differs || !slices.Equal(x.Values, z.Values)
	}
	if !differs {
		t.Error("two nodes are always the same")
	}
}

func TestLayoutStaysUntilAPodComesOrGoes(t *testing.T) {
	still, changing := NewNode("n", "s", 0, 1, NodeOptions{}), NewNode("n", "s", 0, 1, NodeOptions{PodLife: 100 * time.Second})
	first, layouts, free := window(still, 0).Layout, map[*telemetry.Layout]bool{}, 0
	for i := range 500 {
		if window(still, i+1).Layout != first {
			t.Fatalf("the layout changed in window %d although no pod did", i+1)
		}
		f := window(changing, i)
		layouts[f.Layout] = true
		free += 8 - len(f.Layout.Uses)
	}
	if len(layouts) < 20 || free < 20 {
		t.Errorf("in 500 s, with pods that live 100 s on 8 GPUs, %d layouts and %d windows without a pod", len(layouts), free)
	}
}

func TestPodAndWhatNobodyUsedMakeUpTheDevice(t *testing.T) {
	n := NewNode("n", "s", 0, 1, NodeOptions{Full: true, PodLife: 20 * time.Second})
	for i := range 200 {
		b := window(n, i).Batch()
		used := map[string]telemetry.Values{}
		for _, u := range b.Usages {
			used[u.DeviceUUID] = u.Values
		}
		for _, r := range b.Readings {
			for m, v := range r.Unattributed {
				if m == telemetry.Energy {
					continue // a counter: only the increases add up
				}
				if sum := v + used[r.Device.UUID][m]; math.Abs(sum-r.Values[m]) > 0.002 {
					t.Fatalf("window %d, %s: pod %v and nobody %v are not %v", i, m.Definition().Name, used[r.Device.UUID][m], v, r.Values[m])
				}
			}
		}
	}
}

func TestSeriesOfAFrameAreNamedAsTheHistoryNamesThem(t *testing.T) {
	f := window(NewNode("n", "s", 0, 1, NodeOptions{GPUs: 1, Full: true}), 0)
	names := Series(f.Node, f.Layout)
	if len(names) != len(f.Values) {
		t.Fatalf("%d names for %d values", len(names), len(f.Values))
	}
	uuid, pod := f.Layout.Devices[0].UUID, f.Layout.Pods[0].Name
	for _, want := range []string{
		`{__name__="foretide_device_power_watts", gpu="0", model="NVIDIA H100 80GB HBM3", node="n", uuid="` + uuid + `"}`,
		`{__name__="foretide_pod_power_watts", container="model", namespace="team-0", node="n", pod="` + pod + `", uuid="` + uuid + `"}`,
		`{__name__="foretide_unattributed_power_watts", node="n", uuid="` + uuid + `"}`,
	} {
		if !slices.Contains(names, want) {
			t.Errorf("no series %s", want)
		}
	}
}

func BenchmarkNext(b *testing.B) {
	n := NewNode("n", "s", 0, 1, NodeOptions{})
	b.ReportAllocs()
	for i := range b.N {
		window(n, i)
	}
}
