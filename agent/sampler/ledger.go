package sampler

import (
	"time"

	"github.com/foretide/foretide/pkg/telemetry"
)

// forgetAfter is how long the account of an owner that is not seen is kept. One that comes back later begins again at zero, as
// after a restart of the agent.
const forgetAfter = 10 * time.Minute

// ledger turns the devices' energy counters into what was drawn between two samples, and what each owner drew into a counter of
// its own. An increase is not known after a first sample or a reset; what was drawn meanwhile is nobody's.
type ledger struct {
	counters map[string]float64 // by device UUID, joules
	accounts map[account]*balance
}

// account is of an owner on a device; the zero owner stands for nobody.
type account struct {
	owner telemetry.Owner
	uuid  string
}

type balance struct {
	joules float64
	seen   time.Duration
}

func newLedger() ledger {
	return ledger{counters: map[string]float64{}, accounts: map[account]*balance{}}
}

// increases replaces each sample's energy counter by its increase, and returns the counters by device UUID.
func (l *ledger) increases(samples []telemetry.Sample) map[string]float64 {
	counters := make(map[string]float64, len(samples))
	for _, s := range samples {
		now, measured := s.Values[telemetry.Energy]
		if !measured {
			continue
		}
		before, known := l.counters[s.Device.UUID]
		l.counters[s.Device.UUID], counters[s.Device.UUID] = now, now
		if known && now >= before {
			s.Values[telemetry.Energy] = now - before
		} else {
			delete(s.Values, telemetry.Energy)
		}
	}
	return counters
}

// totals books what was drawn, and puts the totals in its place.
func (l *ledger) totals(seen Attributed, counters map[string]float64, now time.Duration) {
	for _, r := range seen.Readings {
		l.book(account{uuid: r.Device.UUID}, r.Unattributed, now)
		if c, measured := counters[r.Device.UUID]; measured {
			r.Values[telemetry.Energy] = c
		}
	}
	for _, u := range seen.Usages {
		l.book(account{u.Owner, u.DeviceUUID}, u.Values, now)
	}
	for a, b := range l.accounts {
		if now-b.seen > forgetAfter {
			delete(l.accounts, a)
		}
	}
}

func (l *ledger) book(a account, values telemetry.Values, now time.Duration) {
	drawn, measured := values[telemetry.Energy]
	if !measured {
		return
	}
	b := l.accounts[a]
	if b == nil {
		b = &balance{}
		l.accounts[a] = b
	}
	b.joules, b.seen = b.joules+drawn, now
	values[telemetry.Energy] = b.joules
}
