#define _GNU_SOURCE
#include "scenario.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void copy(char *to, size_t size, const char *from) { snprintf(to, size, "%s", from); }

/* Cuts white space off both ends, in place. */
static char *trim(char *s)
{
	s += strspn(s, " \t\r\n");
	size_t n = strlen(s);
	while (n > 0 && strchr(" \t\r\n", s[n - 1]) != NULL)
		s[--n] = '\0';
	return s;
}

static void read_error(struct device *d, char *value)
{
	char *colon = strrchr(value, ':');
	if (colon == NULL || d->error_count == MAX_ERRORS)
		return;
	*colon = '\0';
	struct call_error *e = &d->errors[d->error_count++];
	copy(e->function, sizeof e->function, trim(value));
	e->code = atoi(colon + 1);
}

static void read_global(struct scenario *s, const char *key, const char *value)
{
	if (strcmp(key, "driver_version") == 0)
		copy(s->driver_version, sizeof s->driver_version, value);
	else if (strcmp(key, "init_error") == 0)
		s->init_error = atoi(value);
}

static void read_device(struct device *d, const char *key, char *value)
{
	if (strcmp(key, "uuid") == 0)
		copy(d->uuid, sizeof d->uuid, value);
	else if (strcmp(key, "name") == 0)
		copy(d->name, sizeof d->name, value);
	else if (strcmp(key, "minor") == 0)
		d->minor = (unsigned int)strtoul(value, NULL, 10);
	else if (strcmp(key, "memory_total_bytes") == 0)
		d->memory_total = strtoull(value, NULL, 10);
	else if (strcmp(key, "memory_reserved_bytes") == 0)
		d->memory_reserved = strtoull(value, NULL, 10);
	else if (strcmp(key, "memory_used_bytes") == 0)
		d->memory_used = strtoull(value, NULL, 10);
	else if (strcmp(key, "utilization_gpu_percent") == 0)
		d->utilization_gpu = (unsigned int)strtoul(value, NULL, 10);
	else if (strcmp(key, "utilization_memory_percent") == 0)
		d->utilization_memory = (unsigned int)strtoul(value, NULL, 10);
	else if (strcmp(key, "error") == 0)
		read_error(d, value);
}

void scenario_read(const char *path, struct scenario *out)
{
	memset(out, 0, sizeof *out);
	FILE *f = fopen(path, "re");
	if (f == NULL)
		return;
	out->present = 1;
	struct device *device = NULL;
	int skip = 0; /* inside a section that is not understood, or past the last device there is room for */
	char line[512];
	while (fgets(line, sizeof line, f) != NULL) {
		char *comment = strchr(line, '#');
		if (comment != NULL)
			*comment = '\0';
		char *text = trim(line);
		if (text[0] == '[') {
			skip = strncmp(text, "[device ", 8) != 0 || out->device_count == MAX_DEVICES;
			if (!skip)
				device = &out->devices[out->device_count++];
			continue;
		}
		char *equals = strchr(text, '=');
		if (equals == NULL || skip)
			continue;
		*equals = '\0';
		if (device == NULL)
			read_global(out, trim(text), trim(equals + 1));
		else
			read_device(device, trim(text), trim(equals + 1));
	}
	fclose(f);
}
