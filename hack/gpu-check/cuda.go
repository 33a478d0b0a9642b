package main

/*
#cgo LDFLAGS: -ldl
#include <dlfcn.h>
#include <stdlib.h>

// The driver API as its reference describes it (docs.nvidia.com/cuda/cuda-driver-api), so that neither headers nor a toolkit are
// needed: CUresult and CUdevice are ints, CUdeviceptr is 64 bits wide, and contexts, modules and functions are opaque pointers.
typedef struct {
	int (*init)(unsigned int);
	int (*name)(int, const char **);
	int (*device)(int *, int);
	int (*attribute)(int *, int, int);
	int (*retain)(void **, int);
	int (*current)(void *);
	int (*module)(void **, const void *);
	int (*function)(void **, void *, const char *);
	int (*allocate)(unsigned long long *, size_t);
	int (*launch)(void *, unsigned int, unsigned int, unsigned int, unsigned int, unsigned int, unsigned int, unsigned int, void *, void **, void **);
	int (*wait)(void);
} driver;

enum { MULTIPROCESSORS = 16 }; // CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT

static int driver_init(driver *d) { return d->init(0); }
static int driver_device(driver *d, int *device) { return d->device(device, 0); }
static int driver_multiprocessors(driver *d, int device, int *count) { return d->attribute(count, MULTIPROCESSORS, device); }
static int driver_retain(driver *d, int device) {
	void *context;
	int result = d->retain(&context, device);
	return result != 0 ? result : d->current(context);
}
static int driver_load(driver *d, const char *ptx, const char *name, void **function) {
	void *module;
	int result = d->module(&module, ptx);
	return result != 0 ? result : d->function(function, module, name);
}
static int driver_allocate(driver *d, size_t bytes) {
	unsigned long long memory;
	return d->allocate(&memory, bytes);
}
static int driver_run(driver *d, void *function, unsigned int blocks, unsigned int threads, unsigned long long argument) {
	void *arguments[] = {&argument};
	int result = d->launch(function, blocks, 1, 1, threads, 1, 1, 0, NULL, arguments, NULL);
	return result != 0 ? result : d->wait();
}
static const char *driver_error(driver *d, int result) {
	const char *text = NULL;
	return d->name(result, &text) == 0 ? text : NULL;
}
*/
import "C"

import (
	_ "embed"
	"fmt"
	"time"
	"unsafe"
)

//go:embed spin.ptx
var spinPTX string

// threadsPerBlock keeps every part of a multiprocessor busy; a block for each multiprocessor keeps the whole GPU busy.
const threadsPerBlock = 256

// library is a shared library, opened for as long as the process lives.
type library struct{ handle unsafe.Pointer }

// openLibrary loads a library by path, or by name from the loader's own places.
func openLibrary(path string) (library, error) {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	handle := C.dlopen(name, C.RTLD_NOW|C.RTLD_LOCAL)
	if handle == nil {
		return library{}, fmt.Errorf("%s", C.GoString(C.dlerror()))
	}
	return library{handle}, nil
}

// symbol returns a function of the library, nil when it has none of that name.
func (l library) symbol(name string) unsafe.Pointer {
	symbol := C.CString(name)
	defer C.free(unsafe.Pointer(symbol))
	return C.dlsym(l.handle, symbol)
}

// cuda is a GPU with the spin kernel on it. It must be used on one OS thread, the context's.
type cuda struct {
	driver *C.driver
	spin   unsafe.Pointer
	blocks C.uint
}

// openCUDA makes the first GPU that CUDA shows ready, with so much of its memory allocated.
func openCUDA(memoryBytes uint64) (*cuda, error) {
	lib, err := openLibrary("libcuda.so.1")
	if err != nil {
		return nil, fmt.Errorf("there is no CUDA driver: %w; install the NVIDIA driver, or let the container have it "+
			"(NVIDIA_DRIVER_CAPABILITIES=compute,utility)", err)
	}
	c := &cuda{driver: (*C.driver)(C.calloc(1, C.sizeof_driver))} // for the life of the process
	for _, f := range []struct {
		name string
		into unsafe.Pointer
	}{
		{"cuInit", unsafe.Pointer(&c.driver.init)},
		{"cuGetErrorName", unsafe.Pointer(&c.driver.name)},
		{"cuDeviceGet", unsafe.Pointer(&c.driver.device)},
		{"cuDeviceGetAttribute", unsafe.Pointer(&c.driver.attribute)},
		{"cuDevicePrimaryCtxRetain", unsafe.Pointer(&c.driver.retain)},
		{"cuCtxSetCurrent", unsafe.Pointer(&c.driver.current)},
		{"cuModuleLoadData", unsafe.Pointer(&c.driver.module)},
		{"cuModuleGetFunction", unsafe.Pointer(&c.driver.function)},
		{"cuMemAlloc_v2", unsafe.Pointer(&c.driver.allocate)},
		{"cuLaunchKernel", unsafe.Pointer(&c.driver.launch)},
		{"cuCtxSynchronize", unsafe.Pointer(&c.driver.wait)},
	} {
		symbol := lib.symbol(f.name)
		if symbol == nil {
			return nil, fmt.Errorf("libcuda.so.1 has no function %s: is it NVIDIA's?", f.name)
		}
		*(*unsafe.Pointer)(f.into) = symbol
	}
	return c, c.prepare(memoryBytes)
}

func (c *cuda) prepare(memoryBytes uint64) error {
	ptx, name := C.CString(spinPTX), C.CString("spin")
	defer C.free(unsafe.Pointer(ptx))
	defer C.free(unsafe.Pointer(name))
	var device, multiprocessors C.int
	for _, step := range []struct {
		call string
		do   func() C.int
	}{
		{"cuInit", func() C.int { return C.driver_init(c.driver) }},
		{"cuDeviceGet", func() C.int { return C.driver_device(c.driver, &device) }},
		{"cuDeviceGetAttribute", func() C.int { return C.driver_multiprocessors(c.driver, device, &multiprocessors) }},
		{"cuDevicePrimaryCtxRetain", func() C.int { return C.driver_retain(c.driver, device) }},
		{"cuModuleLoadData", func() C.int { return C.driver_load(c.driver, ptx, name, &c.spin) }},
		{"cuMemAlloc", func() C.int { return C.driver_allocate(c.driver, C.size_t(memoryBytes)) }},
	} {
		if result := step.do(); result != 0 {
			return c.failed(step.call, result)
		}
	}
	c.blocks = C.uint(max(1, multiprocessors))
	return nil
}

// run keeps the whole GPU busy for so long, and returns how long it was.
func (c *cuda) run(length time.Duration) (time.Duration, error) {
	began := time.Now()
	if result := C.driver_run(c.driver, c.spin, c.blocks, threadsPerBlock, C.ulonglong(length.Nanoseconds())); result != 0 {
		return 0, c.failed("run a kernel", result)
	}
	return time.Since(began), nil
}

func (c *cuda) failed(what string, result C.int) error {
	if text := C.driver_error(c.driver, result); text != nil {
		return fmt.Errorf("CUDA: %s: %s", what, C.GoString(text))
	}
	return fmt.Errorf("CUDA: %s: error %d", what, int(result))
}
