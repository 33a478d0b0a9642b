package telemetry

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// Frame is a [Batch] in columns, the form in which batches are kept, travel and are stored: what the values are of (the layout)
// changes rarely, the values always.
type Frame struct {
	// Node and Session are of the stream; see [Batch].
	Node, Session string
	Sequence      uint64
	Start, End    time.Time
	OwnersKnown   bool
	Problems      []string
	// Layout says what each of Values is. Frames that follow each other share it as long as it stays the same, so a reader may
	// keep what it derived from a layout under its pointer. It must not be changed.
	Layout *Layout
	// Values has Layout.Len() numbers, column by column.
	Values []float64
}

// Layout is what the values of a frame are of.
type Layout struct {
	Devices []Device
	Uses    []Use
	Pods    []Pod
	// Sources are the pods whose inference servers say something of themselves.
	Sources []PodName
	Columns []Column
	// length is the number of values.
	length int
}

// Use is an owner of a device, and how what it used was told: a [Usage] without its values.
type Use struct {
	Owner       Owner
	DeviceUUID  string
	Attribution Attribution
}

// PodName names a pod.
type PodName struct{ Namespace, Pod string }

// ColumnKind says what the slots of a column are.
type ColumnKind uint8

// The kinds, numbered as on the wire.
const (
	// ReadingColumn has a device's values.
	ReadingColumn ColumnKind = iota + 1
	// UnattributedColumn has what of a device's values no owner used.
	UnattributedColumn
	// UsageColumn has what an owner used.
	UsageColumn
	// WorkloadColumn has what a pod's inference server says.
	WorkloadColumn
)

// Column is one metric of those of one kind that have it.
type Column struct {
	Kind ColumnKind
	// Metric is 0 for a WorkloadColumn, which has a Name instead.
	Metric Metric
	Name   string
	// Slots are ascending indices into Devices, Uses or Sources. They are never empty.
	Slots []uint32
	Grid  Grid
}

// Len is the number of values a frame of this layout has.
func (l *Layout) Len() int { return l.length }

// slots is how many there are of a kind.
func (l *Layout) slots(k ColumnKind) int {
	switch k {
	case ReadingColumn, UnattributedColumn:
		return len(l.Devices)
	case UsageColumn:
		return len(l.Uses)
	case WorkloadColumn:
		return len(l.Sources)
	}
	return 0
}

func (l *Layout) sameIdentities(o *Layout) bool {
	return slices.Equal(l.Devices, o.Devices) && slices.Equal(l.Uses, o.Uses) && slices.Equal(l.Pods, o.Pods) && slices.Equal(l.Sources, o.Sources)
}

func (l *Layout) sameColumns(o *Layout) bool {
	return slices.EqualFunc(l.Columns, o.Columns, func(a, b Column) bool {
		return a.Kind == b.Kind && a.Metric == b.Metric && a.Name == b.Name && a.Grid == b.Grid && slices.Equal(a.Slots, b.Slots)
	})
}

// Framer makes frames of a node's batches. Frames whose layout is that of the one before share it. The zero value is ready.
type Framer struct{ last *Layout }

// Frame puts the batch in columns and rounds its values to what the catalogue says they mean ([Definition.Round]).
func (f *Framer) Frame(b Batch) Frame {
	l := &Layout{Pods: b.Pods}
	readings := make([]Values, len(b.Readings))
	for i, r := range b.Readings {
		l.Devices = append(l.Devices, r.Device)
		readings[i] = r.Values
	}
	for _, u := range b.Usages {
		l.Uses = append(l.Uses, Use{u.Owner, u.DeviceUUID, u.Attribution})
	}
	unattributed, usages := roundParts(b)
	var values []float64
	for _, d := range Catalogue() {
		values = l.addColumn(ReadingColumn, d, readings, values)
		values = l.addColumn(UnattributedColumn, d, unattributed, values)
		values = l.addColumn(UsageColumn, d, usages, values)
	}
	values = l.addWorkload(b.Workload, values)
	l.length = len(values)
	if f.last != nil && l.sameIdentities(f.last) && l.sameColumns(f.last) {
		l = f.last
	}
	f.last = l
	return Frame{Node: b.Node, Session: b.Session, Sequence: b.Sequence, Start: b.Start, End: b.End, OwnersKnown: b.OwnersKnown,
		Problems: b.Problems, Layout: l, Values: values}
}

// roundParts rounds what each owner used and what nobody did, so that these still make up the rounded readings: what rounding adds
// or takes away is the unattributed part's, and where that has none, the largest owner's.
func roundParts(b Batch) (unattributed, usages []Values) {
	usages = make([]Values, len(b.Usages))
	own, withInstances := map[string][]Values{}, map[string][]Values{}
	parent := make(map[string]string, len(b.Readings))
	for _, r := range b.Readings {
		parent[r.Device.UUID] = r.Device.MIG.ParentUUID
	}
	for i, u := range b.Usages {
		usages[i] = make(Values, len(u.Values))
		for m, v := range u.Values {
			usages[i][m] = m.Definition().Round(v)
		}
		own[u.DeviceUUID] = append(own[u.DeviceUUID], usages[i])
		withInstances[u.DeviceUUID] = append(withInstances[u.DeviceUUID], usages[i])
		if p := parent[u.DeviceUUID]; p != "" {
			withInstances[p] = append(withInstances[p], usages[i])
		}
	}
	unattributed = make([]Values, len(b.Readings))
	for i, r := range b.Readings {
		unattributed[i] = make(Values, len(r.Unattributed))
		for m, v := range r.Unattributed {
			d, parts := m.Definition(), own[r.Device.UUID]
			if d.Split == SplitTime { // what a GPU in parts draws, the owners of its parts have
				parts = withInstances[r.Device.UUID]
			}
			whole, measured := r.Values[m]
			if !measured || !d.Split.Sums() {
				whole = math.NaN()
			}
			unattributed[i][m] = d.rest(whole, v, parts)
		}
	}
	return unattributed, usages
}

// rest is what the rounded parts leave of a whole, as long as that differs from the unattributed part by no more than rounding
// can: totals since different moments do not make up a whole.
func (d Definition) rest(whole, unattributed float64, parts []Values) float64 {
	left, slack := d.Round(whole), d.Grid().value(1)
	var largest Values
	for _, part := range parts {
		left -= part[d.Metric]
		slack += d.Grid().value(1)
		if largest == nil || part[d.Metric] > largest[d.Metric] {
			largest = part
		}
	}
	left = d.Round(left)
	if !(math.Abs(left-unattributed) <= slack) { // nor NaN
		return d.Round(unattributed)
	}
	if left < 0 && largest[d.Metric] >= -left {
		largest[d.Metric] = d.Round(largest[d.Metric] + left)
	}
	return max(0, left)
}

func (l *Layout) addColumn(kind ColumnKind, d Definition, of []Values, values []float64) []float64 {
	var slots []uint32
	for i, has := range of {
		if v, ok := has[d.Metric]; ok {
			if slots == nil {
				slots = make([]uint32, 0, len(of)-i)
			}
			slots = append(slots, uint32(i))
			values = append(values, d.Round(v))
		}
	}
	if len(slots) > 0 {
		l.Columns = append(l.Columns, Column{Kind: kind, Metric: d.Metric, Slots: slots, Grid: d.Grid()})
	}
	return values
}

// addWorkload adds a column for each name. Of two values of one pod with one name the last stands.
func (l *Layout) addWorkload(said []WorkloadValue, values []float64) []float64 {
	byName := map[string]map[PodName]float64{}
	for _, v := range said {
		source := PodName{v.Namespace, v.Pod}
		l.Sources = append(l.Sources, source)
		if byName[v.Name] == nil {
			byName[v.Name] = map[PodName]float64{}
		}
		byName[v.Name][source] = v.Value
	}
	slices.SortFunc(l.Sources, func(a, b PodName) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Pod, b.Pod))
	})
	l.Sources = slices.Compact(l.Sources)
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		c := Column{Kind: WorkloadColumn, Name: name}
		for slot, source := range l.Sources {
			if v, ok := byName[name][source]; ok {
				c.Slots = append(c.Slots, uint32(slot))
				values = append(values, v)
			}
		}
		l.Columns = append(l.Columns, c)
	}
	return values
}

// Each calls f for every column with its values, which follow its slots.
func (f Frame) Each(each func(c *Column, values []float64)) {
	at := 0
	for i := range f.Layout.Columns {
		c := &f.Layout.Columns[i]
		each(c, f.Values[at:at+len(c.Slots)])
		at += len(c.Slots)
	}
}

// Batch turns the columns back.
func (f Frame) Batch() Batch {
	l := f.Layout
	b := Batch{Node: f.Node, Session: f.Session, Sequence: f.Sequence, Start: f.Start, End: f.End, OwnersKnown: f.OwnersKnown,
		Problems: f.Problems, Pods: l.Pods}
	for _, d := range l.Devices {
		b.Readings = append(b.Readings, Reading{Device: d})
	}
	for _, u := range l.Uses {
		b.Usages = append(b.Usages, Usage{Owner: u.Owner, DeviceUUID: u.DeviceUUID, Attribution: u.Attribution})
	}
	f.Each(func(c *Column, values []float64) {
		for i, slot := range c.Slots {
			switch c.Kind {
			case ReadingColumn:
				put(&b.Readings[slot].Values, c.Metric, values[i])
			case UnattributedColumn:
				put(&b.Readings[slot].Unattributed, c.Metric, values[i])
			case UsageColumn:
				put(&b.Usages[slot].Values, c.Metric, values[i])
			case WorkloadColumn:
				s := l.Sources[slot]
				b.Workload = append(b.Workload, WorkloadValue{Namespace: s.Namespace, Pod: s.Pod, Name: c.Name, Value: values[i]})
			}
		}
	})
	return b
}

func put(values *Values, m Metric, v float64) {
	if *values == nil {
		*values = Values{}
	}
	(*values)[m] = v
}

// NewLayout checks a layout that did not come from a [Framer] and counts its values. An error names the field, the value and
// what is allowed.
func NewLayout(l Layout) (*Layout, error) {
	l.length = 0
	for i, c := range l.Columns {
		n := l.slots(c.Kind)
		switch {
		case c.Kind < ReadingColumn || c.Kind > WorkloadColumn:
			return nil, fmt.Errorf("columns[%d].kind is %d: it must be 1 to %d", i, c.Kind, WorkloadColumn)
		case !c.Grid.valid():
			return nil, fmt.Errorf("columns[%d] has the grid %d digits, shift %d: digits must be -9 to 9, shift 0 to 40", i, c.Grid.Digits, c.Grid.Shift)
		case len(c.Slots) == 0:
			return nil, fmt.Errorf("columns[%d].slots is empty, and there is nothing of kind %d", i, c.Kind)
		}
		for j, slot := range c.Slots {
			if int64(slot) >= int64(n) || j > 0 && slot <= c.Slots[j-1] {
				return nil, fmt.Errorf("columns[%d].slots[%d] is %d: slots must ascend and be below %d", i, j, slot, n)
			}
		}
		l.length += len(c.Slots)
	}
	return &l, nil
}
