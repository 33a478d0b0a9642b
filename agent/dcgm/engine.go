package dcgm

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/NVIDIA/go-dcgm/pkg/dcgm"

	"github.com/foretide/foretide/pkg/telemetry"
)

const (
	// surveyEvery is how often the engine is asked which devices there are: MIG instances come and go.
	surveyEvery = 10 * time.Second
	// staleAfter is how many intervals old a value may be.
	staleAfter = 3
)

// engine is the connection to a host engine and what is remembered of it. All of it belongs to the job that runs in the lane.
type engine struct {
	address    string
	candidates []string
	interval   time.Duration
	table      []field

	library   string // empty until loaded
	connected bool
	driver    string
	devices   []device
	surveyed  time.Time
	problems  []string // of the last survey
	watches   watches
}

// outcome is what one job found.
type outcome struct {
	samples  []telemetry.Sample
	problems []string
	state    State
	message  string
	// connected says that there is a connection, and that it may be used again at once.
	connected bool
	// gpus counts the GPUs that were readable.
	gpus            int
	library, driver string
}

// read reads every device, after connecting where that is needed.
func (e *engine) read(now time.Time) outcome {
	if state, err := e.open(); err != nil {
		return e.outcome(state, err.Error())
	}
	if now.Sub(e.surveyed).Abs() >= surveyEvery {
		if err := e.survey(now); err != nil {
			return e.lost(err)
		}
	}
	var samples []telemetry.Sample
	problems := slices.Clone(e.problems)
	loss, gpus := "", 0
	for i := range e.devices {
		d := &e.devices[i]
		sample, trouble, err := e.readDevice(d, now)
		if connectionLost(err) {
			return e.lost(err)
		}
		if err != nil { // it may have been taken away
			problem := fmt.Sprintf("%s: %v", d, err)
			problems, loss = append(problems, problem), cmp.Or(loss, problem)
			e.surveyed = time.Time{}
			continue
		}
		samples, problems = append(samples, sample), append(problems, trouble...)
		if !d.IsMIG() {
			gpus++
		}
	}
	out := e.outcome(StateOK, "")
	switch {
	case gpus == 0 && len(problems) > 0:
		out = e.outcome(StateFailed, "no device answers: "+cmp.Or(loss, problems[0]))
	case len(e.devices) == 0:
		out = e.outcome(StateNoDevices, "")
	}
	out.samples, out.problems, out.gpus = samples, problems, gpus
	return out
}

func (e *engine) outcome(state State, message string) outcome {
	return outcome{state: state, message: message, connected: e.connected, library: e.library, driver: e.driver}
}

// lost gives up the connection.
func (e *engine) lost(why error) outcome {
	e.close()
	return e.outcome(StateEngineUnreachable, fmt.Sprintf("the host engine at %s does not answer any more: %v; "+
		"the connection is made again as soon as nv-hostengine runs", e.address, why))
}

// open makes sure that there is a connection.
func (e *engine) open() (State, error) {
	if e.connected {
		return StateOK, nil
	}
	target, socket, err := parseAddress(e.address)
	if err != nil {
		return StateFailed, err
	}
	if e.library == "" {
		path, err := loadLibrary(e.candidates)
		if unusable := (*unusableError)(nil); errors.As(err, &unusable) {
			return StateFailed, err
		} else if err != nil {
			return StateLibraryMissing, fmt.Errorf("DCGM library not found: %w; install DCGM 4 where the agent runs, or mount its %s, "+
				"or read the devices through NVML", err, soname)
		}
		e.library = path
	}
	if _, err := dcgm.Init(dcgm.Standalone, target, socket); err != nil {
		return StateEngineUnreachable, fmt.Errorf("no host engine at %s: %w; is nv-hostengine running there, and may this node reach it?", e.address, err)
	}
	e.connected = true
	e.devices, e.problems, e.surveyed = nil, nil, time.Time{}
	e.watches = watches{table: e.table, interval: e.interval}
	return StateOK, nil
}

// close gives up the connection; the engine ends its watches by itself.
func (e *engine) close() {
	if e.connected {
		// The result changes nothing: the next open connects anew either way.
		_ = dcgm.Shutdown()
		e.connected = false
	}
}

// survey finds out which devices there are, and has the engine watch them when they are not the ones from before.
func (e *engine) survey(now time.Time) error {
	found, problems, err := survey()
	if err != nil {
		return err
	}
	if e.driver = ""; len(found) > 0 {
		e.driver = driverVersion(found[0])
	}
	if !slices.Equal(found, e.devices) || e.watches.due(now) {
		e.watches.clear()
		if err := e.watches.set(found, now); err != nil {
			return err
		}
	}
	e.devices, e.surveyed, e.problems = found, now, append(problems, e.watches.problems...)
	for i := range found {
		if d := &found[i]; d.together && d.MIG.ComputeInstance == 0 {
			e.problems = append(e.problems, fmt.Sprintf("%s: its GPU instance is divided among several compute instances, whose use DCGM cannot tell apart", d))
		}
	}
	return nil
}

// readDevice reads everything of one device.
func (e *engine) readDevice(d *device, now time.Time) (telemetry.Sample, []string, error) {
	sample := telemetry.Sample{Reading: telemetry.Reading{Device: d.Device, Values: make(telemetry.Values, 40)}}
	if d.together {
		return sample, nil, nil
	}
	// One device at a time: go-dcgm takes 4 KiB for every value, and twice.
	values, err := dcgm.EntityGetLatestValues(d.entity.EntityGroupId, d.entity.EntityId, ids(e.table, func(f field) bool { return f.of(d.role) }))
	if err != nil {
		return telemetry.Sample{}, nil, err
	}
	var problems []string
	oldest := put(sample.Values, e.table, values, now, staleAfter*e.interval)
	if oldest > 0 {
		problems = append(problems, fmt.Sprintf("%s: values of the host engine are %v old and not used: does it still run, and does its clock agree?",
			d, oldest.Round(time.Second)))
	}
	if _, known := sample.Values[telemetry.UtilizationMean]; !known && oldest == 0 && d.role != rolePartitioned {
		problems = append(problems, fmt.Sprintf("%s: the host engine says no utilization (MIG mode without profiling metrics?)", d))
	}
	return sample, problems, nil
}

// connectionLost reports whether the error means that the engine no longer answers.
func connectionLost(err error) bool {
	failed := (*dcgm.Error)(nil)
	if !errors.As(err, &failed) {
		return false
	}
	const uninitialized, timeout = -10, -11 // dcgm_structs.h, DCGM_ST_
	switch int(failed.Code) {
	case dcgm.DCGM_ST_CONNECTION_NOT_VALID, uninitialized, timeout:
		return true
	}
	return false
}

// parseAddress turns unix:///path and host:port into what go-dcgm connects to, and whether it is a socket ("1") or not ("0").
// Those two every DCGM 4 knows; its own connection strings came with 4.5.
func parseAddress(address string) (target, socket string, err error) {
	if path, ok := strings.CutPrefix(address, "unix://"); ok {
		if !strings.HasPrefix(path, "/") {
			return "", "", fmt.Errorf("the host engine's address %q has no absolute path: write unix:///run/nvidia/dcgm.sock", address)
		}
		return path, "1", nil
	}
	if host, port, err := net.SplitHostPort(address); err != nil || host == "" || port == "" {
		return "", "", fmt.Errorf("the host engine's address %q is neither host:port nor unix:///path: nv-hostengine listens on port 5555 by default", address)
	}
	return address, "0", nil
}
