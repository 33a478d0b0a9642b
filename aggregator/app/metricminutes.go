package app

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/foretide/foretide/aggregator/controller"
	"github.com/foretide/foretide/aggregator/storage"
)

// minutesEvery is how often minutes that are over are written: forecasts ask for them 20 s after.
const minutesEvery = 5 * time.Second

// minutes records the demand by the metrics that policies name, a mean each minute.
type minutes struct {
	store *storage.Store
	log   *slog.Logger

	mu      sync.Mutex
	seen    map[time.Time]map[storage.MetricName]*minuteOf // by the end of the minute
	failing bool
}

// minuteOf is what was seen of one within the minute.
type minuteOf struct {
	sum            float64
	known, unknown int
}

func newMinutes(store *storage.Store, log *slog.Logger) *minutes {
	return &minutes{store: store, log: log, seen: map[time.Time]map[storage.MetricName]*minuteOf{}}
}

func (m *minutes) observe(e controller.Evaluation) {
	m.mu.Lock()
	defer m.mu.Unlock()
	end := e.At.Truncate(time.Minute).Add(time.Minute)
	for _, metric := range e.Metrics {
		if metric.History == controller.GPU {
			continue
		}
		if m.seen[end] == nil {
			m.seen[end] = map[storage.MetricName]*minuteOf{}
		}
		name := storage.MetricName{Workload: storage.Workload(e.Workload), Metric: metric.History}
		if m.seen[end][name] == nil {
			m.seen[end][name] = &minuteOf{}
		}
		m.seen[end][name].take(metric.Demand)
	}
}

func (m *minuteOf) take(demand *float64) {
	if demand == nil {
		m.unknown++
		return
	}
	m.sum += *demand
	m.known++
}

// run writes what is over until ctx is done.
func (m *minutes) run(ctx context.Context) error {
	for wait(ctx, minutesEvery) {
		m.write(ctx, time.Now())
	}
	return nil
}

// write writes the minutes that are over. A metric that was unknown for more than half of one stays absent in it.
func (m *minutes) write(ctx context.Context, now time.Time) {
	for end, seen := range m.over(now) {
		demands := map[storage.MetricName]float64{}
		for name, v := range seen {
			if v.known > 0 && v.known >= v.unknown {
				demands[name] = v.sum / float64(v.known)
			}
		}
		if len(demands) == 0 {
			continue
		}
		err := m.store.AppendMetricDemand(ctx, end, demands)
		if err != nil && !m.failing && ctx.Err() == nil {
			m.log.Warn("the metrics of policies cannot be written to the history now; those of this time will be missing in it", "err", err)
		}
		m.failing = err != nil
	}
}

// over takes out the minutes that are over.
func (m *minutes) over(now time.Time) map[time.Time]map[storage.MetricName]*minuteOf {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[time.Time]map[storage.MetricName]*minuteOf{}
	for end, seen := range m.seen {
		if !end.After(now) {
			out[end] = seen
			delete(m.seen, end)
		}
	}
	return out
}
