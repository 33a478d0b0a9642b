package nvml

import (
	"sync"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/foretide/foretide/pkg/telemetry"
)

const (
	// eventWait bounds one wait for an event, and with it how long NVML cannot be given back.
	eventWait = time.Second
	// A wait that fails is tried again after eventPauseFirst, then after twice as long each time, up to eventPauseLast: a lost GPU makes every wait fail at once.
	eventPauseFirst, eventPauseLast = time.Second, 30 * time.Second
)

var eventFunctions = []string{"nvmlEventSetCreate", "nvmlEventSetFree", "nvmlDeviceRegisterEvents", "nvmlEventSetWait"}

// listener counts the XID errors that the driver reports. Those from before it listened are lost (nvml.h, nvmlEventSetWait).
type listener struct {
	lib  *library
	set  nvml.EventSet
	stop chan struct{}
	done chan struct{}

	mu   sync.Mutex
	xids map[string]xids // by UUID of the GPUs listened to
}

type xids struct {
	errors uint64
	last   uint64
}

// listen begins to listen to the GPUs of the given handles. It returns nil where the library or none of the devices can.
func listen(lib *library, handles map[string]nvml.Device) *listener {
	if !lib.has(eventFunctions...) {
		return nil
	}
	set, ret := lib.api.EventSetCreate()
	if ret != nvml.SUCCESS {
		return nil
	}
	l := &listener{lib: lib, set: set, stop: make(chan struct{}), done: make(chan struct{}), xids: map[string]xids{}}
	for uuid, handle := range handles {
		if handle.RegisterEvents(nvml.EventTypeXidCriticalError, set) == nvml.SUCCESS {
			l.xids[uuid] = xids{}
		}
	}
	if len(l.xids) == 0 {
		_ = set.Free()
		return nil
	}
	go l.run()
	return l
}

func (l *listener) run() {
	defer close(l.done)
	pause := backoff{first: eventPauseFirst, last: eventPauseLast}
	for {
		select {
		case <-l.stop:
			_ = l.set.Free()
			return
		default:
		}
		event, ret := l.set.Wait(uint32(eventWait / time.Millisecond))
		switch ret {
		case nvml.SUCCESS:
			pause.succeeded()
			l.count(event)
		case nvml.ERROR_TIMEOUT:
			pause.succeeded()
		default:
			pause.failed(time.Now())
			select {
			case <-l.stop:
			case <-time.After(pause.wait):
			}
		}
	}
}

func (l *listener) count(event nvml.EventData) {
	if event.EventType != nvml.EventTypeXidCriticalError {
		return
	}
	uuid, ret := event.Device.GetUUID()
	if ret != nvml.SUCCESS {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if x, listened := l.xids[uuid]; listened {
		l.xids[uuid] = xids{x.errors + 1, event.EventData}
	}
}

// put adds what was heard of a GPU to its values.
func (l *listener) put(uuid string, values telemetry.Values) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if x, listened := l.xids[uuid]; listened {
		values[telemetry.XIDErrors], values[telemetry.XIDLast] = float64(x.errors), float64(x.last)
	}
}

// close ends the listening. It waits for the driver to answer, at most a little longer than one wait; false says that it did not.
func (l *listener) close() bool {
	if l == nil {
		return true
	}
	close(l.stop)
	select {
	case <-l.done:
		return true
	case <-time.After(2 * eventWait):
		return false
	}
}
