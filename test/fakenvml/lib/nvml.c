/*
 * A libnvidia-ml.so.1 whose devices are written in a scenario file, for machines without a GPU. It exports what Foretide
 * calls, under the names and with the binary interface of NVIDIA's library (NVML API reference, docs.nvidia.com/deploy/nvml-api).
 * A function that is not here is missing, as it is from a driver too old to have it.
 *
 * The file is $FAKENVML_SCENARIO, else scenario.ini beside this library. It is read again whenever it has changed.
 */
#define _GNU_SOURCE
#include "scenario.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define EXPORT __attribute__((visibility("default")))

/* nvmlReturn_t */
enum {
	SUCCESS = 0,
	UNINITIALIZED = 1,
	INVALID_ARGUMENT = 2,
	INSUFFICIENT_SIZE = 7,
	DRIVER_NOT_LOADED = 9,
	GPU_IS_LOST = 15,
	ARGUMENT_VERSION_MISMATCH = 25,
};

struct utilization {
	unsigned int gpu, memory;
};

struct memory {
	unsigned long long total, free, used;
};

struct memory_v2 {
	unsigned int version;
	unsigned long long total, reserved, free, used;
};

/* A handle is this plus the device's index: never null, and never a pointer that could be followed. */
#define HANDLE_BASE ((uintptr_t)0xF0E70000)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned int initialized; /* nvmlInit calls without their nvmlShutdown */
static struct scenario scenario;
static struct stat seen; /* the file scenario was read from; st_ino 0: none */

static void scenario_path(char *out, size_t size)
{
	const char *path = getenv("FAKENVML_SCENARIO");
	if (path != NULL && path[0] != '\0') {
		snprintf(out, size, "%s", path);
		return;
	}
	Dl_info self;
	out[0] = '\0';
	if (dladdr((void *)scenario_path, &self) == 0 || self.dli_fname == NULL)
		return;
	const char *slash = strrchr(self.dli_fname, '/');
	int folder = slash == NULL ? 0 : (int)(slash - self.dli_fname) + 1;
	snprintf(out, size, "%.*sscenario.ini", folder, self.dli_fname);
}

static int unchanged(const struct stat *now)
{
	return now->st_ino == seen.st_ino && now->st_dev == seen.st_dev && now->st_size == seen.st_size &&
	       now->st_mtim.tv_sec == seen.st_mtim.tv_sec && now->st_mtim.tv_nsec == seen.st_mtim.tv_nsec;
}

/* Called with the lock held. */
static void refresh(void)
{
	char path[PATH_MAX];
	struct stat now;
	scenario_path(path, sizeof path);
	if (stat(path, &now) != 0) {
		scenario.present = 0;
		memset(&seen, 0, sizeof seen);
		return;
	}
	if (scenario.present && unchanged(&now))
		return;
	scenario_read(path, &scenario);
	seen = now;
}

static int error_of(const struct device *d, const char *function)
{
	for (int i = 0; i < d->error_count; i++)
		if (strcmp(d->errors[i].function, "*") == 0 || strcmp(d->errors[i].function, function) == 0)
			return d->errors[i].code;
	return SUCCESS;
}

/* Begins a call that is about no device. The lock is held afterwards, whatever it returns. */
static int begin(void)
{
	pthread_mutex_lock(&lock);
	refresh();
	return initialized == 0 ? UNINITIALIZED : SUCCESS;
}

/* Begins a call on a device and finds it. The lock is held afterwards, whatever it returns. */
static int begin_device(void *handle, const char *function, const struct device **out)
{
	int result = begin();
	if (result != SUCCESS)
		return result;
	uintptr_t index = (uintptr_t)handle - HANDLE_BASE;
	if (index >= MAX_DEVICES)
		return INVALID_ARGUMENT;
	if (!scenario.present || index >= (uintptr_t)scenario.device_count)
		return GPU_IS_LOST;
	*out = &scenario.devices[index];
	return error_of(*out, function);
}

static int end(int result)
{
	pthread_mutex_unlock(&lock);
	return result;
}

static int put_text(char *out, unsigned int size, const char *text)
{
	if (out == NULL)
		return INVALID_ARGUMENT;
	if (strlen(text) >= size)
		return INSUFFICIENT_SIZE;
	memcpy(out, text, strlen(text) + 1);
	return SUCCESS;
}

EXPORT int nvmlInit_v2(void)
{
	pthread_mutex_lock(&lock);
	refresh();
	if (!scenario.present)
		return end(DRIVER_NOT_LOADED);
	if (scenario.init_error != SUCCESS)
		return end(scenario.init_error);
	initialized++;
	return end(SUCCESS);
}

EXPORT int nvmlShutdown(void)
{
	int result = begin();
	if (result == SUCCESS)
		initialized--;
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
		result = put_text(out, size, scenario.driver_version);
	return end(result);
}

EXPORT int nvmlDeviceGetCount_v2(unsigned int *out)
{
	int result = begin();
	if (result == SUCCESS && !scenario.present)
		result = GPU_IS_LOST;
	if (result == SUCCESS)
		*out = (unsigned int)scenario.device_count;
	return end(result);
}

EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **out)
{
	const struct device *d;
	if (index >= MAX_DEVICES)
		return INVALID_ARGUMENT;
	int result = begin_device((void *)(HANDLE_BASE + index), __func__, &d);
	if (result == SUCCESS)
		*out = (void *)(HANDLE_BASE + index);
	return end(result);
}

EXPORT int nvmlDeviceGetHandleByUUID(const char *uuid, void **out)
{
	int result = begin();
	if (result != SUCCESS)
		return end(result);
	for (int i = 0; i < scenario.device_count; i++) {
		if (!scenario.present || strcmp(scenario.devices[i].uuid, uuid) != 0)
			continue;
		*out = (void *)(HANDLE_BASE + (uintptr_t)i);
		return end(error_of(&scenario.devices[i], __func__));
	}
	return end(6 /* NOT_FOUND */);
}

EXPORT int nvmlDeviceGetUUID(void *handle, char *out, unsigned int size)
{
	const struct device *d;
	int result = begin_device(handle, __func__, &d);
	return end(result == SUCCESS ? put_text(out, size, d->uuid) : result);
}

EXPORT int nvmlDeviceGetName(void *handle, char *out, unsigned int size)
{
	const struct device *d;
	int result = begin_device(handle, __func__, &d);
	return end(result == SUCCESS ? put_text(out, size, d->name) : result);
}

EXPORT int nvmlDeviceGetIndex(void *handle, unsigned int *out)
{
	const struct device *d;
	int result = begin_device(handle, __func__, &d);
	if (result == SUCCESS)
		*out = (unsigned int)((uintptr_t)handle - HANDLE_BASE);
	return end(result);
}

EXPORT int nvmlDeviceGetMinorNumber(void *handle, unsigned int *out)
{
	const struct device *d;
	int result = begin_device(handle, __func__, &d);
	if (result == SUCCESS)
		*out = d->minor;
	return end(result);
}

EXPORT int nvmlDeviceGetUtilizationRates(void *handle, struct utilization *out)
{
	const struct device *d;
	int result = begin_device(handle, __func__, &d);
	if (result == SUCCESS)
		*out = (struct utilization){d->utilization_gpu, d->utilization_memory};
	return end(result);
}

/* Version 1 counts what the driver reserves for itself as used. */
EXPORT int nvmlDeviceGetMemoryInfo(void *handle, struct memory *out)
{
	const struct device *d;
	int result = begin_device(handle, __func__, &d);
	if (result == SUCCESS) {
		unsigned long long used = d->memory_used + d->memory_reserved;
		*out = (struct memory){d->memory_total, d->memory_total - used, used};
	}
	return end(result);
}

EXPORT int nvmlDeviceGetMemoryInfo_v2(void *handle, struct memory_v2 *out)
{
	const struct device *d;
	int result = begin_device(handle, __func__, &d);
	if (result != SUCCESS)
		return end(result);
	/* A versioned struct carries its size, and its version in the top byte. */
	if (out->version != (sizeof *out | 2u << 24))
		return end(ARGUMENT_VERSION_MISMATCH);
	out->total = d->memory_total;
	out->reserved = d->memory_reserved;
	out->used = d->memory_used;
	out->free = d->memory_total - d->memory_reserved - d->memory_used;
	return end(SUCCESS);
}
