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

static void read_field(struct entity *e, const char *line)
{
	if (e->field_count == MAX_FIELDS)
		return;
	struct field *f = &e->fields[e->field_count];
	int value = 0;
	memset(f, 0, sizeof *f);
	if (sscanf(line, "%u:%d:%lld:%c:%n", &f->id, &f->status, &f->age_ms, &f->type, &value) < 4 || value == 0)
		return;
	f->i64 = strtoll(line + value, NULL, 10);
	f->dbl = strtod(line + value, NULL);
	copy(f->str, sizeof f->str, line + value);
	e->field_count++;
}

static void read_global(struct scenario *s, const char *key, const char *value)
{
	if (strcmp(key, "connect_error") == 0)
		s->connect_error = atoi(value);
	else if (strcmp(key, "run") == 0)
		s->run = atoi(value);
	else if (strcmp(key, "profiling_error") == 0)
		s->profiling_error = atoi(value);
	else if (strcmp(key, "hierarchy_error") == 0)
		s->hierarchy_error = atoi(value);
	else if (strcmp(key, "interval_us") == 0)
		s->interval_us = atoll(value);
	else if (strcmp(key, "address") == 0)
		copy(s->address, sizeof s->address, value);
	else if (strcmp(key, "hang") == 0)
		copy(s->hang, sizeof s->hang, value);
}

static void read_entity(struct entity *e, const char *key, const char *value)
{
	if (strcmp(key, "parent") == 0)
		e->parent = (unsigned int)strtoul(value, NULL, 10);
	else if (strcmp(key, "nvml_gpu") == 0)
		e->nvml_gpu = (unsigned int)strtoul(value, NULL, 10);
	else if (strcmp(key, "gpu_instance") == 0)
		e->gpu_instance = (unsigned int)strtoul(value, NULL, 10);
	else if (strcmp(key, "compute_instance") == 0)
		e->compute_instance = (unsigned int)strtoul(value, NULL, 10);
	else if (strcmp(key, "error") == 0)
		e->error = atoi(value);
	else if (strcmp(key, "field") == 0)
		read_field(e, value);
}

void scenario_read(const char *path, struct scenario *out)
{
	memset(out, 0, sizeof *out);
	FILE *f = fopen(path, "re");
	if (f == NULL)
		return;
	out->present = 1;
	struct entity *entity = NULL;
	char line[512];
	while (fgets(line, sizeof line, f) != NULL) {
		char *text = trim(line);
		unsigned int group, id;
		if (sscanf(text, "[entity %u %u]", &group, &id) == 2 && out->entity_count < MAX_ENTITIES) {
			entity = &out->entities[out->entity_count++];
			entity->group = group;
			entity->id = id;
			continue;
		}
		char *equals = strchr(text, '=');
		if (equals == NULL)
			continue;
		*equals = '\0';
		if (entity == NULL)
			read_global(out, trim(text), trim(equals + 1));
		else
			read_entity(entity, trim(text), trim(equals + 1));
	}
	fclose(f);
}
