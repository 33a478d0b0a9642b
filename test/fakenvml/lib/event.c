/* Events. Only XID errors happen here. */
#define _GNU_SOURCE
#include "abi.h"
#include "fields.h"
#include "state.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A device that a set listens to. seen is the last of its XIDs that was delivered, or was there before. */
struct listened {
	void *handle;
	unsigned long long types, seen;
};
LIST(listened);

struct event_set {
	struct listened_list devices;
};

static unsigned long long supported_types(const struct device *d)
{
	unsigned long long ecc = field_of(d, FIELD_ECC_FIRST) == NULL ? 0 : EVENT_SINGLE_BIT_ECC | EVENT_DOUBLE_BIT_ECC;
	return ecc | EVENT_PSTATE | EVENT_XID | EVENT_CLOCK;
}

EXPORT int nvmlDeviceGetSupportedEventTypes(void *handle, unsigned long long *out)
{
	struct target t;
	int result = begin_whole(handle, __func__, &t);
	return end(result == SUCCESS ? put_wide(out, supported_types(t.device)) : result);
}

EXPORT int nvmlEventSetCreate(struct event_set **out)
{
	int result = begin();
	if (result == SUCCESS && out == NULL)
		result = INVALID_ARGUMENT;
	if (result == SUCCESS)
		result = (*out = calloc(1, sizeof **out)) == NULL ? OUT_OF_MEMORY : SUCCESS;
	return end(result);
}

EXPORT int nvmlEventSetFree(struct event_set *set)
{
	int result = begin();
	if (result == SUCCESS && set == NULL)
		result = INVALID_ARGUMENT;
	if (result == SUCCESS) {
		free(set->devices.items);
		free(set);
	}
	return end(result);
}

/* "All events that occurred before this call are not recorded." A MIG instance has no events of its own. */
EXPORT int nvmlDeviceRegisterEvents(void *handle, unsigned long long types, struct event_set *set)
{
	struct target t;
	int result = begin_whole(handle, __func__, &t);
	if (result != SUCCESS)
		return end(result);
	if (set == NULL)
		return end(INVALID_ARGUMENT);
	if ((types & ~supported_types(t.device)) != 0)
		return end(NOT_SUPPORTED);
	struct listened l = {handle, types, 0};
	for (const struct xid *x = t.device->xids.items; x < t.device->xids.items + t.device->xids.count; x++)
		if (x->sequence > l.seen)
			l.seen = x->sequence;
	for (int i = 0; i < set->devices.count; i++)
		if (set->devices.items[i].handle == handle) {
			set->devices.items[i].types |= types;
			return end(SUCCESS);
		}
	struct listened *more = realloc(set->devices.items, (size_t)(set->devices.count + 1) * sizeof *more);
	if (more == NULL)
		return end(OUT_OF_MEMORY);
	more[set->devices.count++] = l;
	set->devices.items = more;
	return end(SUCCESS);
}

/* The oldest XID of a device that was not delivered yet; NULL when there is none. */
static const struct xid *next_xid(const struct device *d, const struct listened *l)
{
	const struct xid *next = NULL;
	for (const struct xid *x = d->xids.items; x < d->xids.items + d->xids.count; x++)
		if ((l->types & EVENT_XID) != 0 && x->sequence > l->seen && (next == NULL || x->sequence < next->sequence))
			next = x;
	return next;
}

/* A wait is no call on a device: it hangs only where it is listed by name. */
static int hangs(const struct device *d, const char *function)
{
	for (const struct call *c = d->hangs.items; c < d->hangs.items + d->hangs.count; c++)
		if (strcmp(c->function, function) == 0)
			return 1;
	return 0;
}

#define HANGS (-1) /* no nvmlReturn_t */

/* Called with the lock held. TIMEOUT when nothing has happened; the loss of any of the devices ends a wait at once. */
static int look(struct event_set *set, const char *function, struct event *out)
{
	for (struct listened *l = set->devices.items; l < set->devices.items + set->devices.count; l++) {
		struct target t;
		int result = find(l->handle, &t);
		if (result == SUCCESS)
			result = error_of(&t, function);
		if (result == SUCCESS && hangs(t.device, function))
			result = HANGS;
		if (result != SUCCESS)
			return result;
		const struct xid *x = next_xid(t.device, l);
		if (x == NULL)
			continue;
		l->seen = x->sequence;
		*out = (struct event){l->handle, EVENT_XID, x->code, NONE, NONE};
		return SUCCESS;
	}
	return TIMEOUT;
}

static long long milliseconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static int wait_for(struct event_set *set, const char *function, struct event *out, unsigned int timeout)
{
	if (set == NULL || out == NULL)
		return INVALID_ARGUMENT;
	long long until = milliseconds() + timeout;
	for (;;) {
		int result = begin();
		if (result == SUCCESS)
			result = look(set, function, out);
		end(result);
		if (result != HANGS && (result != TIMEOUT || milliseconds() >= until))
			return result;
		nap(100);
	}
}

EXPORT int nvmlEventSetWait_v2(struct event_set *set, struct event *out, unsigned int timeout)
{
	return wait_for(set, __func__, out, timeout);
}

/* Version 1 ends before the instances: it is given room of its own. */
EXPORT int nvmlEventSetWait(struct event_set *set, struct event *out, unsigned int timeout)
{
	struct event full;
	int result = wait_for(set, __func__, out == NULL ? NULL : &full, timeout);
	if (result == SUCCESS) {
		out->device = full.device;
		out->type = full.type;
		out->data = full.data;
	}
	return result;
}
