/* What is known from one call to the next, and how every call begins and ends: one lock, never held while a call waits. */
#ifndef FORETIDE_STATE_H
#define FORETIDE_STATE_H

#include "scenario.h"

#include <stddef.h>

#define RING_SIZE 120 /* samples the driver keeps */

/* What a handle stands for. */
struct target {
	const struct device *device;
	const struct instance *instance; /* NULL for a whole GPU */
	const struct unit *unit;         /* of the instance, else of the device */
	unsigned int index;              /* of the device */
};

/* A scenario as it was from a moment on, until the next. */
struct version {
	struct scenario *scenario;
	long long start;
	struct version *older;
};

/*
 * begin begins a call that is about no device, begin_on one on a GPU or a MIG instance, begin_whole one that MIG instances do
 * not support. They hang, wait and fail as the scenario says. The lock is held afterwards, whatever they return; end gives it
 * back and returns result.
 */
int begin(void);
int begin_on(void *handle, const char *function, struct target *out);
int begin_whole(void *handle, const char *function, struct target *out);
int end(int result);

/* Counts a nvmlInit or nvmlShutdown. The lock must be held. */
void count_user(int change);

/* Finds what a handle stands for. The lock must be held. */
int find(void *handle, struct target *out);
int error_of(const struct target *t, const char *function);

/* The handles of a GPU, of a MIG instance and of a GPU instance: never null, never a pointer that could be followed. */
void *handle_of(unsigned int device);
void *handle_of_instance(unsigned int device, unsigned int slot);
void *handle_of_gpu_instance(unsigned int device, unsigned int id);
/* Splits the last. */
int gpu_instance_of(void *handle, unsigned int *device, unsigned int *id);

/* The scenario as it is now, NULL when there is none; the versions, newest first; the library's clock in Unix microseconds. */
const struct scenario *present(void);
const struct version *versions(void);
long long now(void);
long long period_of(const struct device *d);

/* Sleeps. The lock must not be held. */
void nap(long milliseconds);

/* Writes a result, or says why not. A quantity of 0 that put_known is given is one that the device does not tell. */
int put(unsigned int *out, unsigned int value);
int put_known(unsigned int *out, unsigned int value);
int put_wide(unsigned long long *out, unsigned long long value);
int put_text(char *out, unsigned int size, const char *text);

/* Lets the energy meters of a version run until a moment (energy.c). */
void run_meters(const struct scenario *s, long long until);

#endif
