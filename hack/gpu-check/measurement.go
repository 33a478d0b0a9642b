package main

import (
	"fmt"
	"math"
	"slices"

	"github.com/foretide/foretide/agent/attribution"
	"github.com/foretide/foretide/pkg/telemetry"
)

// series folds the values of one quantity.
type series struct {
	count              int
	sum, largest, last float64
}

func (s *series) add(v float64) {
	s.largest = max(v, s.largest)
	s.count, s.sum, s.last = s.count+1, s.sum+v, v
}

// addOf adds a metric's value, where there is one.
func (s *series) addOf(values telemetry.Values, m telemetry.Metric) {
	if v, measured := values[m]; measured {
		s.add(v)
	}
}

// mean is NaN, as folded is, of what was never measured.
func (s *series) mean() float64 { return s.sum / float64(s.count) }

func (s *series) folded(f telemetry.Fold) float64 {
	switch {
	case s == nil || s.count == 0:
		return math.NaN()
	case f == telemetry.FoldMean:
		return s.mean()
	case f == telemetry.FoldMax:
		return s.largest
	}
	return s.last
}

func (s *series) newest() float64 { return s.folded(telemetry.FoldLast) }

// total is NaN, too, of what was never measured.
func (s *series) total() float64 { return s.mean() * float64(s.count) }

// measurement is what was read and attributed over the measured seconds.
type measurement struct {
	// counters are the energy counters before the first look, joules by UUID.
	counters map[string]float64
	devices  []*deviceRecord
	// imbalance is the first look in which the parts did not make up the whole; empty when they always did.
	imbalance string
}

// deviceRecord is that of one device.
type deviceRecord struct {
	uuid   string
	device telemetry.Device
	values map[telemetry.Metric]*series
	uses   []*use
	// rest is the utilization, and restDrawn the energy of each look in joules, that no owner has.
	rest, restDrawn series
	// The energy counter before the first look and at the last, joules; NaN where there is none.
	counterFirst, counterLast float64
}

// use is what one owner used of one device: what the driver says of its process, and what attribution gave.
type use struct {
	owner                      telemetry.Owner
	driver, attributed         series // utilization
	driverHeld, attributedHeld series // bytes
	drawn                      series // joules in each look
	how                        telemetry.Attribution
}

func (m *measurement) device(uuid string) *deviceRecord {
	for _, d := range m.devices {
		if d.uuid == uuid {
			return d
		}
	}
	d := &deviceRecord{uuid: uuid, values: map[telemetry.Metric]*series{}, counterFirst: math.NaN(), counterLast: math.NaN()}
	if counter, known := m.counters[uuid]; known {
		d.counterFirst = counter
	}
	m.devices = append(m.devices, d)
	return d
}

func (d *deviceRecord) use(o telemetry.Owner) *use {
	for _, u := range d.uses {
		if u.owner == o {
			return u
		}
	}
	u := &use{owner: o}
	d.uses = append(d.uses, u)
	return u
}

// folded is the value of a metric over all looks, NaN where it was not measured.
func (d *deviceRecord) folded(m telemetry.Metric) float64 {
	return d.values[m].folded(m.Definition().Fold)
}

// grown is what the device drew, joules by its counter.
func (d *deviceRecord) grown() float64 { return d.counterLast - d.counterFirst }

// drawn is what all of the device's owners, those of its MIG instances among them, and nobody drew: joules.
func (m *measurement) drawn(d *deviceRecord) float64 {
	sum := d.restDrawn.sum
	for _, other := range m.devices {
		if other == d || other.device.MIG.ParentUUID == d.uuid {
			for _, u := range other.uses {
				sum += u.drawn.sum
			}
		}
	}
	return sum
}

// read adds a sample, whose energy is still the counter.
func (d *deviceRecord) read(s telemetry.Sample, holders []telemetry.Owner, owners map[int]telemetry.Owner) {
	d.device = s.Device
	for metric, v := range s.Values {
		if d.values[metric] == nil {
			d.values[metric] = &series{}
		}
		d.values[metric].add(v)
	}
	if counter, measured := s.Values[telemetry.Energy]; measured {
		d.counterLast = counter
	}
	for _, holder := range holders {
		d.use(holder).process(s, owners)
	}
}

// process adds what the driver says of the owner's processes.
func (u *use) process(s telemetry.Sample, owners map[int]telemetry.Owner) {
	busy, held := 0.0, 0.0
	for _, p := range s.Processes {
		if owners[p.PID] == u.owner {
			busy += p.Values[telemetry.UtilizationMean]
			held += p.Values[telemetry.MemoryUsed]
		}
	}
	// Of what is divided, a process without a value used none.
	if slices.Contains(s.Divided, telemetry.UtilizationMean) {
		u.driver.add(busy)
	}
	if slices.Contains(s.Divided, telemetry.MemoryUsed) {
		u.driverHeld.add(held)
	}
}

// attributed adds what attribution made of a look.
func (m *measurement) attributed(out attribution.Output) {
	for _, u := range out.Usages {
		record := m.device(u.DeviceUUID).use(u.Owner)
		record.how = u.Attribution
		record.attributed.addOf(u.Values, telemetry.UtilizationMean)
		record.attributedHeld.addOf(u.Values, telemetry.MemoryUsed)
		record.drawn.addOf(u.Values, telemetry.Energy)
	}
	for _, r := range out.Readings {
		d := m.device(r.Device.UUID)
		d.rest.addOf(r.Unattributed, telemetry.UtilizationMean)
		d.restDrawn.addOf(r.Unattributed, telemetry.Energy)
		if m.imbalance == "" {
			m.imbalance = imbalance(r, out)
		}
	}
}

// rounding is the relative error that a sum of floating-point numbers may have.
const rounding = 1e-6

// imbalance names the first metric of a reading that its usages and what is unattributed do not make up. What the owners of MIG
// instances draw is of the GPU's power and energy.
func imbalance(r telemetry.Reading, out attribution.Output) string {
	instances := map[string]bool{}
	for _, other := range out.Readings {
		instances[other.Device.UUID] = other.Device.MIG.ParentUUID == r.Device.UUID
	}
	for _, row := range telemetry.Catalogue() {
		whole, measured := r.Values[row.Metric]
		sum, divided := r.Unattributed[row.Metric]
		if !row.Split.Sums() || !measured || !divided {
			continue
		}
		drawn := row.Metric == telemetry.Power || row.Metric == telemetry.Energy
		for _, u := range out.Usages {
			if u.DeviceUUID == r.Device.UUID || drawn && instances[u.DeviceUUID] {
				sum += u.Values[row.Metric]
			}
		}
		if math.Abs(sum-whole) > rounding*max(1, whole) {
			return fmt.Sprintf("%s: %s is %v, but its parts make up %v", title(r.Device), row.Name, whole, sum)
		}
	}
	return ""
}
