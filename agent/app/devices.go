package app

import (
	"cmp"
	"context"
	"time"

	"github.com/foretide/foretide/agent/dcgm"
	"github.com/foretide/foretide/agent/nvml"
	"github.com/foretide/foretide/pkg/telemetry"
)

// The sources of readings: the words of --devices.source.
const (
	sourceNVML = "nvml"
	sourceDCGM = "dcgm"
)

// devices is the reader that was chosen, and how the rest of the agent sees it.
type devices struct {
	reader interface {
		Read(context.Context, time.Time) ([]telemetry.Sample, []string)
	}
	state  func() reading
	states []string
	// release gives the driver back or takes it again; replaced tells that a new process would load another library.
	release  func(bool)
	replaced func() bool
	close    func()
}

func newDevices(o Options, observe func(function string, d time.Duration)) devices {
	if o.DevicesSource == sourceDCGM {
		return dcgmDevices(o)
	}
	r := nvml.New(nvml.Options{LibraryPath: o.NVMLLibraryPath, Observe: observe})
	return devices{reader: r, states: words(nvml.States()), release: r.SetReleased, close: r.Close,
		replaced: func() bool { return r.Status().LibraryReplaced },
		state: func() reading {
			s := r.Status()
			return reading{State: string(s.State), Message: s.Message, Since: cmp.Or(s.DownSince, s.Since), Up: s.State.Up(), Devices: s.Devices, Hanging: s.Hanging,
				Released: s.State == nvml.StateReleased}
		}}
}

// dcgmDevices reads from a host engine. The driver is the engine's to give back.
func dcgmDevices(o Options) devices {
	r := dcgm.New(dcgm.Options{Address: o.DCGMAddress, LibraryPath: o.DCGMLibraryPath, Interval: o.SamplerInterval})
	return devices{reader: r, states: words(dcgm.States()), release: func(bool) {}, close: r.Close,
		replaced: func() bool { return false },
		state: func() reading {
			s := r.Status()
			return reading{State: string(s.State), Message: s.Message, Since: s.Since, Up: s.State.Up(), Devices: s.Devices}
		}}
}

func words[S ~string](states []S) []string {
	out := make([]string, len(states))
	for i, s := range states {
		out[i] = string(s)
	}
	return out
}
