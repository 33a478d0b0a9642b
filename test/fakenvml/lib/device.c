/* What a device is, and how its board does. */
#define _GNU_SOURCE
#include "abi.h"
#include "fields.h"
#include "state.h"

#include <stdio.h>
#include <string.h>

EXPORT int nvmlDeviceGetUUID(void *handle, char *out, unsigned int size)
{
	struct target t;
	int result = begin_on(handle, __func__, &t);
	return end(result == SUCCESS ? put_text(out, size, t.unit->uuid) : result);
}

/* A MIG instance has its GPU's name and its profile: NVIDIA H100 80GB HBM3 MIG 1g.10gb. */
EXPORT int nvmlDeviceGetName(void *handle, char *out, unsigned int size)
{
	struct target t;
	char name[256];
	int result = begin_on(handle, __func__, &t);
	if (result != SUCCESS)
		return end(result);
	if (t.instance == NULL)
		return end(put_text(out, size, t.device->name));
	snprintf(name, sizeof name, "%s MIG %s", t.device->name, t.instance->profile);
	return end(put_text(out, size, name));
}

EXPORT int nvmlDeviceGetIndex(void *handle, unsigned int *out)
{
	struct target t;
	int result = begin_whole(handle, __func__, &t);
	return end(result == SUCCESS ? put(out, t.index) : result);
}

EXPORT int nvmlDeviceGetMinorNumber(void *handle, unsigned int *out)
{
	struct target t;
	int result = begin_whole(handle, __func__, &t);
	return end(result == SUCCESS ? put(out, t.device->minor) : result);
}

/* Fills in what all versions of the struct have. The GPU's and the subsystem's numbers are not played. */
static void place_on_bus(const struct target *t, struct pci_info *out)
{
	char given[sizeof out->bus_id];
	snprintf(given, sizeof given, "%s", t->device->pci_bus_id);
	if (given[0] == '\0')
		snprintf(given, sizeof given, "00000000:%02X:00.0", t->index);
	out->domain = out->bus = out->device = out->device_id = out->subsystem_id = 0;
	sscanf(given, "%x:%x:%x", &out->domain, &out->bus, &out->device);
	snprintf(out->bus_id_legacy, sizeof out->bus_id_legacy, "%04X:%02X:%02X.0", out->domain & 0xFFFF, out->bus & 0xFF, out->device & 0x1F);
}

static int older_pci_info(void *handle, const char *function, struct pci_info *out)
{
	struct target t;
	int result = begin_on(handle, function, &t);
	if (result == SUCCESS && out == NULL)
		result = INVALID_ARGUMENT;
	if (result == SUCCESS)
		place_on_bus(&t, out);
	return end(result);
}

/* Versions 1 and 2 end before bus_id. */
EXPORT int nvmlDeviceGetPciInfo(void *handle, struct pci_info *out) { return older_pci_info(handle, __func__, out); }
EXPORT int nvmlDeviceGetPciInfo_v2(void *handle, struct pci_info *out) { return older_pci_info(handle, __func__, out); }

EXPORT int nvmlDeviceGetPciInfo_v3(void *handle, struct pci_info *out)
{
	int result = older_pci_info(handle, __func__, out);
	if (result == SUCCESS)
		snprintf(out->bus_id, sizeof out->bus_id, "%08X:%02X:%02X.0", out->domain, out->bus & 0xFF, out->device & 0x1F);
	return result;
}

static unsigned long long free_of(const struct unit *u)
{
	unsigned long long used = u->memory_used + u->memory_reserved;
	return used < u->memory_total ? u->memory_total - used : 0;
}

/* Version 1: used is the "sum of Reserved and Allocated device memory", and the total is the sum of used and free. */
EXPORT int nvmlDeviceGetMemoryInfo(void *handle, struct memory *out)
{
	struct target t;
	int result = begin_on(handle, __func__, &t);
	if (result == SUCCESS && out == NULL)
		result = INVALID_ARGUMENT;
	if (result == SUCCESS)
		*out = (struct memory){t.unit->memory_total, free_of(t.unit), t.unit->memory_total - free_of(t.unit)};
	return end(result);
}

EXPORT int nvmlDeviceGetMemoryInfo_v2(void *handle, struct memory_v2 *out)
{
	struct target t;
	int result = begin_on(handle, __func__, &t);
	if (result != SUCCESS)
		return end(result);
	if (out == NULL)
		return end(INVALID_ARGUMENT);
	if (out->version != STRUCT_VERSION(struct memory_v2, 2u))
		return end(ARGUMENT_VERSION_MISMATCH);
	out->total = t.unit->memory_total;
	out->reserved = t.unit->memory_reserved;
	out->used = t.unit->memory_used;
	out->free = free_of(t.unit);
	return end(SUCCESS);
}

/* nvmlClockType_t: graphics 0 and SM 1 are one clock, memory is 2. */
EXPORT int nvmlDeviceGetClockInfo(void *handle, unsigned int type, unsigned int *out)
{
	struct target t;
	int result = begin_whole(handle, __func__, &t);
	if (result != SUCCESS)
		return end(result);
	if (type > 3)
		return end(INVALID_ARGUMENT);
	return end(put_known(out, type < 2 ? t.device->sm_clock : type == 2 ? t.device->memory_clock : 0));
}

EXPORT int nvmlDeviceGetTemperature(void *handle, unsigned int sensor, unsigned int *out)
{
	struct target t;
	int result = begin_whole(handle, __func__, &t);
	if (result == SUCCESS && sensor != 0)
		result = INVALID_ARGUMENT;
	return end(result == SUCCESS ? put_known(out, t.device->temperature) : result);
}

EXPORT int nvmlDeviceGetPowerUsage(void *handle, unsigned int *out)
{
	struct target t;
	int result = begin_whole(handle, __func__, &t);
	return end(result == SUCCESS ? put_known(out, t.device->power) : result);
}

EXPORT int nvmlDeviceGetEnforcedPowerLimit(void *handle, unsigned int *out)
{
	struct target t;
	int result = begin_whole(handle, __func__, &t);
	return end(result == SUCCESS ? put_known(out, t.device->power_limit) : result);
}

static int clock_reasons(void *handle, const char *function, unsigned long long *out)
{
	struct target t;
	int result = begin_whole(handle, function, &t);
	return end(result == SUCCESS ? put_wide(out, t.device->clock_event_reasons) : result);
}

/* One bitmask under two names, the second being the one that drivers before R535 have. */
EXPORT int nvmlDeviceGetCurrentClocksEventReasons(void *handle, unsigned long long *out) { return clock_reasons(handle, __func__, out); }
EXPORT int nvmlDeviceGetCurrentClocksThrottleReasons(void *handle, unsigned long long *out) { return clock_reasons(handle, __func__, out); }

/* Counts "over a 20ms interval", and so takes that long. KB/s; what is played is the performance monitor's MiB/s. */
EXPORT int nvmlDeviceGetPcieThroughput(void *handle, unsigned int receive, unsigned int *out)
{
	struct target t;
	int result = begin_whole(handle, __func__, &t);
	if (result == SUCCESS && receive > 1)
		result = INVALID_ARGUMENT;
	double mebibytes = 0;
	for (int i = 0; result == SUCCESS && i < t.unit->gpm.count; i++)
		if (t.unit->gpm.items[i].id == (receive ? GPM_PCIE_RECEIVE : GPM_PCIE_TRANSMIT))
			mebibytes = t.unit->gpm.items[i].value;
	end(result);
	if (result != SUCCESS)
		return result;
	nap(20);
	return put(out, (unsigned int)(mebibytes * 1024));
}

EXPORT int nvmlDeviceGetComputeMode(void *handle, unsigned int *out)
{
	struct target t;
	int result = begin_whole(handle, __func__, &t);
	return end(result == SUCCESS ? put(out, 0 /* several contexts per device */) : result);
}

EXPORT int nvmlDeviceGetVirtualizationMode(void *handle, unsigned int *out)
{
	struct target t;
	int result = begin_whole(handle, __func__, &t);
	return end(result == SUCCESS ? put(out, 0 /* bare metal */) : result);
}

EXPORT int nvmlDeviceGetBrand(void *handle, unsigned int *out)
{
	struct target t;
	int result = begin_on(handle, __func__, &t);
	return end(result == SUCCESS ? put(out, t.device->brand) : result);
}

EXPORT int nvmlDeviceGetCudaComputeCapability(void *handle, int *major, int *minor)
{
	struct target t;
	int result = begin_on(handle, __func__, &t);
	if (result == SUCCESS && (major == NULL || minor == NULL))
		result = INVALID_ARGUMENT;
	if (result == SUCCESS && sscanf(t.device->compute_capability, "%d.%d", major, minor) != 2)
		result = NOT_SUPPORTED;
	return end(result);
}

/* NVML_DEVICE_ARCH_ of a compute capability (CUDA programming guide, compute capabilities). */
static unsigned int architecture_of(const char *compute_capability)
{
	int major = 0, minor = 0;
	sscanf(compute_capability, "%d.%d", &major, &minor);
	switch (major * 10 + minor) {
	case 70: return 5;  /* Volta */
	case 75: return 6;  /* Turing */
	case 80: case 86: case 87: return 7; /* Ampere */
	case 89: return 8;  /* Ada */
	case 90: return 9;  /* Hopper */
	default: return major >= 10 ? 10 /* Blackwell */ : NONE;
	}
}

EXPORT int nvmlDeviceGetArchitecture(void *handle, unsigned int *out)
{
	struct target t;
	int result = begin_on(handle, __func__, &t);
	return end(result == SUCCESS ? put(out, architecture_of(t.device->compute_capability)) : result);
}
