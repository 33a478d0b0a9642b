/* MIG: GPUs that are divided into instances. */
#define _GNU_SOURCE
#include "abi.h"
#include "state.h"

#include <stdio.h>
#include <string.h>

#define USUAL_SLOTS 7 /* of every GPU with MIG so far (NVIDIA MIG user guide, supported GPUs) */

EXPORT int nvmlDeviceGetMigMode(void *handle, unsigned int *current, unsigned int *pending)
{
	struct target t;
	int result = begin_whole(handle, __func__, &t);
	if (result == SUCCESS)
		result = put(current, t.device->mig_mode);
	return end(result == SUCCESS ? put(pending, t.device->mig_mode) : result);
}

/* "Returns zero if MIG is not supported or enabled." */
EXPORT int nvmlDeviceGetMaxMigDeviceCount(void *handle, unsigned int *out)
{
	struct target t;
	int result = begin_whole(handle, __func__, &t);
	if (result != SUCCESS)
		return end(result);
	unsigned int slots = t.device->instances.count > USUAL_SLOTS ? (unsigned int)t.device->instances.count : USUAL_SLOTS;
	return end(put(out, t.device->mig_mode ? slots : 0));
}

EXPORT int nvmlDeviceGetMigDeviceHandleByIndex(void *handle, unsigned int slot, void **out)
{
	struct target t, instance;
	int result = begin_whole(handle, __func__, &t);
	if (result != SUCCESS)
		return end(result);
	if (out == NULL || slot >= MAX_INSTANCES)
		return end(INVALID_ARGUMENT);
	if (!t.device->mig_mode)
		return end(NOT_SUPPORTED);
	if (find(handle_of_instance(t.index, slot), &instance) != SUCCESS)
		return end(NOT_FOUND);
	result = error_of(&instance, __func__);
	if (result == SUCCESS)
		*out = handle_of_instance(t.index, slot);
	return end(result);
}

EXPORT int nvmlDeviceIsMigDeviceHandle(void *handle, unsigned int *out)
{
	struct target t;
	int result = begin_on(handle, __func__, &t);
	return end(result == SUCCESS ? put(out, t.instance != NULL) : result);
}

/* Begins a call on a MIG instance; of a GPU, "this query is not supported by the device". */
static int begin_instance(void *handle, const char *function, struct target *out)
{
	int result = begin_on(handle, function, out);
	return result == SUCCESS && out->instance == NULL ? NOT_SUPPORTED : result;
}

EXPORT int nvmlDeviceGetGpuInstanceId(void *handle, unsigned int *out)
{
	struct target t;
	int result = begin_instance(handle, __func__, &t);
	return end(result == SUCCESS ? put(out, t.instance->gpu_instance) : result);
}

EXPORT int nvmlDeviceGetComputeInstanceId(void *handle, unsigned int *out)
{
	struct target t;
	int result = begin_instance(handle, __func__, &t);
	return end(result == SUCCESS ? put(out, t.instance->compute_instance) : result);
}

EXPORT int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(void *handle, void **out)
{
	struct target t;
	int result = begin_instance(handle, __func__, &t);
	if (result == SUCCESS && out == NULL)
		result = INVALID_ARGUMENT;
	if (result == SUCCESS)
		*out = handle_of(t.index);
	return end(result);
}

/* The slices of a profile: 2 and 2 of 2g.20gb, 3 and 1 of 1c.3g.40gb, which is a third of its GPU instance. */
static void slices_of(const char *profile, unsigned int *gpu, unsigned int *compute)
{
	*gpu = *compute = 0;
	if (sscanf(profile, "%uc.%ug.", compute, gpu) == 2)
		return;
	*compute = 0;
	if (sscanf(profile, "%ug.", gpu) == 1)
		*compute = *gpu;
}

/* Engines are not played, nor multiprocessors. */
EXPORT int nvmlDeviceGetAttributes_v2(void *handle, struct attributes *out)
{
	struct target t;
	int result = begin_instance(handle, __func__, &t);
	if (result == SUCCESS && out == NULL)
		result = INVALID_ARGUMENT;
	if (result != SUCCESS)
		return end(result);
	*out = (struct attributes){.memory_mib = t.unit->memory_total >> 20};
	slices_of(t.instance->profile, &out->gpu_slices, &out->compute_slices);
	return end(SUCCESS);
}

EXPORT int nvmlDeviceGetAttributes(void *handle, struct attributes *out) { return nvmlDeviceGetAttributes_v2(handle, out); }

/* What nvidia-smi mig -lgip lists as a profile's ID, the same on A100, H100, H200 and B200 (NVIDIA/mig-parted pull request 166). */
static unsigned int profile_id(const struct instance *i)
{
	unsigned int gpu, compute;
	slices_of(i->profile, &gpu, &compute);
	switch (gpu) {
	case 1: return strchr(i->profile, '+') != NULL ? 20 : i->placement_size > 1 ? 15 : 19;
	case 2: return 14;
	case 3: return 9;
	case 4: return 5;
	case 7: return 0;
	default: return NONE;
	}
}

static const struct instance *first_in(const struct device *d, unsigned int gpu_instance)
{
	for (const struct instance *i = d->instances.items; i < d->instances.items + d->instances.count; i++)
		if (i->unit.uuid[0] != '\0' && i->gpu_instance == gpu_instance)
			return i;
	return NULL;
}

EXPORT int nvmlDeviceGetGpuInstanceById(void *handle, unsigned int id, void **out)
{
	struct target t;
	int result = begin_whole(handle, __func__, &t);
	if (result != SUCCESS)
		return end(result);
	if (!t.device->mig_mode)
		return end(NOT_SUPPORTED);
	if (out == NULL)
		return end(INVALID_ARGUMENT);
	if (first_in(t.device, id) == NULL)
		return end(NOT_FOUND);
	*out = handle_of_gpu_instance(t.index, id);
	return end(SUCCESS);
}

EXPORT int nvmlGpuInstanceGetInfo(void *handle, struct gpu_instance_info *out)
{
	struct target t;
	unsigned int device, id;
	if (out == NULL || gpu_instance_of(handle, &device, &id) != SUCCESS)
		return INVALID_ARGUMENT;
	int result = begin_whole(handle_of(device), __func__, &t);
	if (result != SUCCESS)
		return end(result);
	const struct instance *i = t.device->mig_mode ? first_in(t.device, id) : NULL;
	if (i == NULL)
		return end(INVALID_ARGUMENT);
	*out = (struct gpu_instance_info){handle_of(device), id, profile_id(i), {i->placement_start, i->placement_size}};
	return end(SUCCESS);
}
