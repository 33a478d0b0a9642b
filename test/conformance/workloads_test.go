//go:build conformance

package conformance

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/foretide/foretide/pkg/telemetry"
)

// workloads are the cases of what inference servers say of themselves. The pages are those in agent/scrape/testdata.
func workloads() []kase {
	const area = "workload metrics"
	all := []kase{}
	for _, s := range []struct {
		name, file string
		want       map[string]float64
	}{
		{"vLLM", "vllm", map[string]float64{"vllm:num_requests_running": 21, "vllm:num_requests_waiting": 3, "vllm:kv_cache_usage_perc": 0.5,
			"vllm:prompt_tokens_total": 2e6, "vllm:generation_tokens_total": 40000, "vllm:request_success_total": 120}},
		{"Triton", "triton", map[string]float64{"nv_inference_pending_request_count": 9, "nv_inference_queue_duration_us": 11110,
			"nv_inference_compute_infer_duration_us": 905000, "nv_inference_request_success": 200, "nv_inference_request_failure": 1,
			"nv_inference_count": 322, "nv_inference_exec_count": 80}},
		{"TGI", "tgi", map[string]float64{"tgi_queue_size": 5, "tgi_batch_current_size": 16, "tgi_request_count": 42, "tgi_request_success": 41,
			"tgi_request_generated_tokens_sum": 8200, "tgi_request_input_length_sum": 20500, "tgi_request_queue_duration_sum": 1.5}},
		{"SGLang", "sglang", map[string]float64{"sglang:num_running_reqs": 8, "sglang:num_queue_reqs": 5, "sglang:token_usage": 0.28,
			"sglang:gen_throughput": 86.5, "sglang:prompt_tokens_total": 8128902, "sglang:generation_tokens_total": 7557572}},
	} {
		all = append(all, kase{area, "queue, running requests, cache and tokens of " + s.name + " arrive, and nothing else of its page", scripted, func(t *testing.T) {
			page, err := os.ReadFile("../../agent/scrape/testdata/" + s.file + ".txt")
			if err != nil {
				t.Fatal(err)
			}
			w := newWorld(t, profile(t, "h100", 1))
			w.servers(server(t, "llm-0", func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(page) }))
			w.start("--scrape.interval=1s")
			w.tellsOf("llm-0", s.want)
		}})
	}
	return append(all,
		kase{area, "a port named metrics is enough for a pod that holds a GPU", scripted, portName},
		kase{area, "a pod that holds no GPU is asked only if its annotation says so", scripted, withoutGPU},
		kase{area, "--scrape.metrics chooses what is taken", scripted, allowList},
		kase{area, "a redirect is not followed", scripted, redirect},
		kase{area, "huge, endless and silent pages cost the others nothing, nor the agent its memory", scripted, hostile},
	)
}

// server is a pod on the loopback whose annotations say where it is asked.
func server(t *testing.T, name string, answer http.HandlerFunc) *corev1.Pod {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	host, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	p := pod(name, "6f1d2c3b-0000-4000-8000-"+fmt.Sprintf("%012d", mustAtoi(t, port)), true)
	p.Status.PodIP, p.Status.PodIPs = host, []corev1.PodIP{{IP: host}}
	p.Annotations = map[string]string{"foretide.dev/scrape": "true", "foretide.dev/port": port}
	return p
}

func mustAtoi(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// page answers with a text.
func page(text string) http.HandlerFunc {
	return func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte(text)) }
}

// servers has the kubelet tell of these pods, all of which hold the node's first GPU together.
func (w *world) servers(pods ...*corev1.Pod) {
	w.t.Helper()
	w.servePods(pods...)
	for i, p := range pods {
		w.hold(append(w.holders, holder(p.Name, "model", "nvidia.com/gpu", fmt.Sprintf("%s::%d", w.Scenario.Devices[0].UUID, i)))...)
	}
}

func said(b telemetry.Batch, pod string) map[string]float64 {
	got := map[string]float64{}
	for _, v := range b.Workload {
		if v.Namespace == "default" && v.Pod == pod {
			got[v.Name] = v.Value
		}
	}
	return got
}

// tellsOf waits until a pod's values are these and no others.
func (w *world) tellsOf(pod string, want map[string]float64) {
	w.t.Helper()
	w.settles("what "+pod+" says", func(b telemetry.Batch) string { return cmp.Diff(want, said(b, pod), nearly) })
}

func portName(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 1))
	p := server(t, "llm-0", page("vllm:num_requests_waiting 4\n"))
	p.Spec.Containers[0].Ports = []corev1.ContainerPort{{Name: "http", ContainerPort: 1}, {Name: "metrics", ContainerPort: int32(mustAtoi(t, p.Annotations["foretide.dev/port"]))}}
	p.Annotations = nil
	w.servers(p)
	w.start("--scrape.interval=1s")
	w.tellsOf("llm-0", map[string]float64{"vllm:num_requests_waiting": 4})
}

func withoutGPU(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 1))
	asked, silent := server(t, "gateway-0", page("vllm:num_requests_waiting 7\n")), server(t, "web-1", page("vllm:num_requests_waiting 9\n"))
	silent.Annotations = map[string]string{"prometheus.io/scrape": "true", "prometheus.io/port": silent.Annotations["foretide.dev/port"]}
	holds := server(t, "llm-2", page("vllm:num_requests_waiting 1\n"))
	holds.Annotations = map[string]string{"prometheus.io/scrape": "true", "prometheus.io/port": holds.Annotations["foretide.dev/port"]}
	w.servePods(asked, silent, holds)
	w.hold(holder("llm-2", "model", "nvidia.com/gpu", w.Scenario.Devices[0].UUID))
	w.start("--scrape.interval=1s")
	w.tellsOf("gateway-0", map[string]float64{"vllm:num_requests_waiting": 7})
	w.tellsOf("llm-2", map[string]float64{"vllm:num_requests_waiting": 1})
	for _, b := range w.received() {
		if v := said(b, "web-1"); len(v) > 0 {
			t.Fatalf("a pod that holds no GPU was asked: %v", v)
		}
	}
}

func allowList(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 1))
	w.servers(server(t, "llm-0", page("vllm:num_requests_waiting 4\nmy_queue_depth{shard=\"1\"} 2\nmy_queue_depth{shard=\"2\"} 3\nother 1\n")))
	w.start("--scrape.interval=1s", "--scrape.metrics=my_queue_depth")
	w.tellsOf("llm-0", map[string]float64{"my_queue_depth": 5})
}

func redirect(t *testing.T) {
	var visits atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		visits.Add(1)
		_, _ = rw.Write([]byte("vllm:num_requests_waiting 99\n"))
	}))
	t.Cleanup(elsewhere.Close)
	w := newWorld(t, profile(t, "h100", 1))
	w.servers(server(t, "llm-0", func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, elsewhere.URL, http.StatusFound) }),
		server(t, "llm-1", page("vllm:num_requests_waiting 2\n")))
	w.start("--scrape.interval=1s")
	w.tellsOf("llm-1", map[string]float64{"vllm:num_requests_waiting": 2})
	w.eventually("redirects are counted", func() bool {
		n, _ := value(w.metrics(), "foretide_agent_scrapes_total", "result", "redirect")
		return n >= 2
	})
	if n := visits.Load(); n != 0 {
		t.Errorf("%d visits elsewhere", n)
	}
	b := w.batch("a batch", func(telemetry.Batch) bool { return true })
	if got := said(b, "llm-0"); len(got) > 0 {
		t.Errorf("the pod that redirects says %v", got)
	}
}

func hostile(t *testing.T) {
	w := newWorld(t, profile(t, "h100", 1))
	good := server(t, "llm-0", page("vllm:num_requests_waiting 4\n"))
	w.servers(good)
	w.start("--scrape.interval=1s")
	w.tellsOf("llm-0", map[string]float64{"vllm:num_requests_waiting": 4})
	before, err := w.ResidentMiB()
	if err != nil {
		t.Fatal(err)
	}
	flood := func(text string) http.HandlerFunc {
		return func(rw http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := rw.Write([]byte(text)); err != nil {
					return
				}
			}
		}
	}
	w.servers(good,
		server(t, "flood-1", flood("vllm:num_requests_waiting 1\n"+strings.Repeat("# a comment that says nothing\n", 1000))),
		server(t, "flood-2", flood(strings.Repeat("x", 1<<16))),
		server(t, "drip-3", func(rw http.ResponseWriter, r *http.Request) {
			_, _ = rw.Write([]byte("vllm:num_requests_waiting 5\n"))
			rw.(http.Flusher).Flush()
			<-r.Context().Done()
		}),
		server(t, "mute-4", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	from := w.batch("a batch", func(telemetry.Batch) bool { return true })
	w.eventually("four rounds of them", func() bool {
		families := w.metrics()
		large, _ := value(families, "foretide_agent_scrapes_total", "result", "too_large")
		format, _ := value(families, "foretide_agent_scrapes_total", "result", "format")
		timeout, _ := value(families, "foretide_agent_scrapes_total", "result", "timeout")
		return large+format >= 4 && timeout >= 4
	})
	after, err := w.ResidentMiB()
	if err != nil || after > before+16 {
		t.Errorf("the agent has %.1f MiB after and %.1f MiB before: %v", after, before, err)
	}
	for _, b := range w.received() {
		if b.Sequence <= from.Sequence {
			continue
		}
		if d := cmp.Diff(map[string]float64{"vllm:num_requests_waiting": 4}, said(b, "llm-0")); d != "" {
			t.Fatalf("batch %d of the good server (-want +got):\n%s", b.Sequence, d)
		}
		for _, v := range b.Workload {
			if v.Pod != "llm-0" {
				t.Fatalf("%s was believed: %v", v.Pod, v)
			}
		}
	}
}
