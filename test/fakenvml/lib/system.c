/*
 * A libnvidia-ml.so.1 whose devices are written in a scenario file, for machines without a GPU. It exports what Foretide calls,
 * and what its neighbours on a node may, under the names and with the binary interface and the meaning that nvml.h states; where
 * a comment quotes or names a function, it is the header that is meant.
 *
 * A function that is not here is missing, as it is from a driver too old to have it.
 */
#define _GNU_SOURCE
#include "abi.h"
#include "state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The version of the driver that the library was built for; "" stands for whatever driver is there. */
#ifndef BUILT_FOR
#define BUILT_FOR ""
#endif

EXPORT int nvmlInit_v2(void)
{
	begin();
	const struct scenario *s = present();
	if (s == NULL)
		return end(DRIVER_NOT_LOADED);
	if (s->init_error != SUCCESS)
		return end(s->init_error);
	if (BUILT_FOR[0] != '\0' && strcmp(s->driver_version, BUILT_FOR) != 0)
		return end(LIB_RM_VERSION_MISMATCH); /* the driver was replaced under a program that has the old library */
	count_user(1);
	return end(SUCCESS);
}

EXPORT int nvmlInit(void) { return nvmlInit_v2(); }

EXPORT int nvmlInitWithFlags(unsigned int flags)
{
	(void)flags;
	return nvmlInit_v2();
}

EXPORT int nvmlShutdown(void)
{
	int result = begin();
	if (result == SUCCESS)
		count_user(-1);
	return end(result);
}

EXPORT const char *nvmlErrorString(int result)
{
	static const char *const texts[] = {
		"Success", "Uninitialized", "Invalid Argument", "Not Supported", "Insufficient Permissions", "Already Initialized",
		"Not Found", "Insufficient Size", "Insufficient External Power", "Driver Not Loaded", "Timeout", "Interrupt Request Issue",
		"NVML Shared Library Not Found", "Function Not Found", "Corrupted infoROM", "GPU is lost", "GPU requires reset",
		"GPU access blocked by the operating system", "Driver/library version mismatch", "GPU is in use",
	};
	if (result < 0 || (size_t)result >= sizeof texts / sizeof *texts)
		return "Unknown Error";
	return texts[result];
}

EXPORT int nvmlSystemGetDriverVersion(char *out, unsigned int size)
{
	int result = begin();
	if (result == SUCCESS)
		result = present() == NULL ? GPU_IS_LOST : put_text(out, size, present()->driver_version);
	return end(result);
}

/* The CUDA version of a driver's branch, as 1000 × major + 10 × minor (CUDA release notes, table of driver versions). */
static int cuda_of(const char *driver)
{
	static const struct { int branch, cuda; } releases[] = {
		{580, 13000}, {575, 12090}, {570, 12080}, {565, 12070}, {560, 12060}, {555, 12050}, {550, 12040}, {545, 12030},
		{535, 12020}, {530, 12010}, {525, 12000}, {520, 11080}, {515, 11070}, {510, 11060}, {495, 11050}, {470, 11040},
	};
	for (size_t i = 0; i < sizeof releases / sizeof *releases; i++)
		if (atoi(driver) >= releases[i].branch)
			return releases[i].cuda;
	return 11000;
}

/* The driver's version with CUDA's major number before it. */
EXPORT int nvmlSystemGetNVMLVersion(char *out, unsigned int size)
{
	char text[96];
	int result = begin();
	if (result == SUCCESS && present() == NULL)
		result = GPU_IS_LOST;
	if (result != SUCCESS)
		return end(result);
	const char *driver = BUILT_FOR[0] != '\0' ? BUILT_FOR : present()->driver_version;
	snprintf(text, sizeof text, "%d.%s", cuda_of(driver) / 1000, driver);
	return end(put_text(out, size, text));
}

EXPORT int nvmlSystemGetCudaDriverVersion(int *out)
{
	int result = begin();
	if (result == SUCCESS && present() == NULL)
		result = GPU_IS_LOST;
	if (result == SUCCESS)
		result = put((unsigned int *)out, (unsigned int)cuda_of(present()->driver_version));
	return end(result);
}

EXPORT int nvmlDeviceGetCount_v2(unsigned int *out)
{
	int result = begin();
	if (result == SUCCESS)
		result = present() == NULL ? GPU_IS_LOST : put(out, (unsigned int)present()->devices.count);
	return end(result);
}

EXPORT int nvmlDeviceGetCount(unsigned int *out) { return nvmlDeviceGetCount_v2(out); }

static int put_handle(void **out, void *handle)
{
	if (out == NULL)
		return INVALID_ARGUMENT;
	*out = handle;
	return SUCCESS;
}

EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **out)
{
	struct target t;
	if (index >= MAX_DEVICES)
		return INVALID_ARGUMENT;
	int result = begin_on(handle_of(index), __func__, &t);
	return end(result == SUCCESS ? put_handle(out, handle_of(index)) : result);
}

EXPORT int nvmlDeviceGetHandleByIndex(unsigned int index, void **out) { return nvmlDeviceGetHandleByIndex_v2(index, out); }

/* The handle of the GPU or MIG instance that has the UUID, NULL when none has. */
static void *handle_by_uuid(const char *uuid, unsigned int index)
{
	const struct device *d = &present()->devices.items[index];
	if (strcmp(d->unit.uuid, uuid) == 0)
		return handle_of(index);
	for (int slot = 0; d->mig_mode && slot < d->instances.count; slot++)
		if (strcmp(d->instances.items[slot].unit.uuid, uuid) == 0)
			return handle_of_instance(index, (unsigned int)slot);
	return NULL;
}

/* "NVML may initialize additional GPUs as it searches": a lost one before it is in the way. */
EXPORT int nvmlDeviceGetHandleByUUID(const char *uuid, void **out)
{
	void *handle = NULL;
	struct target t;
	int result = begin();
	if (result == SUCCESS && (uuid == NULL || uuid[0] == '\0' || out == NULL))
		result = INVALID_ARGUMENT;
	unsigned int count = present() == NULL ? 0 : (unsigned int)present()->devices.count;
	for (unsigned int i = 0; result == SUCCESS && handle == NULL && i < count; i++) {
		handle = handle_by_uuid(uuid, i);
		if (find(handle_of(i), &t) == SUCCESS && error_of(&t, __func__) == GPU_IS_LOST)
			result = GPU_IS_LOST;
	}
	end(result);
	if (result != SUCCESS || handle == NULL)
		return result == SUCCESS ? NOT_FOUND : result;
	result = begin_on(handle, __func__, &t);
	return end(result == SUCCESS ? put_handle(out, handle) : result);
}
