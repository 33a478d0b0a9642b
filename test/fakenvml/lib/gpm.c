/* The GPU performance monitor, of Hopper and newer: what happened between two samples. */
#define _GNU_SOURCE
#include "abi.h"
#include "state.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define APART 100000 /* microseconds: "greater than 100ms due to the internal sample refresh rate" */

struct gpm_sample {
	long long taken; /* by the real clock, since the machine started; 0: never */
	uintptr_t of;    /* whom it is of */
	struct metric_list values;
};

static long long uptime(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000LL + t.tv_nsec / 1000 + 1;
}

/* Of a GPU in MIG mode it is enough that one of its instances has the monitor. */
static int supported(const struct target *t)
{
	int yes = t->unit->has_gpm;
	for (int i = 0; t->instance == NULL && t->device->mig_mode && i < t->device->instances.count; i++)
		yes |= t->device->instances.items[i].unit.has_gpm;
	return yes;
}

EXPORT int nvmlGpmQueryDeviceSupport(void *handle, struct gpm_support *io)
{
	struct target t;
	int result = begin_on(handle, __func__, &t);
	if (result == SUCCESS && io == NULL)
		result = INVALID_ARGUMENT;
	if (result == SUCCESS && io->version != 1)
		result = ARGUMENT_VERSION_MISMATCH;
	if (result == SUCCESS)
		io->supported = (unsigned int)supported(&t);
	return end(result);
}

EXPORT int nvmlGpmSampleAlloc(struct gpm_sample **out)
{
	if (out == NULL)
		return INVALID_ARGUMENT;
	*out = calloc(1, sizeof **out);
	return *out == NULL ? OUT_OF_MEMORY : SUCCESS;
}

EXPORT int nvmlGpmSampleFree(struct gpm_sample *sample)
{
	if (sample == NULL)
		return INVALID_ARGUMENT;
	free(sample->values.items);
	free(sample);
	return SUCCESS;
}

static int take(const struct unit *u, uintptr_t of, struct gpm_sample *out)
{
	if (!u->has_gpm)
		return NOT_SUPPORTED;
	size_t size = (size_t)u->gpm.count * sizeof *u->gpm.items;
	struct metric *values = realloc(out->values.items, size + 1);
	if (values == NULL)
		return OUT_OF_MEMORY;
	if (size > 0)
		memcpy(values, u->gpm.items, size);
	*out = (struct gpm_sample){uptime(), of, {values, u->gpm.count}};
	return SUCCESS;
}

/* Takes the handle of a GPU or of a MIG instance. */
EXPORT int nvmlGpmSampleGet(void *handle, struct gpm_sample *out)
{
	struct target t;
	int result = begin_on(handle, __func__, &t);
	if (result == SUCCESS && out == NULL)
		result = INVALID_ARGUMENT;
	return end(result == SUCCESS ? take(t.unit, (uintptr_t)handle, out) : result);
}

/* Takes a GPU's handle and the number of a GPU instance. */
EXPORT int nvmlGpmMigSampleGet(void *handle, unsigned int gpu_instance, struct gpm_sample *out)
{
	struct target t;
	int result = begin_whole(handle, __func__, &t);
	if (result == SUCCESS && out == NULL)
		result = INVALID_ARGUMENT;
	if (result == SUCCESS && !t.device->mig_mode)
		result = NOT_SUPPORTED;
	if (result != SUCCESS)
		return end(result);
	for (const struct instance *i = t.device->instances.items; i < t.device->instances.items + t.device->instances.count; i++) {
		struct target in = {t.device, i, &i->unit, t.index};
		if (i->unit.uuid[0] == '\0' || i->gpu_instance != gpu_instance)
			continue;
		result = error_of(&in, __func__);
		return end(result == SUCCESS ? take(&i->unit, (uintptr_t)handle_of_gpu_instance(t.index, gpu_instance), out) : result);
	}
	return end(NOT_FOUND);
}

static void put_metric(const struct gpm_sample *from, struct gpm_metric *io)
{
	io->short_name = io->long_name = io->unit = NULL;
	io->result = NOT_SUPPORTED;
	for (const struct metric *m = from->values.items; m < from->values.items + from->values.count; m++)
		if (m->id == io->id) {
			io->result = SUCCESS;
			io->value = m->value;
		}
}

/* Refuses samples that were never taken, are of two devices, or are too close together. The values are the newer one's. */
EXPORT int nvmlGpmMetricsGet(struct gpm_metrics *io)
{
	int result = begin();
	if (result != SUCCESS)
		return end(result);
	if (io == NULL || io->first == NULL || io->second == NULL || io->count > GPM_METRIC_MAX)
		return end(INVALID_ARGUMENT);
	if (io->version != 1)
		return end(ARGUMENT_VERSION_MISMATCH);
	long long between = io->second->taken - io->first->taken;
	if (io->first->taken == 0 || io->second->taken == 0 || io->first->of != io->second->of || llabs(between) < APART)
		return end(INVALID_ARGUMENT);
	for (unsigned int i = 0; i < io->count; i++)
		put_metric(between > 0 ? io->second : io->first, &io->metrics[i]);
	return end(SUCCESS);
}
