package nvml

/*
#cgo LDFLAGS: -ldl
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>

// nvmlGpmMetricsGet_t of nvml.h. The driver fills in the first numMetrics of the metrics.
struct gpm_metric {
	unsigned int id;
	int result;
	double value;
	struct { char *short_name, *long_name, *unit; } info;
};
struct gpm_metrics_get {
	unsigned int version, count;
	void *first, *second;
	struct gpm_metric metrics[477];
};

static int gpm_metrics_get(void *first, void *second, int count, const unsigned int *ids, double *values, int *results)
{
	int (*call)(struct gpm_metrics_get *) = (int (*)(struct gpm_metrics_get *))dlsym(RTLD_DEFAULT, "nvmlGpmMetricsGet");
	if (call == NULL)
		return 13; // NVML_ERROR_FUNCTION_NOT_FOUND
	struct gpm_metrics_get request = { .version = 1, .count = (unsigned int)count, .first = first, .second = second };
	for (int i = 0; i < count; i++)
		request.metrics[i].id = ids[i];
	int result = call(&request);
	for (int i = 0; i < count; i++) {
		values[i] = request.metrics[i].value;
		results[i] = request.metrics[i].result;
	}
	return result;
}
*/
import "C"

import (
	"reflect"
	"unsafe"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// gpmMetrics asks for the metrics between two samples. go-nvml's own call copies the 19 KB of the request three times on the heap, which for
// 56 MIG instances a second is most of the agent's garbage; this one has it on the C stack. The library is loaded with its symbols
// global, so that its function is found by name.
func gpmMetrics(first, second nvml.GpmSample, ids []C.uint, values []C.double, results []C.int) nvml.Return {
	return nvml.Return(C.gpm_metrics_get(handleOf(first), handleOf(second), C.int(len(ids)), &ids[0], &values[0], &results[0]))
}

// handleOf takes the C handle out of go-nvml's sample.
func handleOf(sample nvml.GpmSample) unsafe.Pointer {
	return reflect.ValueOf(sample).FieldByName("Handle").UnsafePointer()
}

// gpmValues returns the value of each of gpmRead, or false where there is none.
func gpmValues(first, second nvml.GpmSample) (values [len(gpmRead)]float64, ok [len(gpmRead)]bool, ret nvml.Return) {
	var ids [len(gpmRead)]C.uint
	var got [len(gpmRead)]C.double
	var results [len(gpmRead)]C.int
	for i, r := range gpmRead {
		ids[i] = C.uint(r.id)
	}
	ret = gpmMetrics(first, second, ids[:], got[:], results[:])
	for i := range gpmRead {
		values[i], ok[i] = float64(got[i]), nvml.Return(results[i]) == nvml.SUCCESS && got[i] >= 0 // false for NaN
	}
	return values, ok, ret
}
