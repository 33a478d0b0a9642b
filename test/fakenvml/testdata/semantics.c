/*
 * Calls the library as nvml.h declares it, in the ways that no Go binding offers: without buffers, with ones too small, with
 * wrong arguments. The scenario is that of TestCallsWithoutBuffersAnswerAsTheHeaderSays. Prints what is wrong.
 */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define NVML_NO_UNVERSIONED_FUNC_DEFS /* a name without a version is the first one */
#include <nvml.h>

#include "../lib/abi.h"

#define SAME(ours, theirs) _Static_assert(sizeof(ours) == sizeof(theirs), #theirs)
#define AT(ours, member, theirs, name) _Static_assert(offsetof(ours, member) == offsetof(theirs, name), #theirs "." #name)

SAME(struct utilization, nvmlUtilization_t);
SAME(struct memory, nvmlMemory_t);
SAME(struct memory_v2, nvmlMemory_v2_t);
SAME(struct pci_info, nvmlPciInfo_t);
SAME(struct process_info_v1, nvmlProcessInfo_v1_t);
SAME(struct process_info, nvmlProcessInfo_t);
SAME(struct process_sample, nvmlProcessUtilizationSample_t);
SAME(struct process_use, nvmlProcessUtilizationInfo_v1_t);
SAME(struct processes_use, nvmlProcessesUtilizationInfo_t);
SAME(struct sample, nvmlSample_t);
SAME(struct field_value, nvmlFieldValue_t);
SAME(struct attributes, nvmlDeviceAttributes_t);
SAME(struct gpu_instance_info, nvmlGpuInstanceInfo_t);
SAME(struct event, nvmlEventData_t);
SAME(struct gpm_support, nvmlGpmSupport_t);
SAME(struct gpm_metric, nvmlGpmMetric_t);
SAME(struct gpm_metrics, nvmlGpmMetricsGet_t);
AT(struct memory_v2, used, nvmlMemory_v2_t, used);
AT(struct pci_info, bus_id, nvmlPciInfo_t, busId);
AT(struct pci_info, domain, nvmlPciInfo_t, domain);
AT(struct process_info, compute_instance, nvmlProcessInfo_t, computeInstanceId);
AT(struct process_sample, timestamp, nvmlProcessUtilizationSample_t, timeStamp);
AT(struct process_sample, decoder, nvmlProcessUtilizationSample_t, decUtil);
AT(struct process_use, pid, nvmlProcessUtilizationInfo_v1_t, pid);
AT(struct processes_use, processes, nvmlProcessesUtilizationInfo_t, procUtilArray);
AT(struct field_value, type, nvmlFieldValue_t, valueType);
AT(struct field_value, result, nvmlFieldValue_t, nvmlReturn);
AT(struct field_value, value, nvmlFieldValue_t, value);
AT(struct attributes, compute_slices, nvmlDeviceAttributes_t, computeInstanceSliceCount);
AT(struct attributes, memory_mib, nvmlDeviceAttributes_t, memorySizeMB);
AT(struct gpu_instance_info, placement, nvmlGpuInstanceInfo_t, placement);
AT(struct event, data, nvmlEventData_t, eventData);
AT(struct event, gpu_instance, nvmlEventData_t, gpuInstanceId);
AT(struct gpm_metric, value, nvmlGpmMetric_t, value);
AT(struct gpm_metrics, metrics, nvmlGpmMetricsGet_t, metrics);
_Static_assert(STRUCT_VERSION(struct memory_v2, 2u) == nvmlMemory_v2, "nvmlMemory_v2");
_Static_assert(STRUCT_VERSION(struct processes_use, 1u) == nvmlProcessesUtilizationInfo_v1, "nvmlProcessesUtilizationInfo_v1");
_Static_assert((int)NOT_SUPPORTED == NVML_ERROR_NOT_SUPPORTED && (int)NOT_FOUND == NVML_ERROR_NOT_FOUND &&
	       (int)INSUFFICIENT_SIZE == NVML_ERROR_INSUFFICIENT_SIZE && (int)TIMEOUT == NVML_ERROR_TIMEOUT &&
	       (int)GPU_IS_LOST == NVML_ERROR_GPU_IS_LOST && (int)LIB_RM_VERSION_MISMATCH == NVML_ERROR_LIB_RM_VERSION_MISMATCH &&
	       (int)OUT_OF_MEMORY == NVML_ERROR_MEMORY && (int)ARGUMENT_VERSION_MISMATCH == NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
	       "nvmlReturn_t");
_Static_assert((int)UNSIGNED_INT == NVML_VALUE_TYPE_UNSIGNED_INT && (int)UNSIGNED_LONG_LONG == NVML_VALUE_TYPE_UNSIGNED_LONG_LONG,
	       "nvmlValueType_t");
_Static_assert((int)GPU_SAMPLES == NVML_GPU_UTILIZATION_SAMPLES && (int)DECODER_SAMPLES == NVML_DEC_UTILIZATION_SAMPLES &&
	       (int)SAMPLING_TYPES == NVML_SAMPLINGTYPE_COUNT, "nvmlSamplingType_t");
_Static_assert(FIELD_ECC_FIRST == NVML_FI_DEV_ECC_SBE_VOL_TOTAL && FIELD_ECC_LAST == NVML_FI_DEV_ECC_DBE_AGG_CBU &&
	       FIELD_ENERGY == NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION && FIELD_ENERGY_OF_GPU == NVML_FI_DEV_ENERGY &&
	       FIELD_NVLINK_THROUGHPUT_FIRST == NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX &&
	       FIELD_NVLINK_THROUGHPUT_LAST == NVML_FI_DEV_NVLINK_THROUGHPUT_RAW_RX &&
	       FIELD_REMAPPED_CORRECTABLE == NVML_FI_DEV_REMAPPED_COR && FIELD_REMAP_FAILED == NVML_FI_DEV_REMAPPED_FAILURE, "NVML_FI_");
_Static_assert(EVENT_XID == nvmlEventTypeXidCriticalError && EVENT_CLOCK == nvmlEventTypeClock && EVENT_PSTATE == nvmlEventTypePState &&
	       EVENT_DOUBLE_BIT_ECC == nvmlEventTypeDoubleBitEccError, "nvmlEventType");
_Static_assert((int)GPM_PCIE_RECEIVE == NVML_GPM_METRIC_PCIE_RX_PER_SEC && (int)GPM_METRIC_MAX == NVML_GPM_METRIC_MAX, "NVML_GPM_METRIC_");

static int wrong;

#define WANT(call, want) want_((long long)(call), want, #call, __LINE__)

static void want_(long long got, long long want, const char *what, int line)
{
	if (got == want)
		return;
	printf("%d: %s = %lld; want %lld\n", line, what, got, want);
	wrong = 1;
}

static void processes(nvmlDevice_t gpu)
{
	nvmlProcessInfo_t infos[4];
	memset(infos, 0x55, sizeof infos);
	unsigned int count = 0;
	WANT(nvmlDeviceGetComputeRunningProcesses_v3(gpu, &count, NULL), NVML_ERROR_INSUFFICIENT_SIZE);
	WANT(count, 2);
	count = 1;
	WANT(nvmlDeviceGetComputeRunningProcesses_v3(gpu, &count, infos), NVML_ERROR_INSUFFICIENT_SIZE);
	WANT(count, 2);
	WANT(infos[1].pid, 0x55555555); /* nothing beyond the room given */
	WANT(nvmlDeviceGetComputeRunningProcesses_v3(gpu, &count, NULL), NVML_ERROR_INVALID_ARGUMENT);
	WANT(nvmlDeviceGetComputeRunningProcesses_v3(gpu, NULL, infos), NVML_ERROR_INVALID_ARGUMENT);
	count = 4;
	WANT(nvmlDeviceGetComputeRunningProcesses_v3(gpu, &count, infos), NVML_SUCCESS);
	WANT(count, 2);
	WANT(infos[0].pid, 11);
	WANT(infos[1].usedGpuMemory == (unsigned long long)NVML_VALUE_NOT_AVAILABLE, 1);
	WANT(infos[0].gpuInstanceId, 0xFFFFFFFF);
	WANT(infos[0].computeInstanceId, 0xFFFFFFFF);
	count = 0;
	WANT(nvmlDeviceGetGraphicsRunningProcesses_v3(gpu, &count, NULL), NVML_SUCCESS); /* none are running */
	WANT(count, 0);

	nvmlProcessInfo_v1_t small[3];
	memset(small, 0x55, sizeof small);
	count = 3;
	WANT(nvmlDeviceGetComputeRunningProcesses(gpu, &count, small), NVML_SUCCESS);
	WANT(count, 2);
	WANT(small[1].pid, 12);
	WANT(small[2].pid, 0x55555555);
	count = 0;
	WANT(nvmlDeviceGetComputeRunningProcesses(gpu, &count, NULL), NVML_ERROR_INSUFFICIENT_SIZE);
	WANT(count, 2);
}

static void process_use(nvmlDevice_t gpu)
{
	nvmlProcessUtilizationSample_t samples[2];
	unsigned int count = 77;
	WANT(nvmlDeviceGetProcessUtilization(gpu, NULL, &count, 0), NVML_ERROR_INSUFFICIENT_SIZE);
	WANT(count, 2);
	WANT(nvmlDeviceGetProcessUtilization(gpu, NULL, NULL, 0), NVML_ERROR_INVALID_ARGUMENT);
	count = 1;
	WANT(nvmlDeviceGetProcessUtilization(gpu, samples, &count, 0), NVML_ERROR_INSUFFICIENT_SIZE);
	WANT(count, 2);
	WANT(nvmlDeviceGetProcessUtilization(gpu, samples, &count, 0), NVML_SUCCESS);
	WANT(samples[1].smUtil, 5);

	nvmlProcessUtilizationInfo_v1_t uses[2];
	nvmlProcessesUtilizationInfo_t info = {.version = 0};
	WANT(nvmlDeviceGetProcessesUtilizationInfo(gpu, &info), NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
	info.version = nvmlProcessesUtilizationInfo_v1;
	info.processSamplesCount = 2;
	WANT(nvmlDeviceGetProcessesUtilizationInfo(gpu, &info), NVML_ERROR_INSUFFICIENT_SIZE); /* there is no array */
	WANT(info.processSamplesCount, 2);
	info.procUtilArray = uses;
	WANT(nvmlDeviceGetProcessesUtilizationInfo(gpu, &info), NVML_SUCCESS);
	WANT(uses[0].pid, 11);
	WANT(uses[0].smUtil, 40);
	info.lastSeenTimeStamp = uses[0].timeStamp;
	WANT(nvmlDeviceGetProcessesUtilizationInfo(gpu, &info), NVML_ERROR_NOT_FOUND);
}

static void samples(nvmlDevice_t gpu)
{
	nvmlSample_t some[3];
	nvmlValueType_t type = NVML_VALUE_TYPE_DOUBLE;
	unsigned int count = 1;
	WANT(nvmlDeviceGetSamples(gpu, NVML_GPU_UTILIZATION_SAMPLES, 0, &type, &count, NULL), NVML_SUCCESS);
	WANT(count, 120); /* the size of the ring, whatever the last seen */
	WANT(type, NVML_VALUE_TYPE_UNSIGNED_INT);
	count = 0;
	WANT(nvmlDeviceGetSamples(gpu, NVML_GPU_UTILIZATION_SAMPLES, 0, &type, &count, some), NVML_ERROR_INVALID_ARGUMENT);
	WANT(nvmlDeviceGetSamples(gpu, NVML_GPU_UTILIZATION_SAMPLES, 0, &type, NULL, some), NVML_ERROR_INVALID_ARGUMENT);
	count = 3;
	WANT(nvmlDeviceGetSamples(gpu, NVML_GPU_UTILIZATION_SAMPLES, 0, &type, &count, some), NVML_SUCCESS);
	WANT(count, 3);
	WANT(some[1].timeStamp - some[0].timeStamp, 200000);
	WANT(some[0].timeStamp, 1000000000LL - 119 * 200000); /* the oldest of the ring first */
	WANT(nvmlDeviceGetSamples(gpu, NVML_GPU_UTILIZATION_SAMPLES, 999800000, &type, &count, some), NVML_SUCCESS);
	WANT(count, 1);
	WANT(some[0].timeStamp, 1000000000);
	WANT(nvmlDeviceGetSamples(gpu, NVML_GPU_UTILIZATION_SAMPLES, 1000000000, &type, &count, NULL), NVML_ERROR_NOT_FOUND);
	WANT(nvmlDeviceGetSamples(gpu, NVML_GPU_UTILIZATION_SAMPLES, ~0ull, &type, &count, NULL), NVML_ERROR_NOT_FOUND);
	WANT(nvmlDeviceGetSamples(gpu, NVML_TOTAL_POWER_SAMPLES, 0, &type, &count, NULL), NVML_ERROR_NOT_SUPPORTED);
	WANT(nvmlDeviceGetSamples(gpu, 10, 0, &type, &count, NULL), NVML_ERROR_INVALID_ARGUMENT);
}

static void wrong_arguments(nvmlDevice_t gpu)
{
	nvmlDevice_t none = {0}, other = {(void *)0x1234}, out;
	unsigned int number, other_number;
	char text[4];
	unsigned long long wide;
	WANT(nvmlDeviceGetIndex(none, &number), NVML_ERROR_INVALID_ARGUMENT);
	WANT(nvmlDeviceGetIndex(other, &number), NVML_ERROR_INVALID_ARGUMENT);
	WANT(nvmlDeviceGetIndex(gpu, NULL), NVML_ERROR_INVALID_ARGUMENT);
	WANT(nvmlDeviceGetName(gpu, text, sizeof text), NVML_ERROR_INSUFFICIENT_SIZE);
	WANT(nvmlDeviceGetName(gpu, NULL, 96), NVML_ERROR_INVALID_ARGUMENT);
	WANT(nvmlDeviceGetUtilizationRates(gpu, NULL), NVML_ERROR_INVALID_ARGUMENT);
	WANT(nvmlDeviceGetMemoryInfo(gpu, NULL), NVML_ERROR_INVALID_ARGUMENT);
	WANT(nvmlDeviceGetMemoryInfo_v2(gpu, NULL), NVML_ERROR_INVALID_ARGUMENT);
	nvmlMemory_v2_t memory = {.version = 2};
	WANT(nvmlDeviceGetMemoryInfo_v2(gpu, &memory), NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
	WANT(nvmlDeviceGetPciInfo_v3(gpu, NULL), NVML_ERROR_INVALID_ARGUMENT);
	WANT(nvmlDeviceGetFieldValues(gpu, 1, NULL), NVML_ERROR_INVALID_ARGUMENT);
	nvmlFieldValue_t field = {.fieldId = 1};
	WANT(nvmlDeviceGetFieldValues(gpu, 0, &field), NVML_ERROR_INVALID_ARGUMENT);
	WANT(nvmlDeviceGetClockInfo(gpu, 9, &number), NVML_ERROR_INVALID_ARGUMENT);
	WANT(nvmlDeviceGetTotalEccErrors(gpu, 2, 0, &wide), NVML_ERROR_INVALID_ARGUMENT);
	WANT(nvmlDeviceGetHandleByUUID(NULL, &out), NVML_ERROR_INVALID_ARGUMENT);
	WANT(nvmlDeviceGetHandleByUUID("GPU-none", &out), NVML_ERROR_NOT_FOUND);
	WANT(nvmlDeviceGetHandleByIndex_v2(0, NULL), NVML_ERROR_INVALID_ARGUMENT);
	WANT(nvmlDeviceGetHandleByIndex_v2(1000, &out), NVML_ERROR_INVALID_ARGUMENT);
	WANT(nvmlDeviceGetMigMode(gpu, &number, NULL), NVML_ERROR_INVALID_ARGUMENT);
	WANT(nvmlDeviceGetMigDeviceHandleByIndex(gpu, 0, &out), NVML_ERROR_NOT_SUPPORTED);
	WANT(nvmlDeviceGetEncoderUtilization(gpu, NULL, &other_number), NVML_ERROR_INVALID_ARGUMENT);
	WANT(nvmlEventSetWait_v2((nvmlEventSet_t){0}, NULL, 0), NVML_ERROR_INVALID_ARGUMENT);
	WANT(nvmlEventSetFree((nvmlEventSet_t){0}), NVML_ERROR_INVALID_ARGUMENT);
	WANT(nvmlGpmSampleAlloc(NULL), NVML_ERROR_INVALID_ARGUMENT);
	WANT(nvmlGpmSampleFree((nvmlGpmSample_t){0}), NVML_ERROR_INVALID_ARGUMENT);
	WANT(nvmlGpmSampleGet(gpu, (nvmlGpmSample_t){0}), NVML_ERROR_INVALID_ARGUMENT);
	static nvmlGpmMetricsGet_t metrics = {.version = NVML_GPM_METRICS_GET_VERSION};
	WANT(nvmlGpmMetricsGet(&metrics), NVML_ERROR_INVALID_ARGUMENT);
	WANT(nvmlGpmMetricsGet(NULL), NVML_ERROR_INVALID_ARGUMENT);
	nvmlGpmSupport_t support = {.version = 9};
	WANT(nvmlGpmQueryDeviceSupport(gpu, &support), NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
}

int main(void)
{
	nvmlDevice_t gpu;
	unsigned int count;
	WANT(nvmlDeviceGetCount_v2(&count), NVML_ERROR_UNINITIALIZED);
	WANT(nvmlShutdown(), NVML_ERROR_UNINITIALIZED);
	WANT(nvmlInit_v2(), NVML_SUCCESS);
	WANT(nvmlInit_v2(), NVML_SUCCESS);
	WANT(nvmlDeviceGetHandleByIndex_v2(0, &gpu), NVML_SUCCESS);
	processes(gpu);
	process_use(gpu);
	samples(gpu);
	wrong_arguments(gpu);
	WANT(nvmlShutdown(), NVML_SUCCESS);
	WANT(nvmlDeviceGetCount_v2(&count), NVML_SUCCESS); /* one user is left */
	WANT(nvmlShutdown(), NVML_SUCCESS);
	WANT(nvmlDeviceGetCount_v2(&count), NVML_ERROR_UNINITIALIZED);
	return wrong;
}
