/* What the scenario file says. One struct per section; fakenvml.go says what each key means. */
#ifndef FORETIDE_SCENARIO_H
#define FORETIDE_SCENARIO_H

#define MAX_DEVICES 64
#define MAX_INSTANCES 8 /* MIG instances of a device */

/* struct call_list is a list of struct call, and so on. */
#define LIST(item) struct item##_list { struct item *items; int count; }

/* A function and what it does: the nvmlReturn_t it gives, or for how many milliseconds it waits. */
struct call {
	const char *function;
	int value;
};
LIST(call);

struct field {
	unsigned int id;
	unsigned long long value;
};
LIST(field);

struct metric {
	unsigned int id;
	double value;
};
LIST(metric);

struct burst {
	long long start, length;
	unsigned int percent;
};
LIST(burst);

enum kind { COMPUTE, GRAPHICS, MPS };

struct process {
	unsigned int pid;
	unsigned long long used;
	unsigned int sm, memory, encoder, decoder;
	enum kind kind;
	unsigned int gpu_instance, compute_instance;
};
LIST(process);

struct xid {
	unsigned long long sequence, code;
};
LIST(xid);

/* What a GPU and a MIG instance have in common. */
struct unit {
	const char *uuid;
	unsigned long long memory_total, memory_reserved, memory_used;
	int has_gpm;
	struct metric_list gpm;
	struct process_list processes;
	struct call_list errors;
};

struct instance {
	struct unit unit; /* without a uuid: an empty slot */
	unsigned int gpu_instance, compute_instance;
	const char *profile;
	unsigned int placement_start, placement_size;
};
LIST(instance);

struct device {
	struct unit unit;
	const char *name, *pci_bus_id, *compute_capability;
	unsigned int minor, brand;
	unsigned int utilization_gpu, utilization_memory, encoder, decoder;
	unsigned int sm_clock, memory_clock, temperature, power, power_limit;
	unsigned long long clock_event_reasons;
	unsigned int energy_from_power, sample_period, mig_mode;
	struct field_list fields;
	struct burst_list bursts;
	struct xid_list xids;
	struct call_list hangs;
	struct call_list delays;
	struct instance_list instances;
};
LIST(device);

struct scenario {
	char *text; /* the file; the texts above point into it */
	const char *driver_version;
	int init_error;
	long long now;
	struct device_list devices;
};

/*
 * Reads the file at path; NULL when there is none. Unknown keys and wrong lines are skipped, so that an older library reads a
 * newer scenario.
 */
struct scenario *scenario_read(const char *path);

void scenario_free(struct scenario *s);

#endif
