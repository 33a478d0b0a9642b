/* Which processes use a device: what memory they hold, and how busy they keep it. */
#define _GNU_SOURCE
#include "abi.h"
#include "state.h"

#include <stdlib.h>
#include <string.h>

/* A list in the making: how many there are, of which as many are written as there is room for. */
struct processes {
	struct process_info *out;
	unsigned int room, count;
};

static void add(struct processes *list, const struct unit *u, enum kind kind, const struct instance *in)
{
	for (const struct process *p = u->processes.items; p < u->processes.items + u->processes.count; p++) {
		if (p->kind != kind)
			continue;
		if (list->count < list->room)
			list->out[list->count] = (struct process_info){
				p->pid, p->used,
				p->gpu_instance == NONE && in != NULL ? in->gpu_instance : p->gpu_instance,
				p->compute_instance == NONE && in != NULL ? in->compute_instance : p->compute_instance,
			};
		list->count++;
	}
}

/* A GPU in MIG mode lists the processes of all its instances, an instance its own. */
static void list_processes(const struct target *t, enum kind kind, struct processes *list)
{
	add(list, t->unit, kind, t->instance);
	for (int i = 0; t->instance == NULL && t->device->mig_mode && i < t->device->instances.count; i++)
		add(list, &t->device->instances.items[i].unit, kind, &t->device->instances.items[i]);
}

/* A count of 0 asks how many there are, and needs no array: INSUFFICIENT_SIZE and the number, SUCCESS when there are none. */
static int running(void *handle, const char *function, enum kind kind, unsigned int *count, struct process_info *out)
{
	struct target t;
	int result = begin_on(handle, function, &t);
	if (result != SUCCESS)
		return end(result);
	if (count == NULL || (out == NULL && *count > 0))
		return end(INVALID_ARGUMENT);
	struct processes list = {out, *count, 0};
	list_processes(&t, kind, &list);
	*count = list.count;
	return end(list.count > list.room ? INSUFFICIENT_SIZE : SUCCESS);
}

/* Version 1 of the struct has no instances, and is smaller. */
static int running_v1(void *handle, const char *function, enum kind kind, unsigned int *count, struct process_info_v1 *out)
{
	if (count == NULL || out == NULL || *count == 0)
		return running(handle, function, kind, count, NULL);
	struct process_info *full = calloc(*count, sizeof *full);
	if (full == NULL)
		return OUT_OF_MEMORY;
	int result = running(handle, function, kind, count, full);
	for (unsigned int i = 0; result == SUCCESS && i < *count; i++)
		out[i] = (struct process_info_v1){full[i].pid, full[i].used};
	free(full);
	return result;
}

#define RUNNING(name, kind) \
	EXPORT int name(void *handle, unsigned int *count, struct process_info_v1 *out) \
	{ \
		return running_v1(handle, __func__, kind, count, out); \
	} \
	EXPORT int name##_v2(void *handle, unsigned int *count, struct process_info *out) \
	{ \
		return running(handle, __func__, kind, count, out); \
	} \
	EXPORT int name##_v3(void *handle, unsigned int *count, struct process_info *out) \
	{ \
		return running(handle, __func__, kind, count, out); \
	}

RUNNING(nvmlDeviceGetComputeRunningProcesses, COMPUTE)
RUNNING(nvmlDeviceGetGraphicsRunningProcesses, GRAPHICS)
RUNNING(nvmlDeviceGetMPSComputeRunningProcesses, MPS)

/* The stretch of the ring a caller has not seen: after one moment, up to another. */
struct stretch {
	long long after, until, period;
};

/* How many samples lie in a version's part of the stretch; end is when the version ended. */
static long long samples_of(const struct version *v, long long end, const struct stretch *s)
{
	/* The oldest version also stands for what was before it. A sample at the very moment of a change is the newer one's. */
	long long from = v->older == NULL || v->start - 1 < s->after ? s->after : v->start - 1;
	long long to = end - 1 < s->until ? end - 1 : s->until;
	return to > from ? to / s->period - from / s->period : 0;
}

static const struct process_list *processes_in(const struct version *v, const char *uuid)
{
	for (int i = 0; i < v->scenario->devices.count; i++)
		if (strcmp(v->scenario->devices.items[i].unit.uuid, uuid) == 0)
			return &v->scenario->devices.items[i].unit.processes;
	return NULL;
}

/* One process's use, each the mean of the samples in the stretch. */
static struct process_use use_of(unsigned int pid, const char *uuid, const struct stretch *s)
{
	unsigned long long sm = 0, memory = 0, encoder = 0, decoder = 0, all = 0;
	long long end = s->until + 1;
	for (const struct version *v = versions(); v != NULL; end = v->start, v = v->older) {
		unsigned long long n = (unsigned long long)samples_of(v, end, s);
		const struct process_list *list = processes_in(v, uuid);
		all += n;
		for (int i = 0; list != NULL && i < list->count; i++) {
			const struct process *p = &list->items[i];
			if (p->pid != pid)
				continue;
			sm += n * p->sm;
			memory += n * p->memory;
			encoder += n * p->encoder;
			decoder += n * p->decoder;
		}
	}
#define MEAN(sum) ((unsigned int)(((sum) + all / 2) / all))
	return all == 0 ? (struct process_use){.pid = pid} : (struct process_use){
		(unsigned long long)(s->until / s->period * s->period), pid, MEAN(sm), MEAN(memory), MEAN(encoder), MEAN(decoder), 0, 0};
#undef MEAN
}

/*
 * "One utilization sample structure is returned per process running, that had some non-zero utilization": the mean since the last
 * seen, so that a last seen of 0 gives that of the whole ring. Writes as many as there is room for and returns how many there are.
 */
static unsigned int list_uses(const struct target *t, unsigned long long last_seen, struct process_use *out, unsigned int room)
{
	struct stretch s = {0, now(), period_of(t->device)};
	s.after = (s.until / s.period - RING_SIZE) * s.period;
	if (last_seen > (unsigned long long)s.until)
		return 0;
	if ((long long)last_seen > s.after)
		s.after = (long long)last_seen;
	unsigned int count = 0;
	for (const struct version *v = versions(); v != NULL; v = v->older) {
		const struct process_list *list = processes_in(v, t->unit->uuid);
		for (int i = 0; list != NULL && i < list->count; i++) {
			int known = 0;
			for (const struct version *newer = versions(); newer != v && !known; newer = newer->older) {
				const struct process_list *there = processes_in(newer, t->unit->uuid);
				for (int j = 0; there != NULL && j < there->count && !known; j++)
					known = there->items[j].pid == list->items[i].pid;
			}
			for (int j = 0; j < i && !known; j++)
				known = list->items[j].pid == list->items[i].pid;
			if (known)
				continue;
			struct process_use use = use_of(list->items[i].pid, t->unit->uuid, &s);
			if (use.sm + use.memory + use.encoder + use.decoder == 0)
				continue;
			if (count < room)
				out[count] = use;
			count++;
		}
	}
	return count;
}

static int begin_uses(void *handle, const char *function, struct target *out)
{
	int result = begin_whole(handle, function, out);
	return result == SUCCESS && out->device->mig_mode ? NOT_SUPPORTED : result;
}

EXPORT int nvmlDeviceGetProcessUtilization(void *handle, struct process_sample *out, unsigned int *count, unsigned long long last_seen)
{
	struct target t;
	int result = begin_uses(handle, __func__, &t);
	if (result != SUCCESS)
		return end(result);
	if (count == NULL)
		return end(INVALID_ARGUMENT);
	unsigned int there = list_uses(&t, last_seen, NULL, 0), room = out == NULL ? 0 : *count;
	*count = there;
	if (there == 0 || there > room)
		return end(there == 0 ? NOT_FOUND : INSUFFICIENT_SIZE);
	struct process_use *uses = calloc(there, sizeof *uses);
	if (uses == NULL)
		return end(OUT_OF_MEMORY);
	list_uses(&t, last_seen, uses, there);
	for (unsigned int i = 0; i < there; i++)
		out[i] = (struct process_sample){uses[i].pid, uses[i].timestamp, uses[i].sm, uses[i].memory, uses[i].encoder, uses[i].decoder};
	free(uses);
	return end(SUCCESS);
}

EXPORT int nvmlDeviceGetProcessesUtilizationInfo(void *handle, struct processes_use *io)
{
	struct target t;
	int result = begin_uses(handle, __func__, &t);
	if (result != SUCCESS)
		return end(result);
	if (io == NULL)
		return end(INVALID_ARGUMENT);
	if (io->version != STRUCT_VERSION(struct processes_use, 1u))
		return end(ARGUMENT_VERSION_MISMATCH);
	unsigned int room = io->processes == NULL ? 0 : io->count;
	io->count = list_uses(&t, io->last_seen, io->processes, room);
	return end(io->count == 0 ? NOT_FOUND : io->count > room ? INSUFFICIENT_SIZE : SUCCESS);
}
