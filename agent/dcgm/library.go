package dcgm

/*
#cgo linux LDFLAGS: -ldl
#include <dlfcn.h>
#include <stdlib.h>
*/
import "C"

import (
	"fmt"
	"strings"
	"unsafe"
)

// soname is the name go-dcgm loads the library by.
const soname = "libdcgm.so.4"

// defaultLibraries is where the library is looked for, in this order: the loader's own places, and the folders that DCGM's
// packages install it into.
func defaultLibraries() []string {
	return []string{
		soname,
		"/usr/lib/x86_64-linux-gnu/" + soname,
		"/usr/lib/aarch64-linux-gnu/" + soname,
		"/usr/lib64/" + soname,
	}
}

// required lists every function that is called, by us through go-dcgm.
func required() []string {
	return []string{
		"errorString", "dcgmInit", "dcgmShutdown", "dcgmConnect_v2", "dcgmDisconnect",
		"dcgmGetEntityGroupEntities", "dcgmGetGpuInstanceHierarchy",
		"dcgmGroupCreate", "dcgmGroupAddEntity", "dcgmGroupDestroy", "dcgmFieldGroupCreate",
		"dcgmWatchFields", "dcgmUnwatchFields", "dcgmUpdateAllFields", "dcgmEntityGetLatestValues", "dcgmEntitiesGetLatestValues",
	}
}

// loadLibrary loads the first of the candidates that there is, and returns its path. It stays loaded for the life of the
// process: go-dcgm, which asks for it by its soname, gets this one.
//
// go-dcgm calls C functions by name without asking whether they exist, and the dynamic loader ends the process when one does
// not. So all of them are looked up here. An error of type *unusableError is about a library that was found; any other says
// where was looked.
func loadLibrary(candidates []string) (path string, err error) {
	var tried []string
	for _, path := range candidates {
		handle, problem := open(path, C.RTLD_LAZY|C.RTLD_GLOBAL)
		if handle == nil {
			// Where it is not needs no more words than the path.
			tried = append(tried, strings.TrimSuffix(problem, ": cannot open shared object file: No such file or directory"))
			continue
		}
		for _, function := range required() {
			if !exports(handle, function) {
				return "", &unusableError{path, "it has no function " + function}
			}
		}
		if named, _ := open(soname, C.RTLD_LAZY|C.RTLD_NOLOAD); named == nil {
			return "", &unusableError{path, "its soname is not " + soname}
		}
		return path, nil
	}
	return "", fmt.Errorf("looked for %s", strings.Join(tried, ", "))
}

// open returns nil and the loader's words when the library cannot be loaded.
func open(path string, flags C.int) (handle unsafe.Pointer, problem string) {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	if handle := C.dlopen(name, flags); handle != nil {
		return handle, ""
	}
	if words := C.dlerror(); words != nil {
		return nil, C.GoString(words)
	}
	return nil, path + ": not loaded"
}

func exports(handle unsafe.Pointer, function string) bool {
	name := C.CString(function)
	defer C.free(unsafe.Pointer(name))
	return C.dlsym(handle, name) != nil
}

type unusableError struct{ path, reason string }

func (e *unusableError) Error() string {
	return fmt.Sprintf("%s was loaded but is no usable DCGM library: %s; DCGM 4 is needed", e.path, e.reason)
}
