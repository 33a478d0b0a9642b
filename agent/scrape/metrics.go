package scrape

// Combine says how the series of one pod become its one value.
type Combine uint8

const (
	// CombineSum adds the series: requests, tokens and rates of a pod's models and engines are those of the pod together.
	CombineSum Combine = iota
	// CombineMean takes their mean: shares. The engines behind one server have caches of the same size, so the mean of what
	// is in use of each is what is in use of all. A sum would pass 1; the largest would call a pod full that can take more.
	CombineMean
)

// Definition describes one metric of an inference server.
type Definition struct {
	// Name is the sample's name as the server writes it, with _total or _sum.
	Name string
	// Server is who writes it.
	Server  string
	Combine Combine
	Help    string
	// repeats tells from a label whether a series repeats what another one counts; nil when none does.
	repeats func(label, value []byte) bool
}

// Definitions returns the metrics that are read when nothing else is asked for. The slice is shared: callers must not change it.
func Definitions() []Definition { return definitions[:] }

// definitions holds what tells a server's demand: who waits, who is served, how full the cache is, and how much was done. The
// names are those of
//   - vLLM: vllm/v1/metrics/loggers.py and https://docs.vllm.ai/en/stable/usage/metrics/. One series per model and engine.
//   - Triton: docs/user_guide/metrics.md of triton-inference-server/server. One series per model and version. Its counters
//     have no _total.
//   - TGI: docs/source/reference/metrics.md of huggingface/text-generation-inference. Tokens are sums of histograms.
//   - SGLang: docs/references/production_metrics.md and python/sglang/srt/observability/metrics_collector.py of
//     sgl-project/sglang, with --enable-metrics. One series per scheduler.
var definitions = [...]Definition{
	{"vllm:num_requests_running", "vLLM", CombineSum, "Requests in the batches being executed.", nil},
	{"vllm:num_requests_waiting", "vLLM", CombineSum, "Requests waiting to be scheduled.", nil},
	{"vllm:kv_cache_usage_perc", "vLLM", CombineMean, "Share of the KV cache in use, 0 to 1 in spite of its name.", nil},
	{"vllm:gpu_cache_usage_perc", "vLLM", CombineMean, "The same, as it was called before 0.9 and beside the new name for a while.", nil},
	{"vllm:num_preemptions_total", "vLLM", CombineSum, "Requests put back because the KV cache was full.", nil},
	{"vllm:prompt_tokens_total", "vLLM", CombineSum, "Prompt tokens processed.", nil},
	{"vllm:generation_tokens_total", "vLLM", CombineSum, "Tokens generated.", nil},
	{"vllm:request_success_total", "vLLM", CombineSum, "Requests finished, for whatever reason.", nil},

	{"nv_inference_pending_request_count", "Triton", CombineSum, "Requests waiting for a backend to execute them.", nil},
	{"nv_inference_queue_duration_us", "Triton", CombineSum, "Time requests spent waiting, in microseconds.", nil},
	{"nv_inference_compute_infer_duration_us", "Triton", CombineSum, "Time requests spent in the model, in microseconds.", nil},
	{"nv_inference_request_success", "Triton", CombineSum, "Requests that succeeded.", nil},
	{"nv_inference_request_failure", "Triton", CombineSum, "Requests that failed.", nil},
	{"nv_inference_count", "Triton", CombineSum, "Inferences done: a batch of n counts n.", nil},
	{"nv_inference_exec_count", "Triton", CombineSum, "Batches executed.", nil},

	{"tgi_queue_size", "TGI", CombineSum, "Requests waiting.", nil},
	{"tgi_batch_current_size", "TGI", CombineSum, "Requests in the batch being executed.", nil},
	{"tgi_request_count", "TGI", CombineSum, "Requests received.", nil},
	{"tgi_request_success", "TGI", CombineSum, "Requests that succeeded.", nil},
	{"tgi_request_queue_duration_sum", "TGI", CombineSum, "Time requests spent waiting, in seconds.", nil},
	{"tgi_request_input_length_sum", "TGI", CombineSum, "Prompt tokens processed.", nil},
	{"tgi_request_generated_tokens_sum", "TGI", CombineSum, "Tokens generated.", nil},

	{"sglang:num_running_reqs", "SGLang", CombineSum, "Requests being executed.", repeatsInSGLang},
	{"sglang:num_queue_reqs", "SGLang", CombineSum, "Requests waiting.", repeatsInSGLang},
	{"sglang:token_usage", "SGLang", CombineMean, "Share of the KV cache's tokens in use, 0 to 1.", repeatsInSGLang},
	{"sglang:gen_throughput", "SGLang", CombineSum, "Tokens generated per second.", repeatsInSGLang},
	{"sglang:prompt_tokens_total", "SGLang", CombineSum, "Prompt tokens processed.", nil},
	{"sglang:generation_tokens_total", "SGLang", CombineSum, "Tokens generated, counted when their request ends.", nil},
}

// repeatsInSGLang knows two kinds of gauges of a scheduler that repeat another's: with priority scheduling a queue's total has
// an empty priority and each priority has a series beside it, and with pipeline parallelism every stage counts the requests
// that the first one counts.
func repeatsInSGLang(label, value []byte) bool {
	switch string(label) {
	case "priority":
		return len(value) > 0
	case "pp_rank":
		return string(value) != "0"
	}
	return false
}

// wanted returns the definitions of the allowed names, by name. A name that is in no table sums.
func wanted(allow []string) map[string]Definition {
	known := make(map[string]Definition, len(definitions))
	for _, d := range definitions {
		known[d.Name] = d
	}
	if allow == nil {
		return known
	}
	chosen := make(map[string]Definition, len(allow))
	for _, name := range allow {
		d, ok := known[name]
		if !ok {
			d = Definition{Name: name, Combine: CombineSum}
		}
		chosen[name] = d
	}
	return chosen
}
