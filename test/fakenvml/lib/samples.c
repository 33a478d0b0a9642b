/* Utilization: the driver's ring of samples, and its latest. None of it is supported on GPUs in MIG mode. */
#define _GNU_SOURCE
#include "abi.h"
#include "state.h"

#include <string.h>

/* The device as it was at a moment; as it is now when it was not there yet. */
static const struct device *device_at(const struct device *d, long long moment)
{
	for (const struct version *v = versions(); v != NULL; v = v->older) {
		if (v->start > moment && v->older != NULL)
			continue;
		for (int i = 0; i < v->scenario->devices.count; i++)
			if (strcmp(v->scenario->devices.items[i].unit.uuid, d->unit.uuid) == 0)
				return &v->scenario->devices.items[i];
		break;
	}
	return d;
}

static unsigned int burst_at(const struct device *d, long long moment, unsigned int base)
{
	for (const struct burst *b = d->bursts.items; b < d->bursts.items + d->bursts.count; b++)
		if (b->start <= moment && moment < b->start + b->length && b->percent > base)
			base = b->percent;
	return base;
}

/* A burst counts in the scenario of its time, and in the present one, which may tell of the past. */
static unsigned int percent_at(const struct device *d, unsigned int type, long long moment)
{
	const struct device *then = device_at(d, moment);
	switch (type) {
	case GPU_SAMPLES: return burst_at(d, moment, burst_at(then, moment, then->utilization_gpu));
	case MEMORY_SAMPLES: return then->utilization_memory;
	case ENCODER_SAMPLES: return then->encoder;
	default: return then->decoder;
	}
}

static int begin_unpartitioned(void *handle, const char *function, struct target *out)
{
	int result = begin_whole(handle, function, out);
	return result == SUCCESS && out->device->mig_mode ? NOT_SUPPORTED : result;
}

/*
 * samples NULL asks for how many there are: the size of the ring, whatever the last seen. Then the oldest that are newer than
 * the last seen are given, as many as there is room for, so that one who goes on from the newest given loses none.
 */
EXPORT int nvmlDeviceGetSamples(void *handle, unsigned int type, unsigned long long last_seen, int *value_type, unsigned int *count,
				struct sample *samples)
{
	struct target t;
	int result = begin_unpartitioned(handle, __func__, &t);
	if (result != SUCCESS)
		return end(result);
	if (count == NULL || type >= SAMPLING_TYPES || (samples != NULL && *count == 0))
		return end(INVALID_ARGUMENT);
	if (t.device->sample_period == 0 || type < GPU_SAMPLES || type > DECODER_SAMPLES)
		return end(NOT_SUPPORTED);
	long long period = t.device->sample_period, last = now() / period, first = last - RING_SIZE + 1;
	if (last_seen / (unsigned long long)period >= (unsigned long long)last)
		return end(NOT_FOUND);
	if ((long long)last_seen / period >= first)
		first = (long long)last_seen / period + 1;
	if (first < 1)
		first = 1;
	if (value_type != NULL)
		*value_type = UNSIGNED_INT;
	if (samples == NULL)
		return end(put(count, RING_SIZE));
	unsigned int given = 0;
	for (long long k = first; k <= last && given < *count; k++, given++)
		samples[given] = (struct sample){(unsigned long long)(k * period), {.narrow = percent_at(t.device, type, k * period)}};
	return end(put(count, given));
}

EXPORT int nvmlDeviceGetUtilizationRates(void *handle, struct utilization *out)
{
	struct target t;
	int result = begin_unpartitioned(handle, __func__, &t);
	if (result == SUCCESS && out == NULL)
		result = INVALID_ARGUMENT;
	if (result == SUCCESS)
		*out = (struct utilization){percent_at(t.device, GPU_SAMPLES, now()), percent_at(t.device, MEMORY_SAMPLES, now())};
	return end(result);
}

static int engine(void *handle, const char *function, unsigned int type, unsigned int *out, unsigned int *period)
{
	struct target t;
	int result = begin_unpartitioned(handle, function, &t);
	if (result == SUCCESS)
		result = put(period, (unsigned int)period_of(t.device));
	return end(result == SUCCESS ? put(out, percent_at(t.device, type, now())) : result);
}

EXPORT int nvmlDeviceGetEncoderUtilization(void *handle, unsigned int *out, unsigned int *period)
{
	return engine(handle, __func__, ENCODER_SAMPLES, out, period);
}

EXPORT int nvmlDeviceGetDecoderUtilization(void *handle, unsigned int *out, unsigned int *period)
{
	return engine(handle, __func__, DECODER_SAMPLES, out, period);
}
