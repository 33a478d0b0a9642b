package live

import (
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/foretide/foretide/pkg/telemetry"
)

// fleet is what one node with eight GPUs says: each GPU has so many pods, and each pod the whole GPU or its part.
func fleet(node string, podsPerGPU int) telemetry.Batch {
	b := telemetry.Batch{Node: node, Session: "s", Sequence: 1, Start: at(0), End: at(1), OwnersKnown: true}
	for gpu := range 8 {
		uuid := fmt.Sprintf("GPU-%s-%08x", node, gpu)
		r := telemetry.Reading{Device: telemetry.Device{UUID: uuid, Index: gpu, Model: "NVIDIA H100 80GB HBM3"}, Values: telemetry.Values{}}
		for m := telemetry.UtilizationMean; m < telemetry.UtilizationMean+12; m++ {
			r.Values[m] = 0.5
		}
		b.Readings = append(b.Readings, r)
		for pod := range podsPerGPU {
			u := telemetry.Usage{Owner: telemetry.Owner{Namespace: "default", Pod: fmt.Sprintf("%s-%d-%d", node, gpu, pod), Container: "main"},
				DeviceUUID: uuid, Attribution: telemetry.AttributionExclusive, Values: telemetry.Values{}}
			for m := telemetry.UtilizationMean; m < telemetry.UtilizationMean+8; m++ {
				u.Values[m] = 0.5
			}
			b.Usages = append(b.Usages, u)
		}
	}
	return b
}

// later is the next frame of the same layout.
func later(f telemetry.Frame, by time.Duration) telemetry.Frame {
	f.Sequence++
	f.Start, f.End = f.End, f.End.Add(by)
	return f
}

func BenchmarkPut(b *testing.B) {
	for name, podsPerGPU := range map[string]int{"8 pods with a GPU each": 1, "64 pods on 8 GPUs": 8} {
		b.Run(name, func(b *testing.B) {
			v, err := New(Options{})
			if err != nil {
				b.Fatal(err)
			}
			var framer telemetry.Framer
			f := framer.Frame(fleet("a", podsPerGPU))
			b.ReportAllocs()
			for b.Loop() {
				f = later(f, time.Second)
				v.Put(f, f.End)
			}
		})
	}
}

// tenThousand is a view of that many nodes that report every 15 s, and the newest frame of each.
func tenThousand(b *testing.B) (*View, []telemetry.Frame) {
	v, err := New(Options{})
	if err != nil {
		b.Fatal(err)
	}
	frames := make([]telemetry.Frame, 10_000)
	for i := range frames {
		var framer telemetry.Framer
		frames[i] = framer.Frame(fleet(fmt.Sprintf("node-%d", i), 1))
	}
	for range 10 {
		for i := range frames {
			frames[i] = later(frames[i], 15*time.Second)
			frames[i].Values = slices.Clone(frames[i].Values)
			v.Put(frames[i], frames[i].End)
		}
	}
	return v, frames
}

// BenchmarkMemory reports what a view of 10,000 nodes with 8 GPUs takes beyond the layouts, which the streams hold too.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		v, frames := tenThousand(b)
		with := heap()
		runtime.KeepAlive(v) // and no longer
		for i := range frames {
			frames[i].Values = nil
		}
		b.ReportMetric(float64(with-heap())/float64(len(frames)), "B/node")
		runtime.KeepAlive(frames)
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkPutWhileEverythingIsRead reports the slowest of a hundred and of a thousand Puts while one reader asks for all pods
// and nodes of 10,000 without end.
func BenchmarkPutWhileEverythingIsRead(b *testing.B) {
	v, frames := tenThousand(b)
	now := frames[0].End
	var done atomic.Bool
	var reads, reading atomic.Int64
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for !done.Load() {
			began := time.Now()
			v.Pods(now.Add(-DefaultStaleAfter))
			v.Nodes(now)
			reading.Add(int64(time.Since(began)))
			reads.Add(1)
		}
	}()
	var took []time.Duration
	i := 0
	for b.Loop() {
		i = (i + 1) % len(frames)
		frames[i] = later(frames[i], 15*time.Second)
		began := time.Now()
		v.Put(frames[i], now)
		took = append(took, time.Since(began))
	}
	done.Store(true)
	<-ended
	slices.Sort(took)
	b.ReportMetric(took[len(took)*99/100].Seconds()*1e3, "p99-ms")
	b.ReportMetric(took[len(took)*999/1000].Seconds()*1e3, "p99.9-ms")
	b.ReportMetric(took[len(took)-1].Seconds()*1e3, "max-ms")
	b.ReportMetric(float64(reading.Load())/1e6/float64(max(1, reads.Load())), "ms/read")
}
