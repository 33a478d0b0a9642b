package exporter

import (
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/foretide/foretide/pkg/telemetry"
)

// crowd is a node with eight GPUs, each shared by as many pods, with every metric of the catalogue.
func crowd(podsPerGPU int) telemetry.Batch {
	b := telemetry.Batch{Start: noon.Add(-time.Second), End: noon, OwnersKnown: true}
	for i := range 8 {
		r := telemetry.Reading{Device: gpu(i), Values: telemetry.Values{}, Unattributed: telemetry.Values{}}
		for _, row := range telemetry.Catalogue() {
			r.Values[row.Metric] = 0.9
			if row.Split.Sums() {
				r.Unattributed[row.Metric] = 0.1
			}
		}
		for p := range podsPerGPU {
			o := owner(fmt.Sprintf("model-7d9fd9df9b-%d-%d", i, p))
			u := telemetry.Usage{Owner: o, DeviceUUID: r.Device.UUID, Attribution: telemetry.AttributionProcess, Values: telemetry.Values{}}
			for _, row := range telemetry.Catalogue() {
				if row.Split.Sums() || row.Split == telemetry.SplitPeak || row.Split == telemetry.SplitCapacity {
					u.Values[row.Metric] = 0.8 / float64(podsPerGPU)
				}
			}
			b.Usages = append(b.Usages, u)
			b.Pods = append(b.Pods, telemetry.Pod{Namespace: o.Namespace, Name: o.Pod, UID: o.Pod, ControllerKind: "ReplicaSet", ControllerName: "model-7d9fd9df9b"})
		}
		b.Readings = append(b.Readings, r)
	}
	return b
}

func BenchmarkScrape(b *testing.B) {
	for _, podsPerGPU := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("gpus=8/pods=%d", 8*podsPerGPU), func(b *testing.B) {
			registry := prometheus.NewRegistry() // the tests' pedantic one costs more than all the rest
			e, err := New(Options{Node: "node-1", Registerer: registry, Self: func() Self { return Self{} },
				Interval: func() time.Duration { return time.Hour }})
			if err != nil {
				b.Fatal(err)
			}
			e.Put(crowd(podsPerGPU))
			handler := promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
			request := httptest.NewRequest("GET", "/metrics", nil)
			b.ReportAllocs()
			for b.Loop() {
				w := &counting{ResponseRecorder: httptest.NewRecorder()}
				handler.ServeHTTP(w, request)
				b.ReportMetric(float64(w.bytes), "page-bytes")
			}
		})
	}
}

// counting throws the page away.
type counting struct {
	*httptest.ResponseRecorder
	bytes int
}

func (c *counting) Write(p []byte) (int, error) {
	c.bytes += len(p)
	return len(p), nil
}

func BenchmarkObserveCall(b *testing.B) {
	n := newNode(b)
	b.ReportAllocs()
	for b.Loop() {
		n.ObserveCall("nvmlDeviceGetSamples", 50*time.Microsecond)
	}
}
