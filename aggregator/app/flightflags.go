package app

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/foretide/foretide/aggregator/simulate"
	"github.com/foretide/foretide/aggregator/storage"
	"github.com/foretide/foretide/pkg/trace"
)

const (
	// decidedEvery is how often replicas are decided in a flight: as often as a HorizontalPodAutoscaler looks.
	decidedEvery = 15 * time.Second
	// unneeded is how long GPUs that were brought stay without a pod: the default of Kubernetes' cluster autoscaler (scale-down-unneeded-time).
	unneeded = 10 * time.Minute
	// mostSteps is the longest recording: 90 days of 1 s.
	mostSteps = 8_000_000
)

// flightFlags are what a simulation is told.
type flightFlags struct {
	trace, series, store, storage, policy string
	history                               string
	scale, gpus, gpusPerPod               float64
	startup                               durations
	drain, provisioning, lag, step        time.Duration
	noise                                 float64
	outages                               spans
	rollouts                              moments
	seed                                  uint64
}

func (o *flightFlags) register(f *flag.FlagSet, history string) {
	f.StringVar(&o.trace, "trace", "", "CSV `file` of the recorded load: series,timestamp_unix,value; .gz is decompressed")
	f.StringVar(&o.series, "series", "", "`name` of the trace's series; may be left out when there is only one")
	f.Float64Var(&o.scale, "scale", 1, "busy GPUs per unit of the trace, a `number` above 0, such as for request rates")
	f.StringVar(&o.store, "from-store", "", "instead of --trace: the `namespace/name` of the Deployment whose recorded demand is played, or namespace/Kind/name")
	f.StringVar(&o.storage, "storage.path", DefaultOptions().StoragePath, "`directory` of the history for --from-store; it is only read")
	f.StringVar(&o.policy, "policy", "", "YAML `file` of the policy")
	f.StringVar(&o.history, "history", "", "how much of the recording is known before the flight begins, a `duration`; empty: "+history)
	o.startup = durations{3 * time.Minute}
	f.Var(&o.startup, "startup", "how long a pod takes from created to ready, a `duration`, or several that were measured with commas between, of which each pod has one at random")
	f.DurationVar(&o.drain, "drain", 30*time.Second, "how long a pod that is removed holds its GPUs without serving")
	f.Float64Var(&o.gpus, "gpus", 0, "`number` of GPUs the cluster has for the workload; 0: as many as it asks for")
	f.DurationVar(&o.provisioning, "provisioning", 0, "how long a cluster autoscaler takes to bring GPUs beyond --gpus, which go again after 10m without a pod; 0: none come")
	f.Float64Var(&o.gpusPerPod, "gpus-per-pod", 1, "GPUs that each pod holds, a whole `number`")
	f.DurationVar(&o.lag, "lag", decidedEvery, "how old what is seen of the load is")
	f.Float64Var(&o.noise, "noise", 0, "relative standard deviation of what is seen of the utilization, a `number` from 0 to 1")
	f.Var(&o.outages, "outages", "when nothing is seen of the load: `times` and durations such as 2026-03-05T10:00:00Z/30m, with commas between")
	f.Var(&o.rollouts, "rollouts", "when all pods are replaced, a quarter at a time: `times` such as 2026-03-05T10:00:00Z, with commas between")
	f.DurationVar(&o.step, "step", 15*time.Second, "grain of the simulation; it must divide a minute")
	f.Uint64Var(&o.seed, "seed", 1, "`number` from which startup times and noise are drawn; the same seed draws the same")
}

// check says which flag is wrong.
func (o *flightFlags) check() error {
	within := func(flag string, value, least, most time.Duration) error {
		if value < least || value > most {
			return fmt.Errorf("--%s is %v: it must be %v to %v", flag, value, least, most)
		}
		return nil
	}
	switch {
	case (o.trace == "") == (o.store == ""):
		return fmt.Errorf("--trace is %q and --from-store %q: one of them must be given, and not both", o.trace, o.store)
	case o.policy == "":
		return fmt.Errorf(`--policy is "": it must be a YAML file with a policy`)
	case !(o.scale > 0) || math.IsInf(o.scale, 0):
		return fmt.Errorf("--scale is %v: it must be a number above 0", o.scale)
	case !(o.gpus >= 0) || math.IsInf(o.gpus, 0):
		return fmt.Errorf("--gpus is %v: it must be a number of 0 or more", o.gpus)
	case o.gpusPerPod < 1 || o.gpusPerPod > 1024 || o.gpusPerPod != math.Trunc(o.gpusPerPod):
		return fmt.Errorf("--gpus-per-pod is %v: it must be a whole number from 1 to 1024", o.gpusPerPod)
	case o.gpus > 0 && o.gpus < o.gpusPerPod:
		return fmt.Errorf("--gpus is %v: it must be 0, or enough for one pod (--gpus-per-pod is %v)", o.gpus, o.gpusPerPod)
	case o.gpus == 0 && o.provisioning != 0:
		return fmt.Errorf("--provisioning is %v and --gpus 0: there is nothing to bring where GPUs never run out; give --gpus", o.provisioning)
	case !(o.noise >= 0 && o.noise <= 1):
		return fmt.Errorf("--noise is %v: it must be 0 to 1", o.noise)
	case o.step < time.Second || time.Minute%o.step != 0:
		return fmt.Errorf("--step is %v: it must divide a minute, and be at least 1s", o.step)
	}
	for _, err := range []error{
		within("drain", o.drain, 0, 24*time.Hour), within("provisioning", o.provisioning, 0, 24*time.Hour), within("lag", o.lag, 0, time.Hour),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

// read returns the flight that the flags tell of. usual is how much of a recording is history where they do not say.
func (o *flightFlags) read(ctx context.Context, usual func(all time.Duration) time.Duration) (*flight, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	f := &flight{startups: slices.Sorted(slices.Values(o.startup)), place: simulate.World{
		Step: o.step, Sync: (decidedEvery + o.step - 1) / o.step * o.step, Lag: o.lag, GPUsPerPod: o.gpusPerPod, Startup: simulate.Measured(o.startup),
		Drain: o.drain, GPUs: o.gpus, Provisioning: o.provisioning, Unneeded: unneeded, Noise: o.noise, Outages: o.outages, Rollouts: o.rollouts, Seed: o.seed,
	}}
	if err := f.take(o.policy); err != nil {
		return nil, fmt.Errorf("--policy: %w", err)
	}
	points, from, err := o.points(ctx)
	if err != nil {
		return nil, err
	}
	f.name = points.Name
	if len(points.Points) < 2 {
		return nil, fmt.Errorf("%s: %q has %d of the points of which at least 2 are needed", from, f.name, len(points.Points))
	}
	if n := points.Points[len(points.Points)-1].Time.Sub(points.Points[0].Time) / o.step; n > mostSteps {
		return nil, fmt.Errorf("%s: %q has %d steps of %v: at most %d are allowed (--step)", from, f.name, n, o.step, mostSteps)
	}
	f.start, f.offered = resample(points.Points, o.scale, o.step)
	for i, busy := range f.offered {
		if busy < 0 || busy > simulate.MostOffered {
			return nil, fmt.Errorf("%s: %q is %g busy GPUs at %s, with a --scale of %g: it must be 0 to %g", from, f.name, busy, stamp(f.time(i)), o.scale, float64(simulate.MostOffered))
		}
	}
	all := time.Duration(len(f.offered)) * o.step
	history := usual(all)
	if o.history != "" {
		if history, err = time.ParseDuration(o.history); err != nil || history < 0 {
			return nil, fmt.Errorf("--history is %q: it must be a duration such as 168h", o.history)
		}
	}
	history = history.Truncate(time.Minute)
	if all-history < time.Hour {
		return nil, fmt.Errorf("%s: %q is %v long and %v of it history (--history): at least 1h must be left to fly", from, f.name, all, history)
	}
	f.flown = int(history / o.step)
	return f, o.within(f.time(f.flown), f.time(len(f.offered)))
}

// within says which of the times is not in the flight.
func (o *flightFlags) within(from, to time.Time) error {
	for _, outage := range o.outages {
		if outage.From.Before(from) || !outage.From.Before(to) {
			return fmt.Errorf("--outages has %s: the flight is from %s to %s", stamp(outage.From), stamp(from), stamp(to))
		}
	}
	for _, rollout := range o.rollouts {
		if rollout.Before(from) || !rollout.Before(to) {
			return fmt.Errorf("--rollouts has %s: the flight is from %s to %s", stamp(rollout), stamp(from), stamp(to))
		}
	}
	return nil
}

// points reads the recording; from is the flag that names it.
func (o *flightFlags) points(ctx context.Context) (s trace.Series, from string, err error) {
	if o.trace != "" {
		s, err = readSeries("--trace", o.trace, "--series", o.series)
		return s, "--trace", err
	}
	parts := strings.Split(o.store, "/")
	if len(parts) == 2 {
		parts = []string{parts[0], "Deployment", parts[1]}
	}
	if len(parts) != 3 || slices.Contains(parts, "") {
		return s, "", fmt.Errorf("--from-store is %q: it must be namespace/name or namespace/Kind/name", o.store)
	}
	points, known, err := storage.Recorded(ctx, o.storage, storage.Workload{Namespace: parts[0], Kind: parts[1], Name: parts[2]})
	if err != nil {
		return s, "", fmt.Errorf("--storage.path: %w", err)
	}
	if len(points) == 0 {
		var names []string
		for _, w := range known[:min(len(known), 20)] {
			names = append(names, w.Namespace+"/"+w.Kind+"/"+w.Name)
		}
		return s, "", fmt.Errorf("--from-store is %q: the history has %s", o.store, cmp.Or(strings.Join(names, ", "), "no workload's demand"))
	}
	s.Name = strings.Join(parts, "/")
	for _, p := range points {
		s.Points = append(s.Points, trace.Point(p))
	}
	return s, "--from-store", nil
}
