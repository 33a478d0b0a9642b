package scrape

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func read(text string, allow ...string) (content, error) {
	return newPage(wanted(allow)).read(strings.NewReader(text))
}

func recorded(t testing.TB, server string) string {
	t.Helper()
	text, err := os.ReadFile("testdata/" + server + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestPagesOfTheFourServersAreUnderstood(t *testing.T) {
	for server, want := range map[string]map[string]float64{
		"vllm": {"vllm:num_requests_running": 21, "vllm:num_requests_waiting": 3, "vllm:kv_cache_usage_perc": 0.5,
			"vllm:prompt_tokens_total": 2e6, "vllm:generation_tokens_total": 40000, "vllm:request_success_total": 120},
		"triton": {"nv_inference_pending_request_count": 9, "nv_inference_queue_duration_us": 11110, "nv_inference_compute_infer_duration_us": 905000,
			"nv_inference_request_success": 200, "nv_inference_request_failure": 1, "nv_inference_count": 322, "nv_inference_exec_count": 80},
		"tgi": {"tgi_queue_size": 5, "tgi_batch_current_size": 16, "tgi_request_count": 42, "tgi_request_success": 41,
			"tgi_request_generated_tokens_sum": 8200, "tgi_request_input_length_sum": 20500, "tgi_request_queue_duration_sum": 1.5},
		"sglang": {"sglang:num_running_reqs": 8, "sglang:num_queue_reqs": 5, "sglang:token_usage": 0.28, "sglang:gen_throughput": 86.5,
			"sglang:prompt_tokens_total": 8128902, "sglang:generation_tokens_total": 7557572},
	} {
		got, err := read(recorded(t, server))
		if d := cmp.Diff(content{values: want}, got, cmp.AllowUnexported(content{})); d != "" || err != nil {
			t.Errorf("%s: error %v (-want +got)\n%s", server, err, d)
		}
	}
}

func TestWhatAPageMayLookLike(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want content
	}{
		"nothing":                   {"", content{values: map[string]float64{}}},
		"blanks, tabs, empty lines": {"\n \t\n\t a \t{ x = \"1\" , y=\"2\" , } \t 1.5e1 \n", content{values: map[string]float64{"a": 15}}},
		"a timestamp":               {"a 1 1700000000000\n", content{values: map[string]float64{"a": 1}}},
		"OpenMetrics: a timestamp in seconds, an exemplar, an end without a newline": {
			"a{x=\"1\"} 1 1700000000.5 # {trace_id=\"7\"} 0.5 1700000000.1\na{x=\"2\"} 2 # {} 1\n# EOF", content{values: map[string]float64{"a": 3}}},
		"escapes, braces and blanks in a label":        {"a{x=\"\\\\ } \\\" \\n {,\"} 4\n", content{values: map[string]float64{"a": 4}}},
		"a label's name in quotes":                     {"a{\"x.y\"=\"1\"} 4\n", content{values: map[string]float64{"a": 4}}},
		"metric names in quotes are not wanted":        {"{\"a\",x=\"1\"} 4\n", content{values: map[string]float64{}}},
		"names that only begin like a wanted one":      {"a_total 1\na:b 2\naa{x=\"1\"} 3\n", content{values: map[string]float64{}}},
		"a name that is wanted and a series of no one": {"a 1\nother{x=\"1\"} NaN\n", content{values: map[string]float64{"a": 1}}},
		"zero is a value":                              {"a 0\n", content{values: map[string]float64{"a": 0}}},
		"the first of equal series counts":             {"a{x=\"1\",y=\"2\"} 1\na{y=\"2\",x=\"1\",z=\"\"} 5\n", content{values: map[string]float64{"a": 1}, repeated: 1}},
		"a swap of two labels' values is no repeat":    {"a{x=\"1\",y=\"2\"} 1\na{x=\"2\",y=\"1\"} 5\n", content{values: map[string]float64{"a": 6}}},
		"with one strange series a metric is left out": {"a{x=\"1\"} 1\na{x=\"2\"} NaN\nb 1\n", content{values: map[string]float64{"b": 1}, leftOut: 1}},
		"infinite, negative":                           {"a +Inf\nb -0.5\n", content{values: map[string]float64{}, leftOut: 2}},
		"a sum that becomes infinite":                  {"a{x=\"1\"} 1e308\na{x=\"2\"} 1e308\n", content{values: map[string]float64{}, leftOut: 1}},
		"a long line that is not wanted":               {"other{x=\"" + strings.Repeat("v", 5*longestLine) + "\"} 1\n# HELP a " + strings.Repeat("v", 5*longestLine) + "\na 1\n", content{values: map[string]float64{"a": 1}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := read(c.text, "a", "b")
			if d := cmp.Diff(c.want, got, cmp.AllowUnexported(content{})); d != "" || err != nil {
				t.Errorf("error %v (-want +got)\n%s", err, d)
			}
		})
	}
}

func TestAPageWithOneWrongLineIsNotUsed(t *testing.T) {
	for text, want := range map[string]string{
		"<html><body>a 1</body></html>\n":  "line 1 is not in the Prometheus text format: no metric name",
		"{\n\"a\": 1\n}\n":                 "line 1 is not in the Prometheus text format: no metric name in quotes after {",
		"OK\n":                             "no value after the metric name",
		"a 1\na two\n":                     "line 2 is not in the Prometheus text format: the value is not a number",
		"a\n":                              "the value is not a number",
		"a 1e999\n":                        "the value is not a number",
		"a 0x10\na 0x1p4\n":                "the value is not a number",
		"a 1 now\n":                        "the timestamp is not a number",
		"a 1 2 3\n":                        "something follows the value",
		"a{x=\"1\" 1\n":                    "no , or } after a label's value",
		"a{x=\"1} 1\n":                     "no closing quote",
		"a{x=\"\\x\"} 1\n":                 "a backslash that is not of",
		"a{x=1} 1\n":                       "no opening quote",
		"a{x} 1\n":                         "no = after a label's name",
		"a{=\"1\"} 1\n":                    "no label name",
		"a{x=\"1\",\n":                     "no } after the labels",
		"a 1":                              "the page is cut short",
		"a 1\nother 2":                     "the page is cut short",
		"a 1\n# HELP b What":               "the page is cut short",
		strings.Repeat("x", 2*longestLine): "endless metric name",
		"a{x=\"" + strings.Repeat("v", 2*longestLine) + "\"} 1\n": "line 1 is not in the Prometheus text format: longer than 16384 bytes",
		"other{x=\"" + strings.Repeat("v", 2*longestLine):         "the page is cut short",
	} {
		got, err := read(text, "a")
		if err == nil || !strings.Contains(err.Error(), want) || got.values != nil {
			t.Errorf("%.40q: %v, error %v; want %q", text, got, err, want)
		}
	}
}

func TestAPageWithTooManyWantedSeriesIsNotUsed(t *testing.T) {
	var text strings.Builder
	for i := range mostSeries {
		fmt.Fprintf(&text, "a{x=\"%d\"} 1\n", i)
	}
	if got, err := read(text.String(), "a"); err != nil || got.values["a"] != mostSeries {
		t.Errorf("%v, error %v; want %d", got, err, mostSeries)
	}
	text.WriteString("a 1\n")
	if _, err := read(text.String(), "a"); !errors.Is(err, errTooManySeries) {
		t.Errorf("error %v; want %v", err, errTooManySeries)
	}
}

func TestNothingOfOnePageIsLeftForTheNext(t *testing.T) {
	p := newPage(wanted([]string{"a", "b"}))
	if _, err := p.read(strings.NewReader("a 1\nb NaN\nwrong")); err == nil {
		t.Fatal("the first page was read")
	}
	got, err := p.read(strings.NewReader("a 2\n"))
	if d := cmp.Diff(content{values: map[string]float64{"a": 2}}, got, cmp.AllowUnexported(content{})); d != "" || err != nil {
		t.Errorf("error %v (-want +got)\n%s", err, d)
	}
}

func TestAReadersErrorIsPassedOn(t *testing.T) {
	torn := errors.New("torn")
	_, err := newPage(wanted([]string{"a"})).read(io.MultiReader(strings.NewReader("a 1\nb"), &failing{torn}))
	if !errors.Is(err, torn) {
		t.Errorf("error %v; want %v", err, torn)
	}
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

// bigPage has 4 MiB of which the four servers' pages are the beginning, the middle and the end.
func bigPage(t testing.TB) string {
	servers := recorded(t, "vllm") + recorded(t, "triton") + recorded(t, "tgi") + recorded(t, "sglang")
	var text strings.Builder
	text.WriteString(servers)
	for i := 0; text.Len() < 4<<20; i++ {
		fmt.Fprintf(&text, "vllm:e2e_request_latency_seconds_bucket{engine=\"0\",le=\"%d\",model_name=\"org/model-8b\"} %d.0\n", i, i)
	}
	text.WriteString(servers)
	return text.String()
}

func TestALargePageCostsNoMoreMemoryThanWhatIsWanted(t *testing.T) {
	text := bigPage(t)
	p := newPage(wanted(nil))
	source := strings.NewReader(text)
	result := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			source.Reset(text)
			if c, err := p.read(source); err != nil || c.values["tgi_queue_size"] != 5 || c.repeated == 0 {
				b.Fatalf("%v, error %v", c, err)
			}
		}
	})
	if got := result.AllocedBytesPerOp(); got > 8<<10 {
		t.Errorf("a page of %d bytes costs %d bytes; want at most %d", len(text), got, 8<<10)
	}
	t.Logf("%v per page of %d bytes, %d bytes allocated", result.NsPerOp(), len(text), result.AllocedBytesPerOp())
}
