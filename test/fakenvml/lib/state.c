/* The scenario file is $FAKENVML_SCENARIO, else scenario.ini beside this library. It is read again whenever it has changed. */
#define _GNU_SOURCE
#include "state.h"
#include "abi.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define MICROSECONDS 1000000LL

/* How many versions of the scenario are remembered at most, for samples from before a change. */
#define MAX_VERSIONS 16

/* nvmlUtilization_t: a sample period is from 1/6 s to 1 s. */
#define DEFAULT_PERIOD (MICROSECONDS / 6)

/* A handle is this plus the device's index and, from bit 8 on, one more than the MIG instance's slot. */
#define HANDLE ((uintptr_t)0xF0E70000)
/* A handle of a GPU instance is this plus the device's index and, from bit 8 on, the instance's number. */
#define GPU_INSTANCE_HANDLE ((uintptr_t)0xF1E70000)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned int users; /* nvmlInit calls without their nvmlShutdown */
static struct version *newest;
static struct stat seen; /* the file that the newest version was read from */

const struct scenario *present(void) { return newest == NULL ? NULL : newest->scenario; }
const struct version *versions(void) { return newest; }
void count_user(int change) { users += (unsigned int)change; }

static long long microseconds(struct timespec t) { return t.tv_sec * MICROSECONDS + t.tv_nsec / 1000; }

long long now(void)
{
	if (newest != NULL && newest->scenario->now != 0)
		return newest->scenario->now;
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	return microseconds(t);
}

void nap(long milliseconds)
{
	struct timespec left = {milliseconds / 1000, milliseconds % 1000 * 1000000};
	while (nanosleep(&left, &left) != 0)
		;
}

long long period_of(const struct device *d) { return d->sample_period != 0 ? d->sample_period : DEFAULT_PERIOD; }

static void scenario_path(char *out, size_t size)
{
	const char *path = getenv("FAKENVML_SCENARIO");
	if (path != NULL && path[0] != '\0') {
		snprintf(out, size, "%s", path);
		return;
	}
	Dl_info self;
	out[0] = '\0';
	if (dladdr((void *)scenario_path, &self) == 0 || self.dli_fname == NULL)
		return;
	const char *slash = strrchr(self.dli_fname, '/');
	int folder = slash == NULL ? 0 : (int)(slash - self.dli_fname) + 1;
	snprintf(out, size, "%.*sscenario.ini", folder, self.dli_fname);
}

static void forget(struct version *v)
{
	while (v != NULL) {
		struct version *older = v->older;
		scenario_free(v->scenario);
		free(v);
		v = older;
	}
}

/* Forgets the versions that no sample in a ring is from any more. */
static void prune(void)
{
	long long reach = 0;
	const struct scenario *s = newest->scenario;
	for (int i = 0; i < s->devices.count; i++)
		if (period_of(&s->devices.items[i]) * RING_SIZE > reach)
			reach = period_of(&s->devices.items[i]) * RING_SIZE;
	int kept = 1;
	for (struct version *v = newest; v != NULL; v = v->older, kept++)
		if (v->start < now() - reach || kept == MAX_VERSIONS) {
			forget(v->older);
			v->older = NULL;
		}
}

/* Makes a scenario the present one. It holds from its own now on, else from when its file was written. */
static void adopt(struct scenario *s, const struct stat *file)
{
	struct version *v = malloc(sizeof *v);
	if (v == NULL)
		abort();
	*v = (struct version){s, s->now != 0 ? s->now : microseconds(file->st_mtim), newest};
	if (newest != NULL)
		run_meters(newest->scenario, v->start);
	if (newest != NULL && newest->start > v->start) { /* the clock was set back */
		forget(newest);
		v->older = NULL;
	}
	newest = v;
	run_meters(s, now());
	prune();
}

static int unchanged(const struct stat *is)
{
	return is->st_ino == seen.st_ino && is->st_dev == seen.st_dev && is->st_size == seen.st_size &&
	       is->st_mtim.tv_sec == seen.st_mtim.tv_sec && is->st_mtim.tv_nsec == seen.st_mtim.tv_nsec;
}

/* Called with the lock held. */
static void refresh(void)
{
	char path[PATH_MAX];
	struct stat is;
	scenario_path(path, sizeof path);
	if (stat(path, &is) == 0 && newest != NULL && unchanged(&is))
		return;
	struct scenario *s = scenario_read(path);
	if (s == NULL) {
		forget(newest);
		newest = NULL;
		return;
	}
	adopt(s, &is);
	seen = is;
}

int begin(void)
{
	pthread_mutex_lock(&lock);
	refresh();
	return users == 0 ? UNINITIALIZED : SUCCESS;
}

int end(int result)
{
	pthread_mutex_unlock(&lock);
	return result;
}

void *handle_of(unsigned int device) { return (void *)(HANDLE + device); }
void *handle_of_instance(unsigned int device, unsigned int slot) { return (void *)(HANDLE + device + ((uintptr_t)slot + 1) * 256); }
void *handle_of_gpu_instance(unsigned int device, unsigned int id) { return (void *)(GPU_INSTANCE_HANDLE + device + (uintptr_t)id * 256); }

int gpu_instance_of(void *handle, unsigned int *device, unsigned int *id)
{
	uintptr_t code = (uintptr_t)handle - GPU_INSTANCE_HANDLE;
	*device = code % 256;
	*id = (unsigned int)(code / 256);
	return code / 256 < 256 ? SUCCESS : INVALID_ARGUMENT;
}

int find(void *handle, struct target *out)
{
	uintptr_t code = (uintptr_t)handle - HANDLE, index = code % 256, slot = code / 256;
	if (index >= MAX_DEVICES || slot > MAX_INSTANCES)
		return INVALID_ARGUMENT;
	const struct scenario *s = present();
	if (s == NULL || index >= (uintptr_t)s->devices.count)
		return GPU_IS_LOST;
	const struct device *d = &s->devices.items[index];
	*out = (struct target){d, NULL, &d->unit, (unsigned int)index};
	if (slot == 0)
		return SUCCESS;
	/* nvmlDeviceGetMigDeviceHandleByIndex: the handle of an instance that was destroyed is invalid, and may be used again. */
	if (!d->mig_mode || slot > (uintptr_t)d->instances.count || d->instances.items[slot - 1].unit.uuid[0] == '\0')
		return error_of(out, "") == SUCCESS ? INVALID_ARGUMENT : error_of(out, "");
	out->instance = &d->instances.items[slot - 1];
	out->unit = &out->instance->unit;
	return SUCCESS;
}

static const struct call *call_of(const struct call_list *list, const char *function)
{
	for (const struct call *c = list->items; c < list->items + list->count; c++)
		if (strcmp(c->function, "*") == 0 || strcmp(c->function, function) == 0)
			return c;
	return NULL;
}

/* An instance fails where its GPU does. */
int error_of(const struct target *t, const char *function)
{
	const struct call *c = call_of(&t->unit->errors, function);
	if (c == NULL)
		c = call_of(&t->device->unit.errors, function);
	return c == NULL ? SUCCESS : c->value;
}

/* Waits without the lock, then finds the target again: the scenario may have changed. */
static int find_after(long milliseconds, void *handle, struct target *out)
{
	end(SUCCESS);
	nap(milliseconds);
	int result = begin();
	return result == SUCCESS ? find(handle, out) : result;
}

int begin_on(void *handle, const char *function, struct target *out)
{
	int result = begin();
	if (result == SUCCESS)
		result = find(handle, out);
	if (result != SUCCESS)
		return result;
	const struct call *delay = call_of(&out->device->delays, function);
	if (delay != NULL)
		result = find_after(delay->value, handle, out);
	while (result == SUCCESS && call_of(&out->device->hangs, function) != NULL)
		result = find_after(2, handle, out);
	return result == SUCCESS ? error_of(out, function) : result;
}

int begin_whole(void *handle, const char *function, struct target *out)
{
	int result = begin_on(handle, function, out);
	return result == SUCCESS && out->instance != NULL ? NOT_SUPPORTED : result;
}

int put(unsigned int *out, unsigned int value)
{
	if (out == NULL)
		return INVALID_ARGUMENT;
	*out = value;
	return SUCCESS;
}

int put_known(unsigned int *out, unsigned int value)
{
	return value == 0 ? NOT_SUPPORTED : put(out, value);
}

int put_wide(unsigned long long *out, unsigned long long value)
{
	if (out == NULL)
		return INVALID_ARGUMENT;
	*out = value;
	return SUCCESS;
}

int put_text(char *out, unsigned int size, const char *text)
{
	if (out == NULL)
		return INVALID_ARGUMENT;
	if (strlen(text) >= size)
		return INSUFFICIENT_SIZE;
	memcpy(out, text, strlen(text) + 1);
	return SUCCESS;
}
