#define _GNU_SOURCE
#include "scenario.h"
#include "abi.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Adds an item, all zero, to the end of a list and returns it. */
#define append(list) ((list)->items = grow((list)->items, &(list)->count, sizeof *(list)->items), &(list)->items[(list)->count - 1])

static void *grow(void *items, int *count, size_t size)
{
	char *more = realloc(items, (size_t)(*count + 1) * size);
	if (more == NULL)
		abort(); /* there is no scenario to go on with */
	memset(more + (size_t)(*count)++ * size, 0, size);
	return more;
}

/* Cuts white space off both ends, in place. */
static char *trim(char *s)
{
	s += strspn(s, " \t\r\n");
	size_t n = strlen(s);
	while (n > 0 && strchr(" \t\r\n", s[n - 1]) != NULL)
		s[--n] = '\0';
	return s;
}

/* Takes the next of several values with colons between them; "" when there is none. */
static const char *next(char **rest)
{
	char *value = strsep(rest, ":");
	return value == NULL ? "" : value;
}

static unsigned int narrow(const char *value) { return (unsigned int)strtoul(value, NULL, 10); }
static unsigned long long wide(const char *value) { return strtoull(value, NULL, 10); }

/* Readers of one value: at is the member of the section's struct. */

static void read_text(void *at, char *value) { *(const char **)at = value; }
static void read_narrow(void *at, char *value) { *(unsigned int *)at = narrow(value); }
static void read_wide(void *at, char *value) { *(unsigned long long *)at = wide(value); }

static void read_call(void *at, char *value)
{
	struct call_list *list = at;
	struct call *c = append(list);
	c->function = next(&value);
	c->value = atoi(next(&value));
}

static void read_field(void *at, char *value)
{
	struct field_list *list = at;
	struct field *f = append(list);
	f->id = narrow(next(&value));
	f->value = wide(next(&value));
}

/* gpm= without a metric says that the monitor is there. */
static void read_gpm(void *at, char *value)
{
	struct unit *unit = at;
	unit->has_gpm = 1;
	if (value[0] == '\0')
		return;
	struct metric *m = append(&unit->gpm);
	m->id = narrow(next(&value));
	m->value = strtod(next(&value), NULL);
}

static void read_burst(void *at, char *value)
{
	struct burst_list *list = at;
	struct burst *b = append(list);
	b->start = atoll(next(&value));
	b->length = atoll(next(&value));
	b->percent = narrow(next(&value));
}

static void read_xid(void *at, char *value)
{
	struct xid_list *list = at;
	struct xid *x = append(list);
	x->sequence = wide(next(&value));
	x->code = wide(next(&value));
}

static enum kind kind_of(const char *word)
{
	return strcmp(word, "graphics") == 0 ? GRAPHICS : strcmp(word, "mps") == 0 ? MPS : COMPUTE;
}

static unsigned int instance_id(const char *value)
{
	return value[0] == '\0' || value[0] == '-' ? NONE : narrow(value);
}

/* pid:used:sm, or pid:used:sm:memory:encoder:decoder:kind:gpu instance:compute instance */
static void read_process(void *at, char *value)
{
	struct process_list *list = at;
	struct process *p = append(list);
	p->pid = narrow(next(&value));
	p->used = wide(next(&value));
	p->sm = narrow(next(&value));
	p->memory = narrow(next(&value));
	p->encoder = narrow(next(&value));
	p->decoder = narrow(next(&value));
	p->kind = kind_of(next(&value));
	p->gpu_instance = instance_id(next(&value));
	p->compute_instance = instance_id(next(&value));
}

struct key {
	const char *name;
	void (*read)(void *at, char *value);
	size_t offset;
};

static const struct key of_scenario[] = {
	{"driver_version", read_text, offsetof(struct scenario, driver_version)},
	{"init_error", read_narrow, offsetof(struct scenario, init_error)},
	{"now_microseconds", read_wide, offsetof(struct scenario, now)},
	{NULL, NULL, 0},
};

#define OF_UNIT \
	{"memory_total_bytes", read_wide, offsetof(struct unit, memory_total)}, \
	{"memory_reserved_bytes", read_wide, offsetof(struct unit, memory_reserved)}, \
	{"memory_used_bytes", read_wide, offsetof(struct unit, memory_used)}, \
	{"gpm", read_gpm, 0}, \
	{"process", read_process, offsetof(struct unit, processes)}, \
	{"error", read_call, offsetof(struct unit, errors)}

_Static_assert(offsetof(struct device, unit) == 0 && offsetof(struct instance, unit) == 0, "OF_UNIT counts from the section's start");

static const struct key of_device[] = {
	{"uuid", read_text, offsetof(struct unit, uuid)},
	OF_UNIT,
	{"name", read_text, offsetof(struct device, name)},
	{"minor", read_narrow, offsetof(struct device, minor)},
	{"pci_bus_id", read_text, offsetof(struct device, pci_bus_id)},
	{"compute_capability", read_text, offsetof(struct device, compute_capability)},
	{"brand", read_narrow, offsetof(struct device, brand)},
	{"utilization_gpu_percent", read_narrow, offsetof(struct device, utilization_gpu)},
	{"utilization_memory_percent", read_narrow, offsetof(struct device, utilization_memory)},
	{"encoder_percent", read_narrow, offsetof(struct device, encoder)},
	{"decoder_percent", read_narrow, offsetof(struct device, decoder)},
	{"sm_clock_mhz", read_narrow, offsetof(struct device, sm_clock)},
	{"memory_clock_mhz", read_narrow, offsetof(struct device, memory_clock)},
	{"temperature_celsius", read_narrow, offsetof(struct device, temperature)},
	{"power_milliwatts", read_narrow, offsetof(struct device, power)},
	{"power_limit_milliwatts", read_narrow, offsetof(struct device, power_limit)},
	{"clock_event_reasons", read_wide, offsetof(struct device, clock_event_reasons)},
	{"energy_from_power", read_narrow, offsetof(struct device, energy_from_power)},
	{"sample_period_microseconds", read_narrow, offsetof(struct device, sample_period)},
	{"mig_mode", read_narrow, offsetof(struct device, mig_mode)},
	{"field", read_field, offsetof(struct device, fields)},
	{"burst", read_burst, offsetof(struct device, bursts)},
	{"xid", read_xid, offsetof(struct device, xids)},
	{"hang", read_call, offsetof(struct device, hangs)},
	{"delay", read_call, offsetof(struct device, delays)},
	{NULL, NULL, 0},
};

static const struct key of_instance[] = {
	{"mig_uuid", read_text, offsetof(struct unit, uuid)},
	OF_UNIT,
	{"gpu_instance", read_narrow, offsetof(struct instance, gpu_instance)},
	{"compute_instance", read_narrow, offsetof(struct instance, compute_instance)},
	{"profile", read_text, offsetof(struct instance, profile)},
	{"placement_start", read_narrow, offsetof(struct instance, placement_start)},
	{"placement_size", read_narrow, offsetof(struct instance, placement_size)},
	{NULL, NULL, 0},
};

/* Where the lines of the file go: a section's struct and its keys; at NULL skips them. */
struct section {
	const struct key *keys;
	void *at;
};

static void read_line(struct section in, char *line)
{
	char *equals = strchr(line, '=');
	if (equals == NULL || in.at == NULL)
		return;
	*equals = '\0';
	const char *name = trim(line);
	for (const struct key *k = in.keys; k->name != NULL; k++)
		if (strcmp(k->name, name) == 0)
			k->read((char *)in.at + k->offset, trim(equals + 1));
}

/* Begins [device N], or [mig N.M] of the device before it. What is not understood, or has no room, is skipped. */
static struct section begin_section(struct scenario *s, const char *header)
{
	if (strncmp(header, "[device ", 8) == 0 && s->devices.count < MAX_DEVICES) {
		struct device *d = append(&s->devices);
		d->unit.uuid = d->name = d->pci_bus_id = d->compute_capability = "";
		return (struct section){of_device, d};
	}
	struct device *last = s->devices.count > 0 ? &s->devices.items[s->devices.count - 1] : NULL;
	if (strncmp(header, "[mig ", 5) == 0 && last != NULL && last->instances.count < MAX_INSTANCES) {
		struct instance *i = append(&last->instances);
		i->unit.uuid = i->profile = "";
		return (struct section){of_instance, i};
	}
	return (struct section){NULL, NULL};
}

static char *whole_file(const char *path)
{
	FILE *f = fopen(path, "re");
	if (f == NULL)
		return NULL;
	struct stat is;
	size_t size = fstat(fileno(f), &is) == 0 && is.st_size > 0 ? (size_t)is.st_size : 0;
	char *text = malloc(size + 1);
	if (text != NULL)
		text[fread(text, 1, size, f)] = '\0';
	fclose(f);
	return text;
}

struct scenario *scenario_read(const char *path)
{
	struct scenario *s = calloc(1, sizeof *s);
	if (s == NULL || (s->text = whole_file(path)) == NULL) {
		free(s);
		return NULL;
	}
	s->driver_version = "";
	struct section in = {of_scenario, s};
	char *rest = s->text;
	for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
		line[strcspn(line, "#")] = '\0';
		line = trim(line);
		if (line[0] == '[')
			in = begin_section(s, line);
		else
			read_line(in, line);
	}
	return s;
}

static void unit_free(struct unit *u)
{
	free(u->gpm.items);
	free(u->processes.items);
	free(u->errors.items);
}

void scenario_free(struct scenario *s)
{
	if (s == NULL)
		return;
	for (struct device *d = s->devices.items; d < s->devices.items + s->devices.count; d++) {
		for (int i = 0; i < d->instances.count; i++)
			unit_free(&d->instances.items[i].unit);
		unit_free(&d->unit);
		free(d->fields.items);
		free(d->bursts.items);
		free(d->xids.items);
		free(d->hangs.items);
		free(d->delays.items);
		free(d->instances.items);
	}
	free(s->devices.items);
	free(s->text);
	free(s);
}
