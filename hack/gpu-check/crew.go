package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/foretide/foretide/pkg/telemetry"
)

// loads are the two processes': together 80 % of the time, in turns that do not overlap, and with different amounts of memory.
var loads = []load{
	{share: 0.3, turn: 0, memoryMiB: 512},
	{share: 0.5, turn: 0.35, memoryMiB: 1536},
}

// crew is the workers on one GPU.
type crew struct {
	uuid    string
	workers []*worker // the less memory, the earlier
	// before are the processes that were on the GPU already.
	before map[int]bool
}

// truth is what one worker did.
type truth struct {
	owner telemetry.Owner
	load  load
	kept  float64 // share of the time for which it kept the GPU busy
}

func madeUpOwner(pod string) telemetry.Owner {
	return telemetry.Owner{Namespace: "gpu-check", Pod: pod}
}

// startCrew puts all loads on a GPU, for the given time at most.
func startCrew(ctx context.Context, uuid string, length time.Duration) (crew, error) {
	c := crew{uuid: uuid}
	for i, l := range loads {
		l.length = length
		w, err := startWorker(ctx, l, madeUpOwner(fmt.Sprintf("load-%c", 'a'+i)), uuid)
		if err != nil {
			c.kill()
			return crew{}, err
		}
		c.workers = append(c.workers, w)
	}
	return c, nil
}

func (c *crew) owners() []telemetry.Owner {
	var owners []telemetry.Owner
	for _, w := range c.workers {
		owners = append(owners, w.owner)
	}
	return owners
}

// stop ends the loads and returns what each did.
func (c *crew) stop() (truths []truth, err error) {
	for _, w := range c.workers {
		kept, stopErr := w.stop()
		err = errors.Join(err, stopErr)
		truths = append(truths, truth{w.owner, w.load, kept})
	}
	c.workers = nil
	return truths, err
}

// kill ends the loads that were not stopped.
func (c *crew) kill() {
	for _, w := range c.workers {
		_ = w.cmd.Process.Kill()
		_ = w.cmd.Wait()
	}
}

// How the workers' processes were found among those the driver lists.
const (
	identifiedByPID    = "by their PIDs"
	identifiedByMemory = "by the memory they hold: the driver gives PIDs of another namespace than this program's"
)

// identify finds the workers among the GPU's processes. In a container the driver may give the host's PIDs; then the workers are
// those that came, in the order of the memory they hold. It returns nothing when they are not there.
func (c *crew) identify(samples []telemetry.Sample) (owners map[int]telemetry.Owner, how string) {
	owners = map[int]telemetry.Owner{}
	var came []telemetry.Process
	for _, p := range processes(samples, c.uuid) {
		if _, measured := p.Values[telemetry.MemoryUsed]; measured && !c.before[p.PID] {
			came = append(came, p)
		}
		for _, w := range c.workers {
			if w.cmd.Process.Pid == p.PID {
				owners[p.PID] = w.owner
			}
		}
	}
	if len(owners) == len(c.workers) {
		return owners, identifiedByPID
	}
	clear(owners)
	if len(came) != len(c.workers) {
		return owners, ""
	}
	slices.SortFunc(came, func(a, b telemetry.Process) int {
		return cmp.Compare(a.Values[telemetry.MemoryUsed], b.Values[telemetry.MemoryUsed])
	})
	for i, w := range c.workers {
		owners[came[i].PID] = w.owner
	}
	return owners, identifiedByMemory
}

// wholeGPU returns the UUID of the first GPU that is not partitioned.
func wholeGPU(samples []telemetry.Sample) (string, error) {
	for _, s := range samples {
		partitioned := slices.ContainsFunc(samples, func(other telemetry.Sample) bool { return other.Device.MIG.ParentUUID == s.Device.UUID })
		if !s.Device.IsMIG() && !partitioned {
			return s.Device.UUID, nil
		}
	}
	return "", errors.New("every GPU is partitioned (MIG), and of an instance no driver says which process was busy: use --load=false")
}

func processes(samples []telemetry.Sample, uuid string) []telemetry.Process {
	for _, s := range samples {
		if s.Device.UUID == uuid {
			return s.Processes
		}
	}
	return nil
}

func pids(samples []telemetry.Sample, uuid string) map[int]bool {
	found := map[int]bool{}
	for _, p := range processes(samples, uuid) {
		found[p.PID] = true
	}
	return found
}

// adoptProcesses makes up an owner for each process that uses a device.
func adoptProcesses(w *watch, samples []telemetry.Sample) {
	for _, s := range samples {
		for _, p := range s.Processes {
			owner := madeUpOwner(fmt.Sprintf("process-%d", p.PID))
			w.owners[p.PID] = owner
			w.holders[s.Device.UUID] = append(w.holders[s.Device.UUID], owner)
		}
	}
}
