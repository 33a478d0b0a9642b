/*
 * A libdcgm.so.4 whose host engine is written in a scenario file, for machines without DCGM. It exports what Foretide calls
 * through go-dcgm, under the names and with the binary interface of NVIDIA's library (dcgm_agent.h and dcgm_structs.h of
 * DCGM 4). It has the manners that a client can trip over: a value is only there once it is watched, a connection ends with
 * the engine, names of field groups are unique, groups are few, watches outlive their group, and structures must be of the right
 * version.
 *
 * The file is $FAKEDCGM_SCENARIO, else dcgm.ini beside this library. It is read at every call.
 */
#define _GNU_SOURCE
#include "scenario.h"
#include "watches.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define VERSIONED(type, n) ((unsigned int)(sizeof(type) | (unsigned int)(n) << 24))

enum { GPU = 1, GPU_I = 4, GPU_CI = 5 }; /* dcgm_field_entity_group_t */
enum { FLAG_LIVE_DATA = 1 };
enum { MAX_HIERARCHY = 32 * 14 };

struct connect_params {
	unsigned int version, persist, timeout_ms, is_socket;
};

struct pair {
	unsigned int group, id;
};

struct hierarchy {
	unsigned int version, count;
	struct {
		struct pair entity, parent;
		char gpu_uuid[128];
		unsigned int nvml_gpu, gpu_instance, compute_instance, profile, slices;
	} list[MAX_HIERARCHY];
};

union value {
	int64_t i64;
	double dbl;
	char str[4096];
};

struct value_v1 {
	unsigned int version;
	unsigned short field, type;
	int status;
	int64_t ts_us;
	union value value;
};

struct value_v2 {
	unsigned int version, entity_group, entity_id;
	unsigned short field, type;
	int status;
	unsigned int unused;
	int64_t ts_us;
	union value value;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct scenario scenario;
static uintptr_t connection; /* the handle; 0: there is none */
static int connected_run;

static void refresh(void)
{
	const char *path = getenv("FAKEDCGM_SCENARIO");
	char beside[PATH_MAX];
	Dl_info self;
	if (path == NULL || path[0] == '\0') {
		if (dladdr((void *)refresh, &self) == 0 || self.dli_fname == NULL)
			return;
		const char *slash = strrchr(self.dli_fname, '/');
		int folder = slash == NULL ? 0 : (int)(slash - self.dli_fname) + 1;
		snprintf(beside, sizeof beside, "%.*sdcgm.ini", folder, self.dli_fname);
		path = beside;
	}
	scenario_read(path, &scenario);
}

/* Begins every call: takes the lock, reads the scenario, and stays for as long as the scenario has the call hang. */
static void enter(const char *function)
{
	pthread_mutex_lock(&lock);
	for (refresh(); strcmp(scenario.hang, function) == 0; refresh()) {
		pthread_mutex_unlock(&lock);
		usleep(2000);
		pthread_mutex_lock(&lock);
	}
}

static int leave(int result)
{
	pthread_mutex_unlock(&lock);
	return result;
}

static int lost(uintptr_t handle)
{
	return connection == 0 || handle != connection || !scenario.present || scenario.connect_error != 0 || scenario.run != connected_run;
}

/* Begins a call on a connection: returns from the caller when that is lost. */
#define ENTER(handle)                                                                                                                       \
	enter(__func__);                                                                                                                    \
	if (lost(handle))                                                                                                                   \
	return leave(CONNECTION_NOT_VALID)

static const struct entity *find(unsigned int group, unsigned int id)
{
	for (int i = 0; i < scenario.entity_count; i++)
		if (scenario.entities[i].group == group && scenario.entities[i].id == id)
			return &scenario.entities[i];
	return NULL;
}

static struct pair above(const struct entity *e)
{
	return (struct pair){e->group == GPU_CI ? GPU_I : GPU, e->parent};
}

static const struct field *find_field(const struct entity *e, unsigned int id)
{
	for (int i = 0; i < e->field_count; i++)
		if (e->fields[i].id == id)
			return &e->fields[i];
	if (e->group == GPU)
		return NULL;
	/* Of what only the GPU has, its instances say the GPU's. */
	const struct entity *parent = find(above(e).group, above(e).id);
	return parent == NULL ? NULL : find_field(parent, id);
}

static int64_t now_us(void)
{
	struct timeval t;
	gettimeofday(&t, NULL);
	return (int64_t)t.tv_sec * 1000000 + t.tv_usec;
}

/* Fills in one value, and returns its status. */
static int fill(const struct entity *e, unsigned int id, int live, unsigned short *type, int64_t *ts_us, union value *value)
{
	const struct field *f = find_field(e, id);
	*type = 'i';
	*ts_us = 0;
	value->i64 = 0x7ffffffffffffff0; /* blank */
	if (!live && !watched(e->group, e->id, id))
		return NOT_WATCHED;
	if (f == NULL)
		return NO_DATA;
	*type = (unsigned short)f->type;
	*ts_us = now_us() - f->age_ms * 1000;
	if (f->type == 's')
		snprintf(value->str, sizeof value->str, "%s", f->str);
	else if (f->type == 'd')
		value->dbl = f->dbl;
	else
		value->i64 = f->i64;
	return f->status;
}

EXPORT const char *errorString(int result)
{
	static __thread char words[64];
	if (result == CONNECTION_NOT_VALID)
		return "Host engine connection invalid/disconnected";
	snprintf(words, sizeof words, "dcgmReturn_t %d", result);
	return words;
}

EXPORT int dcgmInit(void)
{
	enter(__func__);
	return leave(OK);
}

EXPORT int dcgmShutdown(void)
{
	enter(__func__);
	return leave(OK);
}

EXPORT int dcgmConnect_v2(const char *address, const struct connect_params *params, uintptr_t *out)
{
	static uintptr_t last = 0xF0E7;
	enter(__func__);
	if (params->version != VERSIONED(struct connect_params, 2))
		return leave(VER_MISMATCH);
	char full[PATH_MAX];
	snprintf(full, sizeof full, "%s%s", params->is_socket ? "unix://" : "", address);
	if (!scenario.present || (scenario.address[0] != '\0' && strcmp(full, scenario.address) != 0))
		return leave(CONNECTION_NOT_VALID);
	if (scenario.connect_error != 0)
		return leave(scenario.connect_error);
	watches_forget();
	connected_run = scenario.run;
	*out = connection = ++last;
	return leave(OK);
}

EXPORT int dcgmDisconnect(uintptr_t handle)
{
	ENTER(handle);
	watches_forget();
	connection = 0;
	return leave(OK);
}

EXPORT int dcgmGetEntityGroupEntities(uintptr_t handle, unsigned int group, unsigned int *ids, int *count, unsigned int flags)
{
	ENTER(handle);
	(void)flags;
	int n = 0;
	for (int i = 0; i < scenario.entity_count && n < *count; i++)
		if (scenario.entities[i].group == group)
			ids[n++] = scenario.entities[i].id;
	*count = n;
	return leave(OK);
}

EXPORT int dcgmGetGpuInstanceHierarchy(uintptr_t handle, struct hierarchy *h)
{
	ENTER(handle);
	if (h->version != VERSIONED(struct hierarchy, 2))
		return leave(VER_MISMATCH);
	h->count = 0;
	for (int i = 0; i < scenario.entity_count; i++) {
		const struct entity *e = &scenario.entities[i];
		if (e->group == GPU)
			continue;
		h->list[h->count].entity = (struct pair){e->group, e->id};
		h->list[h->count].parent = above(e);
		h->list[h->count].nvml_gpu = e->nvml_gpu;
		h->list[h->count].gpu_instance = e->gpu_instance;
		h->list[h->count].compute_instance = e->group == GPU_CI ? e->compute_instance : UINT_MAX;
		h->count++;
	}
	return leave(scenario.hierarchy_error);
}

EXPORT int dcgmGroupCreate(uintptr_t handle, int type, const char *name, uintptr_t *out)
{
	ENTER(handle);
	(void)type;
	(void)name;
	return leave(group_create(out));
}

EXPORT int dcgmGroupDestroy(uintptr_t handle, uintptr_t group)
{
	ENTER(handle);
	return leave(group_destroy(group));
}

EXPORT int dcgmGroupAddEntity(uintptr_t handle, uintptr_t group, unsigned int entity_group, unsigned int entity_id)
{
	ENTER(handle);
	return leave(find(entity_group, entity_id) == NULL ? BADPARAM : group_add(group, entity_group, entity_id));
}

EXPORT int dcgmFieldGroupCreate(uintptr_t handle, int count, const unsigned short *ids, const char *name, uintptr_t *out)
{
	ENTER(handle);
	return leave(field_group_create(count, ids, name, out));
}

EXPORT int dcgmWatchFields(uintptr_t handle, uintptr_t group, uintptr_t fields, long long interval_us, double keep_s, int keep)
{
	ENTER(handle);
	if (interval_us <= 0 || (keep_s <= 0 && keep <= 0) || (scenario.interval_us != 0 && interval_us != scenario.interval_us))
		return leave(BADPARAM);
	if (scenario.profiling_error != 0 && field_group_profiles(fields))
		return leave(scenario.profiling_error);
	return leave(watch(group, fields));
}

EXPORT int dcgmUnwatchFields(uintptr_t handle, uintptr_t group, uintptr_t fields)
{
	ENTER(handle);
	return leave(unwatch(group, fields));
}

EXPORT int dcgmUpdateAllFields(uintptr_t handle, int wait)
{
	ENTER(handle);
	(void)wait;
	return leave(OK);
}

EXPORT int dcgmEntityGetLatestValues(uintptr_t handle, unsigned int group, int id, const unsigned short *fields, unsigned int count,
				     struct value_v1 *values)
{
	ENTER(handle);
	const struct entity *e = find(group, (unsigned int)id);
	if (e == NULL)
		return leave(BADPARAM);
	if (e->error != 0)
		return leave(e->error);
	for (unsigned int i = 0; i < count; i++) {
		struct value_v1 *v = &values[i];
		v->version = VERSIONED(struct value_v1, 1);
		v->field = fields[i];
		v->status = fill(e, fields[i], 0, &v->type, &v->ts_us, &v->value);
	}
	return leave(OK);
}

EXPORT int dcgmEntitiesGetLatestValues(uintptr_t handle, const struct pair *entities, unsigned int entity_count,
				       const unsigned short *fields, unsigned int field_count, unsigned int flags, struct value_v2 *values)
{
	ENTER(handle);
	for (unsigned int n = 0; n < entity_count; n++) {
		const struct entity *e = find(entities[n].group, entities[n].id);
		if (e == NULL)
			return leave(BADPARAM);
		if (e->error != 0)
			return leave(e->error);
		for (unsigned int i = 0; i < field_count; i++, values++) {
			values->version = VERSIONED(struct value_v2, 2);
			values->entity_group = e->group;
			values->entity_id = e->id;
			values->field = fields[i];
			values->status = fill(e, fields[i], flags & FLAG_LIVE_DATA, &values->type, &values->ts_us, &values->value);
		}
	}
	return leave(OK);
}
