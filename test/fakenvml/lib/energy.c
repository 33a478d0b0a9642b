/* Energy meters: power summed up over the library's clock since it was loaded, where the scenario asks for it. */
#define _GNU_SOURCE
#include "fields.h"
#include "abi.h"
#include "state.h"

#include <stdlib.h>
#include <string.h>

struct meter {
	char *uuid;
	long long read_at;
	double millijoules;
	struct meter *next;
};

static struct meter *meters;

static struct meter *meter_of(const char *uuid, long long begin)
{
	for (struct meter *m = meters; m != NULL; m = m->next)
		if (strcmp(m->uuid, uuid) == 0)
			return m;
	struct meter *m = malloc(sizeof *m);
	if (m == NULL || (*m = (struct meter){strdup(uuid), begin, 0, meters}).uuid == NULL)
		abort();
	return meters = m;
}

/* Milliwatts for microseconds are nanojoules. */
static struct meter *run(const struct device *d, long long until)
{
	struct meter *m = meter_of(d->unit.uuid, until);
	if (until > m->read_at)
		m->millijoules += (double)d->power * (double)(until - m->read_at) / 1e6;
	m->read_at = until;
	return m;
}

void run_meters(const struct scenario *s, long long until)
{
	for (int i = 0; i < s->devices.count; i++)
		if (s->devices.items[i].energy_from_power)
			run(&s->devices.items[i], until);
}

int energy_of(const struct device *d, unsigned long long *millijoules)
{
	const struct field *f = field_of(d, FIELD_ENERGY);
	if (f == NULL && !d->energy_from_power)
		return NOT_SUPPORTED;
	*millijoules = f == NULL ? 0 : f->value;
	if (d->energy_from_power)
		*millijoules += (unsigned long long)run(d, now())->millijoules;
	return SUCCESS;
}

EXPORT int nvmlDeviceGetTotalEnergyConsumption(void *handle, unsigned long long *out)
{
	struct target t;
	unsigned long long millijoules = 0;
	int result = begin_whole(handle, __func__, &t);
	if (result == SUCCESS)
		result = energy_of(t.device, &millijoules);
	return end(result == SUCCESS ? put_wide(out, millijoules) : result);
}
