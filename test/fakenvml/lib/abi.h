/*
 * The binary interface of NVIDIA's library, as far as it is played here: values and layouts of nvml.h (NVML API reference,
 * docs.nvidia.com/deploy/nvml-api). A test compares them with the header that go-nvml carries.
 */
#ifndef FORETIDE_ABI_H
#define FORETIDE_ABI_H

#define EXPORT __attribute__((visibility("default")))

/* A struct with a version carries its size and, in the top byte, its number. */
#define STRUCT_VERSION(type, number) ((unsigned int)sizeof(type) | (number) << 24)

#define NONE 0xFFFFFFFFu          /* no GPU or compute instance; all links of a device */
#define NOT_AVAILABLE (~0ull)     /* a quantity the driver does not know */

/* nvmlReturn_t */
enum {
	SUCCESS = 0,
	UNINITIALIZED = 1,
	INVALID_ARGUMENT = 2,
	NOT_SUPPORTED = 3,
	NOT_FOUND = 6,
	INSUFFICIENT_SIZE = 7,
	DRIVER_NOT_LOADED = 9,
	TIMEOUT = 10,
	GPU_IS_LOST = 15,
	LIB_RM_VERSION_MISMATCH = 18,
	OUT_OF_MEMORY = 20,
	ARGUMENT_VERSION_MISMATCH = 25,
	UNKNOWN = 999,
};

/* nvmlValueType_t */
enum { UNSIGNED_INT = 1, UNSIGNED_LONG_LONG = 3 };

/* nvmlSamplingType_t */
enum { GPU_SAMPLES = 1, MEMORY_SAMPLES, ENCODER_SAMPLES, DECODER_SAMPLES, SAMPLING_TYPES = 10 };

/* nvmlEventType */
enum { EVENT_SINGLE_BIT_ECC = 0x1, EVENT_DOUBLE_BIT_ECC = 0x2, EVENT_PSTATE = 0x4, EVENT_XID = 0x8, EVENT_CLOCK = 0x10 };

/* NVML_FI_ */
enum {
	FIELD_ECC_FIRST = 3, FIELD_ECC_LAST = 28,
	FIELD_ENERGY = 83,
	FIELD_NVLINK_THROUGHPUT_FIRST = 138, FIELD_NVLINK_THROUGHPUT_LAST = 141,
	FIELD_REMAPPED_CORRECTABLE = 142, FIELD_REMAPPED_UNCORRECTABLE, FIELD_REMAP_PENDING, FIELD_REMAP_FAILED,
	FIELD_ENERGY_OF_GPU = 191,
};

/* NVML_GPM_METRIC_ */
enum { GPM_PCIE_TRANSMIT = 20, GPM_PCIE_RECEIVE = 21, GPM_METRIC_MAX = 477 };

union value {
	unsigned int narrow;
	unsigned long long wide;
};

struct utilization {
	unsigned int gpu, memory;
};

struct memory {
	unsigned long long total, free, used;
};

struct memory_v2 {
	unsigned int version;
	unsigned long long total, reserved, free, used;
};

struct pci_info {
	char bus_id_legacy[16];
	unsigned int domain, bus, device, device_id, subsystem_id;
	char bus_id[32];
};

struct process_info_v1 {
	unsigned int pid;
	unsigned long long used;
};

struct process_info {
	unsigned int pid;
	unsigned long long used;
	unsigned int gpu_instance, compute_instance;
};

struct process_sample {
	unsigned int pid;
	unsigned long long timestamp;
	unsigned int sm, memory, encoder, decoder;
};

struct process_use {
	unsigned long long timestamp;
	unsigned int pid, sm, memory, encoder, decoder, jpeg, optical_flow;
};

struct processes_use {
	unsigned int version, count;
	unsigned long long last_seen;
	struct process_use *processes;
};

struct sample {
	unsigned long long timestamp;
	union value value;
};

struct field_value {
	unsigned int id, scope;
	long long timestamp, latency;
	int type, result;
	union value value;
};

struct attributes {
	unsigned int multiprocessors, copy_engines, decoders, encoders, jpeg_engines, optical_flow_engines, gpu_slices, compute_slices;
	unsigned long long memory_mib;
};

struct placement {
	unsigned int start, size;
};

struct gpu_instance_info {
	void *device;
	unsigned int id, profile;
	struct placement placement;
};

struct event {
	void *device;
	unsigned long long type, data;
	unsigned int gpu_instance, compute_instance;
};

struct gpm_support {
	unsigned int version, supported;
};

struct gpm_metric {
	unsigned int id;
	int result;
	double value;
	char *short_name, *long_name, *unit;
};

struct gpm_metrics {
	unsigned int version, count;
	struct gpm_sample *first, *second;
	struct gpm_metric metrics[GPM_METRIC_MAX];
};

#endif
