package query

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
)

// largeHistory has an hour of 100,000 usages in 50 namespaces, a sample every 15 seconds.
func largeHistory(b *testing.B) *tsdb.DB {
	b.Helper()
	db := openDB(b)
	refs := make([]storage.SeriesRef, 100_000)
	for at := end.Add(-time.Hour); !at.After(end); at = at.Add(15 * time.Second) {
		app := db.AppenderV2(b.Context())
		for i := range refs {
			series := labels.EmptyLabels()
			if refs[i] == 0 {
				series = labels.FromStrings(model.MetricNameLabel, "foretide_pod_utilization_ratio", "node", fmt.Sprintf("node-%d", i/8),
					"namespace", fmt.Sprintf("team-%d", i%50), "pod", fmt.Sprintf("web-%d", i), "container", "main", "uuid", fmt.Sprintf("GPU-%d", i))
			}
			ref, err := app.Append(refs[i], series, 0, at.UnixMilli(), float64((int64(i)*at.Unix())%101)/100, nil, nil, storage.AOptions{})
			if err != nil {
				b.Fatal(err)
			}
			refs[i] = ref
		}
		if err := app.Commit(); err != nil {
			b.Fatal(err)
		}
	}
	return db
}

// What a dashboard of a large cluster asks, over the network interface of this machine's own.
func BenchmarkQueries(b *testing.B) {
	db := largeHistory(b)
	server := httptest.NewServer(newAPI(b, Options{Queryable: db}).Handler())
	b.Cleanup(server.Close)
	at, from := end.Format(time.RFC3339), end.Add(-time.Hour).Format(time.RFC3339)
	for _, q := range []struct {
		name    string
		request *http.Request
	}{
		{"avg by namespace now", get("/query", "query", "avg by(namespace)(foretide_pod_utilization_ratio)", "time", at)},
		{"avg by namespace over an hour, step 1m", get("/query_range", "query", "avg by(namespace)(foretide_pod_utilization_ratio)", "start", from, "end", at, "step", "60")},
		{"one namespace over an hour, step 15s", get("/query_range", "query", `avg(foretide_pod_utilization_ratio{namespace="team-7"})`, "start", from, "end", at, "step", "15")},
		{"one pod over an hour, step 15s", get("/query_range", "query", `foretide_pod_utilization_ratio{pod="web-77"}`, "start", from, "end", at, "step", "15")},
		{"values of the label namespace", get("/label/namespace/values")},
	} {
		b.Run(q.name, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				begin := time.Now()
				response, err := http.Get(server.URL + q.request.URL.RequestURI())
				if err != nil {
					b.Fatal(err)
				}
				if err := response.Body.Close(); err != nil || response.StatusCode != http.StatusOK {
					b.Fatal(response.Status, err)
				}
				took = append(took, time.Since(begin))
			}
			slices.Sort(took)
			b.ReportMetric(took[len(took)/2].Seconds()*1000, "p50-ms")
			b.ReportMetric(took[len(took)*99/100].Seconds()*1000, "p99-ms")
		})
	}
}
