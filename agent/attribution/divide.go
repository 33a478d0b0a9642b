package attribution

import (
	"fmt"
	"slices"
	"strings"

	"github.com/foretide/foretide/pkg/telemetry"
)

// division is one device's sample being divided.
type division struct {
	sample  telemetry.Sample
	holders []telemetry.Owner
	// used is what the processes of each pod used, and hostUsed those of no pod.
	used     map[telemetry.Owner]telemetry.Values
	hostUsed telemetry.Values
	// unseen is what processes used of which it is not known whose they are.
	unseen telemetry.Values

	given    map[telemetry.Owner]telemetry.Values
	rest     telemetry.Values
	problems []string
}

func divide(s telemetry.Sample, holders []telemetry.Owner, ownerOf func(int) (telemetry.Owner, Of)) *division {
	d := &division{sample: s, holders: holders, used: map[telemetry.Owner]telemetry.Values{}, hostUsed: telemetry.Values{}, unseen: telemetry.Values{},
		given: make(map[telemetry.Owner]telemetry.Values, len(holders)), rest: telemetry.Values{}}
	d.assign(ownerOf)
	for _, o := range holders {
		d.given[o] = telemetry.Values{}
	}
	for o := range d.used {
		if d.given[o] == nil {
			d.given[o] = telemetry.Values{}
		}
	}
	var byTime []telemetry.Metric
	for m, v := range s.Values {
		switch m.Definition().Split {
		case telemetry.SplitProcess:
			d.byProcess(m, v)
		case telemetry.SplitTime:
			byTime = append(byTime, m)
		case telemetry.SplitPeak:
			d.peak(m, v)
		case telemetry.SplitSole:
			d.sole(m, v)
		case telemetry.SplitCapacity:
			for _, values := range d.given {
				values[m] = v
			}
		case telemetry.SplitNone:
		}
	}
	for _, m := range byTime { // they follow utilization
		d.byTime(m, s.Values[m])
	}
	return d
}

// assign sums up the processes by owner. A process of a pod that holds the device counts as the holding container's where that
// is the only one, also when it runs in another container of the pod, or it is not known in which.
func (d *division) assign(ownerOf func(int) (telemetry.Owner, Of)) {
	for _, p := range d.sample.Processes {
		owner, of := ownerOf(p.PID)
		switch of {
		case OfUnknown:
			add(d.unseen, p.Values)
		case OfHost:
			add(d.hostUsed, p.Values)
		case OfPod:
			owner = d.holder(owner)
			if d.used[owner] == nil {
				d.used[owner] = telemetry.Values{}
			}
			add(d.used[owner], p.Values)
		}
	}
}

func add(to, values telemetry.Values) {
	for m, v := range values {
		to[m] += v
	}
}

func (d *division) holder(of telemetry.Owner) telemetry.Owner {
	if slices.Contains(d.holders, of) {
		return of
	}
	var same []telemetry.Owner
	for _, h := range d.holders {
		if h.Namespace == of.Namespace && h.Pod == of.Pod {
			same = append(same, h)
		}
	}
	if len(same) == 1 {
		return same[0]
	}
	return of
}

// divided reports whether the driver says what each process used. Of nothing everybody has nothing.
func (d *division) divided(m telemetry.Metric) bool {
	return d.sample.Values[m] == 0 || slices.Contains(d.sample.Divided, m)
}

// unseenShare is the part of a reading below which it does not matter whose it is: a process may end between being read and being looked up.
const unseenShare = 0.01

// maybeUnseen reports whether what the owner used is not known: it is one of several holders, no process is known to be its own, and there
// are processes that may be. It is absent then, not zero.
func (d *division) maybeUnseen(o telemetry.Owner, m telemetry.Metric) bool {
	return len(d.holders) > 1 && d.used[o] == nil && d.unseen[m] > unseenShare*d.sample.Values[m]
}

// onlyHolder returns the owner that has what nobody else is known to have used.
func (d *division) onlyHolder() (telemetry.Owner, bool) {
	if len(d.holders) == 1 {
		return d.holders[0], true
	}
	return telemetry.Owner{}, false
}

func (d *division) byProcess(m telemetry.Metric, whole float64) {
	holder, alone := d.onlyHolder()
	if !d.divided(m) {
		switch {
		case alone:
			d.given[holder][m], d.rest[m] = whole, 0
		case len(d.holders) == 0:
			d.rest[m] = whole
		case m == telemetry.UtilizationMean:
			d.problems = append(d.problems, fmt.Sprintf("attribution: device %s is shared by %s, and its driver does not say which of them was busy",
				d.sample.Device.UUID, names(d.holders)))
		}
		return
	}
	sum := d.hostUsed[m] + d.unseen[m]
	for _, values := range d.used {
		sum += values[m]
	}
	scale := 1.0
	if sum > whole {
		scale = whole / sum
	}
	left := whole
	for o, values := range d.given {
		if alone && o == holder {
			continue
		}
		if d.maybeUnseen(o, m) {
			continue
		}
		values[m] = min(d.used[o][m]*scale, left)
		left -= values[m]
	}
	if alone {
		host := min(d.hostUsed[m]*scale, left)
		d.given[holder][m] = left - host
		left = host
	}
	d.rest[m] = left
	if m == telemetry.UtilizationMean && slices.ContainsFunc(d.holders, func(o telemetry.Owner) bool { return d.maybeUnseen(o, m) }) {
		d.problems = append(d.problems, fmt.Sprintf("attribution: device %s: it is not known whose some of its processes are (does the agent run with hostPID?)",
			d.sample.Device.UUID))
	}
}

// byTime gives of what the device drew in the whole time the part for which the owner was busy. A device's only holder has the rest too,
// the idle time included, but what others were busy for.
func (d *division) byTime(m telemetry.Metric, whole float64) {
	holder, alone := d.onlyHolder()
	busy, known := d.sample.Values[telemetry.UtilizationMean]
	known = known && d.divided(telemetry.UtilizationMean)
	if !known && !alone && len(d.holders) > 0 {
		d.rest[m] = whole
		return
	}
	left := whole
	for o, values := range d.given {
		if alone && o == holder {
			continue
		}
		if busy, known := values[telemetry.UtilizationMean]; known {
			values[m] = min(whole*busy, left)
			left -= values[m]
		}
	}
	if alone {
		host := 0.0
		if known && busy > 0 {
			host = min(whole*d.rest[telemetry.UtilizationMean], left)
		}
		d.given[holder][m] = left - host
		left = host
	}
	d.rest[m] = left
}

func (d *division) peak(m telemetry.Metric, whole float64) {
	holder, alone := d.onlyHolder()
	divided := d.divided(telemetry.UtilizationMean)
	for o, values := range d.given {
		switch {
		case alone && o == holder:
			values[m] = whole
		case divided && !d.maybeUnseen(o, telemetry.UtilizationMean), whole == 0:
			values[m] = min(d.used[o][m], whole)
		}
	}
}

func (d *division) sole(m telemetry.Metric, whole float64) {
	if holder, alone := d.onlyHolder(); alone && len(d.given) == 1 {
		d.given[holder][m] = whole
	}
}

// usages returns what was given, by owner.
func (d *division) usages() []telemetry.Usage {
	owners := make([]telemetry.Owner, 0, len(d.given))
	for o := range d.given {
		owners = append(owners, o)
	}
	sortOwners(owners)
	usages := make([]telemetry.Usage, len(owners))
	for i, o := range owners {
		usages[i] = telemetry.Usage{Owner: o, DeviceUUID: d.sample.Device.UUID, Attribution: d.how(o), Values: d.given[o]}
	}
	return usages
}

func (d *division) how(o telemetry.Owner) telemetry.Attribution {
	holder, alone := d.onlyHolder()
	switch {
	case alone && o == holder && d.sample.Device.IsMIG():
		return telemetry.AttributionMIG
	case alone && o == holder:
		return telemetry.AttributionExclusive
	case d.divided(telemetry.UtilizationMean) && !d.maybeUnseen(o, telemetry.UtilizationMean):
		return telemetry.AttributionProcess
	}
	return telemetry.AttributionUnknown
}

func names(owners []telemetry.Owner) string {
	texts := make([]string, len(owners))
	for i, o := range owners {
		texts[i] = fmt.Sprintf("%s/%s (%s)", o.Namespace, o.Pod, o.Container)
	}
	return strings.Join(texts, ", ")
}
