/* The groups, field groups and watches of the one connection. Every function returns a dcgmReturn_t. */
#ifndef FORETIDE_DCGM_WATCHES_H
#define FORETIDE_DCGM_WATCHES_H

#include <stdint.h>

/* dcgmReturn_t */
enum {
	OK = 0,
	BADPARAM = -1,
	VER_MISMATCH = -12,
	UNKNOWN_FIELD = -13,
	NO_DATA = -14,
	NOT_WATCHED = -16,
	CONNECTION_NOT_VALID = -21,
	MAX_LIMIT = -24,
	DUPLICATE_KEY = -26,
};

void watches_forget(void);
int group_create(uintptr_t *out);
int group_destroy(uintptr_t group);
int group_add(uintptr_t group, unsigned int entity_group, unsigned int entity_id);
int field_group_create(int count, const unsigned short *ids, const char *name, uintptr_t *out);
/* Whether a field group has profiling fields. */
int field_group_profiles(uintptr_t field_group);
int watch(uintptr_t group, uintptr_t field_group);
int unwatch(uintptr_t group, uintptr_t field_group);
int watched(unsigned int entity_group, unsigned int entity_id, unsigned int field);

#endif
