#include "watches.h"

#include <stdio.h>
#include <string.h>

#define MAX_GROUPS 64 /* as in DCGM: who does not destroy groups runs out of them */
#define MAX_IN_GROUP 64
#define MAX_IDS 128
#define MAX_WATCHES 512
#define FIRST_PROFILING_ID 1001

static struct group {
	int used, count;
	unsigned int entity_group[MAX_IN_GROUP], entity_id[MAX_IN_GROUP];
} groups[MAX_GROUPS];

static struct field_group {
	int used, count;
	unsigned short ids[MAX_IDS];
	char name[256];
} field_groups[MAX_GROUPS];

/* A watch outlives the group it was made with. */
static struct watch {
	int used;
	unsigned int entity_group, entity_id;
	uintptr_t fields;
} watches[MAX_WATCHES];

void watches_forget(void)
{
	memset(groups, 0, sizeof groups);
	memset(watches, 0, sizeof watches);
	memset(field_groups, 0, sizeof field_groups);
}

static struct group *find_group(uintptr_t n) { return n >= 1 && n <= MAX_GROUPS && groups[n - 1].used ? &groups[n - 1] : NULL; }

static struct field_group *find_fields(uintptr_t n)
{
	return n >= 1 && n <= MAX_GROUPS && field_groups[n - 1].used ? &field_groups[n - 1] : NULL;
}

int group_create(uintptr_t *out)
{
	for (int i = 0; i < MAX_GROUPS; i++) {
		if (groups[i].used)
			continue;
		memset(&groups[i], 0, sizeof groups[i]);
		groups[i].used = 1;
		*out = (uintptr_t)i + 1;
		return OK;
	}
	return MAX_LIMIT;
}

int group_destroy(uintptr_t n)
{
	struct group *g = find_group(n);
	if (g == NULL)
		return BADPARAM;
	g->used = 0;
	return OK;
}

int group_add(uintptr_t n, unsigned int entity_group, unsigned int entity_id)
{
	struct group *g = find_group(n);
	if (g == NULL)
		return BADPARAM;
	if (g->count == MAX_IN_GROUP)
		return MAX_LIMIT;
	g->entity_group[g->count] = entity_group;
	g->entity_id[g->count++] = entity_id;
	return OK;
}

int field_group_create(int count, const unsigned short *ids, const char *name, uintptr_t *out)
{
	if (count < 1 || count > MAX_IDS)
		return BADPARAM;
	struct field_group *free = NULL;
	for (int i = MAX_GROUPS - 1; i >= 0; i--) {
		if (!field_groups[i].used)
			free = &field_groups[i];
		else if (strcmp(field_groups[i].name, name) == 0)
			return DUPLICATE_KEY;
	}
	if (free == NULL)
		return MAX_LIMIT;
	free->used = 1;
	free->count = count;
	memcpy(free->ids, ids, (size_t)count * sizeof *ids);
	snprintf(free->name, sizeof free->name, "%s", name);
	*out = (uintptr_t)(free - field_groups) + 1;
	return OK;
}

int field_group_profiles(uintptr_t n)
{
	struct field_group *f = find_fields(n);
	for (int i = 0; f != NULL && i < f->count; i++)
		if (f->ids[i] >= FIRST_PROFILING_ID)
			return 1;
	return 0;
}

static struct watch *find_watch(unsigned int entity_group, unsigned int entity_id, uintptr_t fields)
{
	for (int i = 0; i < MAX_WATCHES; i++)
		if (watches[i].used && watches[i].entity_group == entity_group && watches[i].entity_id == entity_id &&
		    watches[i].fields == fields)
			return &watches[i];
	return NULL;
}

static int watch_one(unsigned int entity_group, unsigned int entity_id, uintptr_t fields)
{
	if (find_watch(entity_group, entity_id, fields) != NULL)
		return OK;
	for (int i = 0; i < MAX_WATCHES; i++) {
		if (watches[i].used)
			continue;
		watches[i] = (struct watch){1, entity_group, entity_id, fields};
		return OK;
	}
	return MAX_LIMIT;
}

int watch(uintptr_t group, uintptr_t fields)
{
	struct group *g = find_group(group);
	if (g == NULL || find_fields(fields) == NULL || g->count == 0)
		return BADPARAM;
	int result = OK;
	for (int i = 0; i < g->count && result == OK; i++)
		result = watch_one(g->entity_group[i], g->entity_id[i], fields);
	return result;
}

int unwatch(uintptr_t group, uintptr_t fields)
{
	struct group *g = find_group(group);
	if (g == NULL || find_fields(fields) == NULL)
		return BADPARAM;
	for (int i = 0; i < g->count; i++) {
		struct watch *w = find_watch(g->entity_group[i], g->entity_id[i], fields);
		if (w != NULL)
			w->used = 0;
	}
	return OK;
}

int watched(unsigned int entity_group, unsigned int entity_id, unsigned int field)
{
	for (int w = 0; w < MAX_WATCHES; w++) {
		if (!watches[w].used || watches[w].entity_group != entity_group || watches[w].entity_id != entity_id)
			continue;
		struct field_group *f = find_fields(watches[w].fields);
		for (int i = 0; f != NULL && i < f->count; i++)
			if (f->ids[i] == field)
				return 1;
	}
	return 0;
}
