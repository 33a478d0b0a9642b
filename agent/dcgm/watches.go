package dcgm

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/NVIDIA/go-dcgm/pkg/dcgm"
)

// watchAgain is when to try again to watch what the engine could not: another program may hold the performance monitor.
const watchAgain = 10 * time.Minute

// watches is what the engine was asked to watch. Only what is watched has values.
type watches struct {
	table    []field
	interval time.Duration

	// groups has a field group for each use, made when it is needed.
	groups map[use]dcgm.FieldHandle
	made   []watch
	// problems names what cannot be watched, as of tried.
	problems []string
	tried    time.Time
}

// use is what a field group is for: the fields of a role, those of the performance monitor apart, because an engine that
// cannot watch one field of a group watches none.
type use struct {
	role      role
	profiling bool
}

type watch struct {
	entities dcgm.GroupHandle
	fields   []dcgm.FieldHandle
}

// due reports whether it is time to try again what failed.
func (w *watches) due(now time.Time) bool {
	return len(w.problems) > 0 && now.Sub(w.tried) >= watchAgain
}

// clear ends the watches: they would outlive their groups. Of a device that is gone neither may be there; that is no matter.
func (w *watches) clear() {
	for _, m := range w.made {
		for _, f := range m.fields {
			_ = dcgm.UnwatchFields(f, m.entities)
		}
		_ = dcgm.DestroyGroup(m.entities)
	}
	w.made, w.problems = nil, nil
}

// set has the devices watched. An error means that the engine does not answer.
func (w *watches) set(devices []device, now time.Time) error {
	w.tried = now
	// The engine knows field groups by name, and keeps those of a connection that broke for a while.
	name := fmt.Sprintf("foretide-%08x", rand.Uint32())
	for len(devices) > 0 {
		n := 1
		for n < len(devices) && devices[n].IsMIG() && devices[n].MIG.ParentUUID == devices[0].MIG.ParentUUID {
			n++
		}
		if err := w.add(devices[:n], name); err != nil {
			return err
		}
		devices = devices[n:]
	}
	return nil
}

// add has a GPU, or the instances of one, watched as a group: profiling metrics cannot be had of a group of GPUs that differ,
// and groups are too few for one for each instance.
func (w *watches) add(alike []device, name string) error {
	group, err := dcgm.CreateGroup(name)
	if err != nil {
		return err
	}
	w.made = append(w.made, watch{entities: group})
	made := &w.made[len(w.made)-1]
	d, empty := &alike[0], true
	for i := range alike {
		if alike[i].together {
			continue
		}
		if err := dcgm.AddEntityToGroup(group, alike[i].entity.EntityGroupId, alike[i].entity.EntityId); err != nil {
			w.problems = append(w.problems, fmt.Sprintf("%s: is not watched: %v", &alike[i], err))
			continue
		}
		empty = false
	}
	if empty {
		return nil
	}
	for _, u := range []use{{d.role, false}, {d.role, true}} {
		fields, err := w.fieldGroup(u, name)
		if err != nil {
			return err
		}
		// One value is kept, for ever: it is used while it is fresh, and an event however old it is.
		err = dcgm.WatchFieldsWithGroupEx(fields, group, w.interval.Microseconds(), 0, 1)
		made.fields = append(made.fields, fields) // also where it failed halfway
		switch {
		case err == nil:
		case u.profiling:
			w.problems = append(w.problems, fmt.Sprintf("%s: has no profiling metrics: %v", d, err))
		default:
			w.problems = append(w.problems, fmt.Sprintf("%s: is not watched: %v", d, err))
		}
	}
	return nil
}

func (w *watches) ids(u use) []dcgm.Short {
	return ids(w.table, func(f field) bool { return f.of(u.role) && f.profiling == u.profiling })
}

func (w *watches) fieldGroup(u use, name string) (dcgm.FieldHandle, error) {
	if group, ok := w.groups[u]; ok {
		return group, nil
	}
	group, err := dcgm.FieldGroupCreate(fmt.Sprintf("%s-%d-%t", name, u.role, u.profiling), w.ids(u))
	if err != nil {
		return group, err
	}
	if w.groups == nil {
		w.groups = map[use]dcgm.FieldHandle{}
	}
	w.groups[u] = group
	return group, nil
}
