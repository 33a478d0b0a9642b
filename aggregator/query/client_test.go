package query

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	client "github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/client_golang/prometheus"
	config_util "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/foretide/foretide/pkg/telemetry"
)

// What Grafana's Prometheus data source asks, asked with Prometheus' own client.
func TestAPrometheusClientFindsWhatItAsksFor(t *testing.T) {
	db := history(t)
	registry := prometheus.NewRegistry()
	c, err := client.NewClient(client.Config{Address: serve(t, newAPI(t, Options{Queryable: db, Version: "v1.2.3", Statistics: headStatistics{db}, Gatherer: registry}))})
	if err != nil {
		t.Fatal(err)
	}
	api, ctx := v1.NewAPI(c), t.Context()
	const pods = `foretide_pod_utilization_ratio`
	window := v1.Range{Start: start, End: end, Step: 5 * time.Minute}

	value, warnings, _, err := api.Query(ctx, `avg by (namespace) (`+pods+`)`, end)
	check(t, "Query", value.String(), "{namespace=\"blue\"} => 0.05 @[1772442600]\n{namespace=\"green\"} => 0.25 @[1772442600]", err)
	if len(warnings) > 0 {
		t.Errorf("warnings: %q", warnings)
	}
	value, _, _, err = api.QueryRange(ctx, `sum(`+pods+`)`, window)
	check(t, "QueryRange", value.String(), "{} =>\n0.6 @[1772442000]\n0.6 @[1772442300]\n0.6 @[1772442600]", err)

	series, _, _, err := api.Series(ctx, []string{pods + `{pod="web-3"}`, pods + `{pod="web-9"}`}, start, end)
	check(t, "Series", series, []model.LabelSet{{"__name__": pods, "node": "node-a", "namespace": "green", "pod": "web-3", "container": "main", "uuid": "GPU-3"}}, err)
	names, _, _, err := api.LabelNames(ctx, nil, start, end)
	check(t, "LabelNames", names, model.LabelNames{"__name__", "container", "namespace", "node", "pod", "uuid"}, err)
	values, _, _, err := api.LabelValues(ctx, "pod", []string{pods + `{namespace="green"}`}, start, end)
	check(t, "LabelValues", values, model.LabelValues{"web-2", "web-3"}, err)
	metrics, _, _, err := api.LabelValues(ctx, "__name__", nil, start, end)
	check(t, "LabelValues of __name__", metrics, model.LabelValues{pods}, err)

	metadata, err := api.Metadata(ctx, "foretide_device_energy_joules_total", "")
	check(t, "Metadata", metadata, map[string][]v1.Metadata{"foretide_device_energy_joules_total": {{
		Type: "counter", Unit: "joules", Help: telemetry.Energy.Definition().Help}}}, err)
	build, err := api.Buildinfo(ctx)
	check(t, "Buildinfo", []string{build.Version, build.Revision}, []string{prometheusVersion, "v1.2.3"}, err)
	rules, err := api.Rules(ctx, nil)
	check(t, "Rules", len(rules.Groups), 0, err)
	alerts, err := api.Alerts(ctx)
	check(t, "Alerts", len(alerts.Alerts), 0, err)
	exemplars, err := api.QueryExemplars(ctx, pods, start, end)
	check(t, "QueryExemplars", len(exemplars), 0, err)
	formatted, err := api.FormatQuery(ctx, `sum(rate(x[1m]))by(y)`)
	check(t, "FormatQuery", formatted, `"sum by (y) (rate(x[1m]))"`, err)
	size, err := api.TSDB(ctx)
	check(t, "TSDB", size.HeadStats.NumSeries, 4, err)
}

func check[T any](t *testing.T, what string, got, want T, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	} else if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got): %s", what, diff)
	}
}

func TestQueriesAreTakenInTheURLAndAsAForm(t *testing.T) {
	server := serve(t, shared(t, history(t), nil))
	values := url.Values{"query": {"count(foretide_pod_utilization_ratio)"}, "time": {end.Format(time.RFC3339)},
		"start": {start.Format(time.RFC3339)}, "end": {end.Format(time.RFC3339)}, "step": {"300"}, "match[]": {"foretide_pod_utilization_ratio"}}
	for _, path := range []string{"query", "query_range", "query_exemplars", "series", "labels", "format_query", "parse_query"} {
		asked, err := http.Get(server + "/api/v1/" + path + "?" + values.Encode())
		if err != nil {
			t.Fatal(err)
		}
		posted, err := http.PostForm(server+"/api/v1/"+path, values)
		if err != nil {
			t.Fatal(err)
		}
		a, b := body(t, asked), body(t, posted)
		if a != b || asked.StatusCode != http.StatusOK {
			t.Errorf("%s: GET %s answers %s, POST %s %s", path, asked.Status, a, posted.Status, b)
		}
	}
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	defer func() { _ = r.Body.Close() }()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRemoteReadGivesSamplesAndChunks(t *testing.T) {
	address, err := url.Parse(serve(t, shared(t, history(t), nil)) + "/api/v1/read")
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range []prompb.ReadRequest_ResponseType{prompb.ReadRequest_SAMPLES, prompb.ReadRequest_STREAMED_XOR_CHUNKS} {
		reader, err := remote.NewReadClient("test", &remote.ClientConfig{URL: &config_util.URL{URL: address}, Timeout: model.Duration(time.Minute),
			ChunkedReadLimit: 1 << 20, AcceptedResponseTypes: []prompb.ReadRequest_ResponseType{form}})
		if err != nil {
			t.Fatal(err)
		}
		far := remote.NewSampleAndChunkQueryableClient(reader, labels.EmptyLabels(), nil, true, func() (int64, error) { return 0, nil })
		q, err := far.Querier(start.UnixMilli(), end.UnixMilli())
		if err != nil {
			t.Fatal(err)
		}
		samples, sum := 0, 0.0
		set := q.Select(t.Context(), true, nil, labels.MustNewMatcher(labels.MatchEqual, "namespace", "green"))
		for set.Next() {
			for it := set.At().Iterator(nil); it.Next() == chunkenc.ValFloat; samples++ {
				_, v := it.At()
				sum += v
			}
		}
		if err := set.Err(); err != nil || samples != 82 || sum < 20.499 || sum > 20.501 {
			t.Errorf("%v: %d samples with the sum %v, error %v: want 82 (two pods, 41 each) with 20.5", form, samples, sum, err)
		}
	}
}

func TestEveryStoredMetricHasMetadata(t *testing.T) {
	a := ask(t, shared(t, openDB(t), nil), get("/metadata"))
	for _, d := range telemetry.Catalogue() {
		for _, name := range []string{d.Name, d.UsageName(), d.UnattributedName()} {
			if name != "" && !strings.Contains(string(a.Data), `"`+name+`":[{"type":"`+string(d.Kind)+`","unit":"`+d.Unit+`","help":"`) {
				t.Errorf("%s has no metadata", name)
			}
		}
	}
	for _, name := range []string{"foretide_workload_demand_gpus", "foretide_workload_pods", "foretide_forecast_demand_gpus"} {
		if !strings.Contains(string(a.Data), `"`+name+`":[{"type":"gauge"`) {
			t.Errorf("%s has no metadata", name)
		}
	}
}

func TestWhatIsNotOfferedIsNotThere(t *testing.T) {
	api := newAPI(t, Options{Queryable: history(t)})
	for _, r := range []*http.Request{
		get("/status/config"), get("/status/flags"), get("/status/runtimeinfo"), get("/status/walreplay"), get("/status/tsdb"), get("/targets"),
		get("/targets/metadata"), get("/scrape_pools"), get("/alertmanagers"), get("/notifications/live"), get("/openapi.yaml"), get("/nonsense"),
		request(t, http.MethodPost, "/admin/tsdb/delete_series?match[]=x"), request(t, http.MethodPut, "/admin/tsdb/snapshot"),
		request(t, http.MethodPost, "/write"), request(t, http.MethodPost, "/otlp/v1/metrics"), request(t, http.MethodDelete, "/query"),
	} {
		if a := ask(t, api, r); a.code != http.StatusNotFound || a.ErrorType != "not_found" {
			t.Errorf("%s %s: %d %s", r.Method, r.URL, a.code, a.ErrorType)
		}
	}
}

func request(t *testing.T, method, path string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "/api/v1"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPagesOfOtherOriginsMayNotRead(t *testing.T) {
	server := serve(t, shared(t, history(t), nil))
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, server+"/api/v1/query?query=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Origin", "https://elsewhere.example")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if allowed := response.Header.Get("Access-Control-Allow-Origin"); response.StatusCode != http.StatusOK || allowed != "" {
		t.Errorf("%s, allowed to %q", response.Status, allowed)
	}
}

func TestTheVersionToldIsThatOfThePrometheusBuiltIn(t *testing.T) {
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	// Module v0.316.0 is Prometheus 3.16.0.
	m := regexp.MustCompile(`github.com/prometheus/prometheus v0\.(\d)0?(\d+)\.(\d+)`).FindStringSubmatch(string(mod))
	if m == nil || m[1]+"."+m[2]+"."+m[3] != prometheusVersion {
		t.Errorf("prometheusVersion is %s, go.mod says %q", prometheusVersion, m)
	}
}

func TestWhatIsWrongWithOptionsIsSaid(t *testing.T) {
	db := openDB(t)
	registry := prometheus.NewRegistry()
	newAPI(t, Options{Queryable: db, Registerer: registry})
	for want, o := range map[string]Options{
		"Options.Queryable is needed":                   {},
		"Options.MaxSamples is -1: it must be positive": {Queryable: db, MaxSamples: -1},
		"register metrics of query":                     {Queryable: db, Registerer: registry},
	} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want one that says %q", err, want)
		}
	}
}
