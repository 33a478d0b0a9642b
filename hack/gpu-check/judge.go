package main

import (
	"fmt"
	"math"
	"slices"

	"github.com/foretide/foretide/pkg/telemetry"
)

const (
	// tolerance is by how much attribution may differ from the truth, as a share of the GPU's time.
	tolerance = 0.05
	// energyTolerance is by how much the parts may differ from the counter, as a share of it.
	energyTolerance = 0.001
)

// truth returns what the owner's process was asked for and did: shares of the GPU's time, and bytes at least. They are NaN of a process
// that is no load.
func (r *report) truth(u *use) (asked, kept, memory float64) {
	i := slices.IndexFunc(r.truths, func(t truth) bool { return t.owner == u.owner })
	if i < 0 {
		return math.NaN(), math.NaN(), math.NaN()
	}
	t := r.truths[i]
	return t.load.share, t.kept, float64(t.load.memoryMiB << 20)
}

// difference is by how much more was attributed than was used: than the load kept the GPU busy or, without a load, than the driver says.
func (r *report) difference(u *use) float64 {
	_, used, _ := r.truth(u)
	if math.IsNaN(used) {
		used = u.driver.mean()
	}
	return u.attributed.mean() - used
}

// judge returns what is wrong.
func (r *report) judge() (wrong []string) {
	if r.options.load && r.identified == "" {
		wrong = append(wrong, "the driver does not list the load's processes: run this in the host's PID namespace (hostPID: true, docker run --pid=host)")
	}
	for _, d := range r.measured.devices {
		for _, u := range d.uses {
			wrong = append(wrong, r.judgeUse(d, u)...)
		}
		wrong = append(wrong, r.measured.judgeEnergy(d)...)
	}
	if r.measured.imbalance != "" {
		wrong = append(wrong, r.measured.imbalance)
	}
	return wrong
}

func (r *report) judgeUse(d *deviceRecord, u *use) (wrong []string) {
	switch difference := r.difference(u); {
	case u.attributed.count == 0:
		wrong = append(wrong, fmt.Sprintf("%s: no utilization was attributed to %s: its attribution is %q", title(d.device), u.owner.Pod, u.how))
	case math.Abs(difference) > tolerance:
		wrong = append(wrong, fmt.Sprintf("%s: the utilization attributed to %s is off by %s: at most %.1f pp is right",
			title(d.device), u.owner.Pod, points(difference), 100*tolerance))
	}
	if _, _, memory := r.truth(u); u.attributedHeld.newest() < memory { // false where either is not known
		wrong = append(wrong, fmt.Sprintf("%s: %s of memory was attributed to %s, which holds at least %s",
			title(d.device), quantity(u.attributedHeld.newest(), "bytes"), u.owner.Pod, quantity(memory, "bytes")))
	}
	return wrong
}

// judgeEnergy compares what everybody drew with what the counter grew by.
func (m *measurement) judgeEnergy(d *deviceRecord) []string {
	grown, sum := d.grown(), m.drawn(d)
	if math.Abs(sum-grown) > max(1, grown*energyTolerance) { // false where there is no counter
		return []string{fmt.Sprintf("%s: the energy counter grew by %s, but its parts make up %s", title(d.device), quantity(grown, "joules"), quantity(sum, "joules"))}
	}
	return nil
}

// title names a device for people.
func title(d telemetry.Device) string {
	if d.IsMIG() {
		return fmt.Sprintf("%s MIG %s (instance %d/%d of device %d)", d.Model, d.MIG.Profile, d.MIG.GPUInstance, d.MIG.ComputeInstance, d.Index)
	}
	return fmt.Sprintf("%s (device %d)", d.Model, d.Index)
}
