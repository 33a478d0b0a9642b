package storage

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/foretide/foretide/pkg/telemetry"
)

// BenchmarkAppendFrames has nodes of eight GPUs with a pod each report every 15 s, so many of their frames in a transaction. An
// operation is one round of all nodes.
func BenchmarkAppendFrames(b *testing.B) {
	for _, nodes := range []int{100, 1000} {
		for _, group := range []int{1, 8, 64} {
			b.Run(fmt.Sprintf("nodes=%d/group=%d", nodes, group), func(b *testing.B) {
				end := start
				s, err := Open(Options{Dir: b.TempDir(), Now: func() time.Time { return end }})
				if err != nil {
					b.Fatal(err)
				}
				defer func() { _ = s.Close() }()
				if err := s.WaitRaw(b.Context()); err != nil {
					b.Fatal(err)
				}
				frames := fleet(nodes)
				random := rand.New(rand.NewPCG(1, 2))
				round := func() {
					end = end.Add(15 * time.Second)
					for i := range frames {
						frames[i].Sequence++
						frames[i].Start, frames[i].End = end.Add(-15*time.Second), end
						advance(frames[i], random)
					}
				}
				send := func() {
					for at := 0; at < len(frames); at += group {
						if err := errors.Join(s.AppendFrames(b.Context(), frames[at:min(at+group, len(frames))])...); err != nil {
							b.Fatal(err)
						}
					}
				}
				round()
				send() // makes the series
				samples := 0
				b.ReportAllocs()
				var busy time.Duration
				for b.Loop() {
					b.StopTimer()
					round()
					b.StartTimer()
					before := processTime(b)
					send()
					busy += processTime(b) - before
					samples += nodes * len(frames[0].Values)
				}
				b.ReportMetric(float64(samples)/busy.Seconds(), "samples/s/core")
				b.ReportMetric(float64(len(frames[0].Values)), "samples/frame")
			})
		}
	}
}

// processTime is what all threads have used of the processors.
func processTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// fleet is a frame of each of so many nodes, of all that the catalogue has for eight GPUs with a pod each.
func fleet(nodes int) []telemetry.Frame {
	out := make([]telemetry.Frame, 0, nodes)
	for i := range nodes {
		out = append(out, frame(crowd(fmt.Sprintf("gpu-node-%05d", i))))
	}
	return out
}

// advance gives half of the values new ones; the others stay, as sizes, clocks and error counts do.
func advance(f telemetry.Frame, random *rand.Rand) {
	for i := range f.Values {
		if i%2 == 0 {
			f.Values[i] = float64(random.IntN(1_000_000)) / 1_000_000
		}
	}
}

// crowd is a batch of eight GPUs with a pod each, with every value of the catalogue.
func crowd(node string) telemetry.Batch {
	out := telemetry.Batch{Node: node, Session: "s", Sequence: 1, OwnersKnown: true}
	values := func(has func(telemetry.Definition) bool) telemetry.Values {
		v := telemetry.Values{}
		for _, d := range telemetry.Catalogue() {
			if has(d) {
				v[d.Metric] = 0.5
			}
		}
		return v
	}
	for i := range 8 {
		out.Readings = append(out.Readings, telemetry.Reading{
			Device: telemetry.Device{UUID: fmt.Sprintf("GPU-%s-86f3-7a43-b711-4771313afc5%d", node, i), Index: i, Model: "NVIDIA H100 80GB HBM3"},
			Values: values(func(telemetry.Definition) bool { return true }), Unattributed: values(func(d telemetry.Definition) bool { return d.Split.Sums() }),
		})
	}
	for i := range 8 {
		out.Usages = append(out.Usages, telemetry.Usage{
			Owner:      telemetry.Owner{Namespace: "default", Pod: fmt.Sprintf("bert-intent-detection-7d9fd9df9b-%05d", i), Container: "main"},
			DeviceUUID: out.Readings[i].Device.UUID, Attribution: telemetry.AttributionProcess,
			Values: values(func(d telemetry.Definition) bool { return d.UsageName() != "" }),
		})
	}
	return out
}
