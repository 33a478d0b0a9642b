/* What the scenario file says. One struct per section, plain text values, filled by scenario_read. */
#ifndef FORETIDE_SCENARIO_H
#define FORETIDE_SCENARIO_H

#define MAX_DEVICES 64
#define MAX_ERRORS 32

/* One error=function:code line. The function * stands for every call on the device. */
struct call_error {
	char function[64];
	int code;
};

struct device {
	char uuid[96];
	char name[96];
	unsigned int minor;
	unsigned long long memory_total, memory_reserved, memory_used;
	unsigned int utilization_gpu, utilization_memory;
	struct call_error errors[MAX_ERRORS];
	int error_count;
};

struct scenario {
	int present; /* 0: there is no file */
	int init_error;
	char driver_version[80];
	struct device devices[MAX_DEVICES];
	int device_count;
};

/* Reads the file at path into out. Unknown keys are skipped, so that an older library reads a newer scenario. */
void scenario_read(const char *path, struct scenario *out);

#endif
