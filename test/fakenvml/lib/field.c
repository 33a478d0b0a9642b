/* nvmlDeviceGetFieldValues, and the calls that say the same one by one. */
#define _GNU_SOURCE
#include "abi.h"
#include "fields.h"
#include "state.h"

const struct field *field_of(const struct device *d, unsigned int id)
{
	for (const struct field *f = d->fields.items; f < d->fields.items + d->fields.count; f++)
		if (f->id == id)
			return f;
	return NULL;
}

/* Counters of errors and of energy, and what NVLink carried, are of 64 bits; all else is of 32. The PCIe counters, 197 and 198, wrap. */
static int is_wide(unsigned int id)
{
	return (id >= FIELD_ECC_FIRST && id <= FIELD_ECC_LAST) || id == FIELD_ENERGY || id == FIELD_ENERGY_OF_GPU ||
	       (id >= FIELD_NVLINK_THROUGHPUT_FIRST && id <= FIELD_NVLINK_THROUGHPUT_LAST);
}

static int read_field(const struct device *d, struct field_value *v)
{
	unsigned long long value;
	if (v->id == FIELD_ENERGY || v->id == FIELD_ENERGY_OF_GPU) {
		int result = energy_of(d, &value);
		if (result != SUCCESS)
			return result;
	} else {
		const struct field *f = field_of(d, v->id);
		/* NVML_FI_DEV_NVLINK_THROUGHPUT_*: scope UINT_MAX is the sum of all links; no single link is played here. */
		int of_link = v->id >= FIELD_NVLINK_THROUGHPUT_FIRST && v->id <= FIELD_NVLINK_THROUGHPUT_LAST && v->scope != NONE;
		if (f == NULL || of_link)
			return NOT_SUPPORTED;
		value = f->value;
	}
	v->type = is_wide(v->id) ? UNSIGNED_LONG_LONG : UNSIGNED_INT;
	if (is_wide(v->id))
		v->value.wide = value;
	else
		v->value.narrow = (unsigned int)value;
	return SUCCESS;
}

/* "You must check the nvmlReturn field of each value": one that is not supported says so by itself. */
EXPORT int nvmlDeviceGetFieldValues(void *handle, int count, struct field_value *values)
{
	struct target t;
	int result = begin_on(handle, __func__, &t);
	if (result != SUCCESS)
		return end(result);
	if (values == NULL || count <= 0)
		return end(INVALID_ARGUMENT);
	for (struct field_value *v = values; v < values + count; v++) {
		v->timestamp = now();
		v->latency = 0;
		v->result = t.instance != NULL ? NOT_SUPPORTED : read_field(t.device, v);
	}
	return end(SUCCESS);
}

/* The order of fields 3 to 6: corrected and uncorrected, since the driver was loaded, and then over the device's life. */
EXPORT int nvmlDeviceGetTotalEccErrors(void *handle, unsigned int uncorrected, unsigned int aggregate, unsigned long long *out)
{
	struct target t;
	int result = begin_whole(handle, __func__, &t);
	if (result != SUCCESS)
		return end(result);
	if (uncorrected > 1 || aggregate > 1)
		return end(INVALID_ARGUMENT);
	const struct field *f = field_of(t.device, FIELD_ECC_FIRST + uncorrected + 2 * aggregate);
	return end(f == NULL ? NOT_SUPPORTED : put_wide(out, f->value));
}

static int put_field(const struct device *d, unsigned int id, unsigned int *out)
{
	const struct field *f = field_of(d, id);
	return f == NULL ? NOT_SUPPORTED : put(out, (unsigned int)f->value);
}

/* Not supported on a GPU in MIG mode with active instances. */
EXPORT int nvmlDeviceGetRemappedRows(void *handle, unsigned int *correctable, unsigned int *uncorrectable, unsigned int *pending,
				     unsigned int *failed)
{
	struct target t;
	int result = begin_whole(handle, __func__, &t);
	if (result == SUCCESS && t.device->mig_mode && t.device->instances.count > 0)
		result = NOT_SUPPORTED;
	if (result == SUCCESS)
		result = put_field(t.device, FIELD_REMAPPED_CORRECTABLE, correctable);
	if (result == SUCCESS)
		result = put_field(t.device, FIELD_REMAPPED_UNCORRECTABLE, uncorrectable);
	if (result == SUCCESS)
		result = put_field(t.device, FIELD_REMAP_PENDING, pending);
	if (result == SUCCESS)
		result = put_field(t.device, FIELD_REMAP_FAILED, failed);
	return end(result);
}
