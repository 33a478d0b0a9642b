package spool

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/foretide/foretide/pkg/telemetry"
)

// busyNode tells about 8 GPUs and 64 pods on them, 1,500 values a batch, which move as those of working GPUs do.
type busyNode struct {
	batch  telemetry.Batch
	random *rand.Rand
}

func newBusyNode() *busyNode {
	n := &busyNode{random: rand.New(rand.NewPCG(1, 2))}
	for i := range 8 {
		device := telemetry.Device{UUID: fmt.Sprintf("GPU-5fd4f087-86f3-7a43-b711-47713113afc%d", i), Index: i, Model: "NVIDIA H100 80GB HBM3"}
		n.batch.Readings = append(n.batch.Readings, telemetry.Reading{Device: device, Values: telemetry.Values{}, Unattributed: telemetry.Values{}})
		for j := range 8 {
			owner := telemetry.Owner{Namespace: "inference", Pod: fmt.Sprintf("llama-70b-7d9f8b6c5d-%d%d", i, j), Container: "model"}
			n.batch.Pods = append(n.batch.Pods, telemetry.Pod{Namespace: owner.Namespace, Name: owner.Pod, UID: fmt.Sprintf("0b9c2f7e-%d%d", i, j), Known: true, Ready: true})
			n.batch.Usages = append(n.batch.Usages, telemetry.Usage{Owner: owner, DeviceUUID: device.UUID, Attribution: telemetry.AttributionProcess, Values: telemetry.Values{}})
		}
	}
	return n
}

func (n *busyNode) next() telemetry.Batch {
	n.batch.End = time.Now()
	n.batch.Start = n.batch.End.Add(-time.Second)
	for _, d := range telemetry.Catalogue() {
		for _, r := range n.batch.Readings {
			n.move(r.Values, d)
			if d.UnattributedName() != "" {
				n.move(r.Unattributed, d)
			}
		}
		if d.UsageName() != "" {
			for _, u := range n.batch.Usages {
				n.move(u.Values, d)
			}
		}
	}
	return n.batch
}

func (n *busyNode) move(v telemetry.Values, d telemetry.Definition) {
	switch {
	case d.Unit == "ratio":
		v[d.Metric] = min(1, max(0, 0.5+n.random.NormFloat64()/10))
	case d.Kind == telemetry.Counter:
		v[d.Metric] += float64(n.random.IntN(700))
	case d.Unit == "bytes":
		v[d.Metric] = 40 << 30
	default:
		v[d.Metric] = float64(300 + n.random.IntN(5))
	}
}

func BenchmarkPut(b *testing.B) {
	for name, path := range map[string]string{"memory": "", "disk": b.TempDir()} {
		b.Run(name, func(b *testing.B) {
			s, err := Open(Options{Path: path})
			if err != nil {
				b.Fatal(err)
			}
			c := s.Receiver("a")
			node := newBusyNode()
			values := 0
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				batch := node.next()
				b.StartTimer()
				s.Put(batch)
				f, err := c.Next(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				c.Ack(f.Sequence)
				values = len(f.Values)
			}
			b.ReportMetric(float64(values), "values/op")
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

func BenchmarkNextOfTheBacklog(b *testing.B) {
	const backlog = 1000
	s, err := Open(Options{Path: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	node := newBusyNode()
	for range backlog {
		s.Put(node.next())
	}
	for s.Stats().DiskBytes < s.Stats().Bytes {
		runtime.Gosched()
	}
	stats := s.Stats()
	s.Receiver("one that never answers") // so that every other is given everything
	i := 0
	var c *Cursor
	b.ReportAllocs()
	for b.Loop() {
		if i%backlog == 0 {
			c = s.Receiver(fmt.Sprint("store ", i))
		}
		f, err := c.Next(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		c.Ack(f.Sequence)
		i++
	}
	b.ReportMetric(float64(stats.Bytes)/backlog, "B/batch")
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}
