package slices

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// askEvery is the shortest time between two lists; a failed one is tried again after twice the time before, up to askLast.
	askEvery = 10 * time.Second
	askLast  = 2 * time.Minute
	// maxWanted bounds how many devices can be wanted at once. A node has a few hundred.
	maxWanted = 4 << 10
)

// Options configures a [Lister]. Empty fields take what a pod has.
type Options struct {
	// Node is this node's name: only its ResourceSlices are asked for.
	Node string
	// Server is the API server's URL; empty takes KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT.
	Server string
	// TokenFile and CAFile are the ServiceAccount's; empty takes those that the kubelet puts into each pod.
	TokenFile, CAFile string
}

// Lister knows the devices of this node's ResourceSlices. It asks the API server only after a device was wanted, from Run's own
// goroutine; Want, Lookup and Problem never wait.
type Lister struct {
	o     Options
	pause pauses
	wake  chan struct{}
	// asked is called after each question; tests wait for it.
	asked func()

	mu      sync.Mutex
	devices map[key]Device
	wanted  map[key]bool
	problem string
}

type pauses struct{ every, last time.Duration }

// New returns a lister that knows nothing yet.
func New(o Options) *Lister {
	return &Lister{o: o.complete(), pause: pauses{askEvery, askLast}, wake: make(chan struct{}, 1), asked: func() {},
		wanted: map[key]bool{}}
}

// Lookup returns what is known of a device.
func (l *Lister) Lookup(driver, pool, name string) (Device, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d, known := l.devices[key{driver, pool, name}]
	return d, known
}

// Want has the ResourceSlices read soon: because a container holds a device that is not known, or whose UUID is none of the
// node's any more, as of a MIG instance that was made anew. It may be called each tick for as long as that is so.
func (l *Lister) Want(driver, pool, name string) {
	l.mu.Lock()
	if len(l.wanted) < maxWanted {
		l.wanted[key{driver, pool, name}] = true
	}
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default: // a question is due anyway
	}
}

// Problem says why wanted devices are not known, and what to do; empty when they are, or none was wanted.
func (l *Lister) Problem() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.problem
}

// Run asks, when something is wanted, until ctx ends.
func (l *Lister) Run(ctx context.Context) {
	pause := l.pause.every
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		}
		if l.ask(ctx) {
			pause = l.pause.every
		} else {
			pause = min(2*pause, l.pause.last)
		}
		l.asked()
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// ask reads the ResourceSlices. What was known stays when they cannot be read.
func (l *Lister) ask(ctx context.Context) bool {
	l.mu.Lock()
	wanted := l.wanted
	l.wanted = map[key]bool{}
	l.mu.Unlock()
	devices, err := l.o.list(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.problem = "resourceslices: " + err.Error()
		return false
	}
	l.devices = make(map[key]Device, len(devices))
	for _, d := range devices {
		l.devices[d.key()] = d
	}
	l.problem = l.missing(wanted)
	return true
}

// missing makes one problem of all devices that are wanted and not there.
func (l *Lister) missing(wanted map[key]bool) string {
	var names []string
	for k := range wanted {
		if _, known := l.devices[k]; !known {
			names = append(names, fmt.Sprintf("%s/%s of %s", k.pool, k.name, k.driver))
		}
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	more := ""
	if n := len(names) - 3; n > 0 {
		names, more = names[:3], fmt.Sprintf(" and %d more", n)
	}
	return fmt.Sprintf("resourceslices: none of node %s has %s%s: is the driver's kubelet plugin running?", l.o.Node, strings.Join(names, ", "), more)
}
