package nvml

import (
	"sync"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/foretide/foretide/pkg/lane"
	"github.com/foretide/foretide/pkg/telemetry"
)

const (
	// eventWait bounds one wait for an event, and with it how long NVML cannot be given back.
	eventWait = time.Second
	// A wait that fails is tried again after eventPauseFirst, then after twice as long each time, up to eventPauseLast: a lost GPU makes every wait fail at once.
	eventPauseFirst, eventPauseLast = time.Second, 30 * time.Second
)

var eventFunctions = []string{"nvmlEventSetCreate", "nvmlEventSetFree", "nvmlDeviceRegisterEvents", "nvmlEventSetWait"}

// xidLog remembers the XID errors that were heard of, by the UUID of the GPU: longer than a listener lasts, for NVML is initialized anew
// after just the errors that matter most.
type xidLog struct {
	mu    sync.Mutex
	heard map[string]xids
}

type xids struct {
	errors uint64
	last   uint64
}

func (l *xidLog) begin(uuid string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.heard[uuid]; !known {
		l.heard[uuid] = xids{}
	}
}

func (l *xidLog) add(uuid string, code uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard[uuid] = xids{l.heard[uuid].errors + 1, code}
}

func (l *xidLog) of(uuid string) (xids, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	x, known := l.heard[uuid]
	return x, known
}

// put adds what was heard of a GPU to its values.
func (l *xidLog) put(uuid string, values telemetry.Values) {
	if x, known := l.of(uuid); known {
		values[telemetry.XIDErrors], values[telemetry.XIDLast] = float64(x.errors), float64(x.last)
	}
}

// listener waits for XID errors. Those from before it listened are lost (nvml.h, nvmlEventSetWait).
type listener struct {
	set     nvml.EventSet
	log     *xidLog
	stop    chan struct{}
	stopped bool
	done    chan struct{}
}

// listen begins to listen to the GPUs of the given handles. It returns nil where the library or none of the devices can.
func listen(lib *library, log *xidLog, handles map[string]nvml.Device) *listener {
	if !lib.has(eventFunctions...) {
		return nil
	}
	set, ret := lib.api.EventSetCreate()
	if ret != nvml.SUCCESS {
		return nil
	}
	registered := 0
	for uuid, handle := range handles {
		if handle.RegisterEvents(nvml.EventTypeXidCriticalError, set) == nvml.SUCCESS {
			log.begin(uuid)
			registered++
		}
	}
	if registered == 0 {
		_ = set.Free()
		return nil
	}
	l := &listener{set: set, log: log, stop: make(chan struct{}), done: make(chan struct{})}
	go l.run()
	return l
}

func (l *listener) run() {
	defer close(l.done)
	pause := lane.Backoff{First: eventPauseFirst, Last: eventPauseLast}
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
			pause.Succeeded()
			l.count(event)
		case nvml.ERROR_TIMEOUT:
			pause.Succeeded()
		default:
			pause.Failed(time.Now())
			select {
			case <-l.stop:
			case <-time.After(pause.Wait()):
			}
		}
	}
}

func (l *listener) count(event nvml.EventData) {
	if event.EventType != nvml.EventTypeXidCriticalError {
		return
	}
	if uuid, ret := event.Device.GetUUID(); ret == nvml.SUCCESS {
		l.log.add(uuid, event.EventData)
	}
}

// close ends the listening. It waits for the driver to answer, at most a little longer than one wait, and when it has not by then, no more; false
// says that it has not yet.
func (l *listener) close() bool {
	if l == nil {
		return true
	}
	limit := 2 * eventWait
	if l.stopped {
		limit = 0
	} else {
		l.stopped = true
		close(l.stop)
	}
	select {
	case <-l.done:
		return true
	case <-time.After(limit):
		return false
	}
}
