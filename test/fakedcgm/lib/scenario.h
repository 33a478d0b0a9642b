/* What the scenario file says. One struct per section, plain text values, filled by scenario_read. */
#ifndef FORETIDE_DCGM_SCENARIO_H
#define FORETIDE_DCGM_SCENARIO_H

#define MAX_ENTITIES 128
#define MAX_FIELDS 64

/* One field=id:status:age_ms:type:value line. */
struct field {
	unsigned int id;
	int status;	  /* dcgmReturn_t */
	long long age_ms; /* how long ago the engine read it */
	char type;	  /* DCGM_FT_: i, d or s */
	long long i64;
	double dbl;
	char str[128];
};

/* A GPU, a GPU instance or a compute instance. */
struct entity {
	unsigned int group, id;	       /* dcgm_field_entity_group_t, and the number in it */
	unsigned int parent;	       /* id of the entity one level up */
	unsigned int nvml_gpu;	       /* NVML's numbers */
	unsigned int gpu_instance, compute_instance;
	int error; /* dcgmReturn_t of asking for its values */
	struct field fields[MAX_FIELDS];
	int field_count;
};

struct scenario {
	int present;		/* 0: there is no file */
	int connect_error;	/* dcgmReturn_t of dcgmConnect */
	int run;		/* which run of the engine it is; a connection to another run is lost */
	int profiling_error;	/* dcgmReturn_t of watching profiling fields */
	int hierarchy_error;	/* dcgmReturn_t of asking for MIG instances */
	long long interval_us;	/* what a watch must ask for; 0: anything */
	char address[128];	/* where the engine listens; empty: anywhere */
	char hang[64];		/* the function that does not return for as long as this says so */
	struct entity entities[MAX_ENTITIES];
	int entity_count;
};

/* Reads the file at path into out. Unknown keys are skipped, so that an older library reads a newer scenario. */
void scenario_read(const char *path, struct scenario *out);

#endif
