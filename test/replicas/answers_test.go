//go:build replicas

package replicas

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/foretide/foretide/test/swarm/shipped"
)

// question is a PromQL request, of one moment or of a range.
type question struct {
	what, promql string
	at, from, to time.Time
	step         time.Duration
}

func (q question) path() string {
	v := url.Values{"query": {q.promql}}
	if q.step == 0 {
		v.Set("time", stamp(q.at))
		return "/api/v1/query?" + v.Encode()
	}
	v.Set("start", stamp(q.from))
	v.Set("end", stamp(q.to))
	v.Set("step", fmt.Sprint(q.step.Seconds()))
	return "/api/v1/query_range?" + v.Encode()
}

func stamp(t time.Time) string { return fmt.Sprint(t.Unix()) }

// answer is what an aggregator says: each series as it is written there. They have no order, so they are put in one.
type answer struct {
	series  []string
	samples int
}

func ask(ctx context.Context, web string, q question) (answer, error) {
	body, err := shipped.Get(ctx, "http://"+web+q.path())
	if err != nil {
		return answer{}, err
	}
	var read struct {
		Data struct{ Result []json.RawMessage }
	}
	if err := json.Unmarshal([]byte(body), &read); err != nil {
		return answer{}, err
	}
	var out answer
	for _, text := range read.Data.Result {
		var series struct{ Value, Values []any }
		if err := json.Unmarshal(text, &series); err != nil {
			return answer{}, err
		}
		out.series = append(out.series, string(text))
		out.samples += len(series.Values) + min(1, len(series.Value))
	}
	slices.Sort(out.series)
	return out, nil
}

// hole is when a replica was away.
type hole struct{ from, to time.Time }

// questions are those that both replicas must answer alike: before the hole, in it and after it.
func (h hole) questions(begin, end time.Time) []question {
	var out []question
	for _, moment := range []struct {
		name string
		at   time.Time
	}{
		{"before", h.from.Add(-10 * time.Second)}, {"early in", h.from.Add(5 * time.Second)}, {"in the middle", h.from.Add(h.to.Sub(h.from) / 2)},
		{"late in", h.to.Add(-5 * time.Second)}, {"after", h.to.Add(30 * time.Second)}, {"at the end", end},
	} {
		for _, promql := range []string{
			"foretide_pod_utilization_ratio", "foretide_device_power_watts",
			"sum by (node) (count_over_time(foretide_device_power_watts[1m]))", "sum(count_over_time(foretide_pod_utilization_ratio[2m]))",
			"foretide_workload_demand_gpus", "foretide_workload_pods",
		} {
			out = append(out, question{what: moment.name, promql: promql, at: moment.at})
		}
	}
	minutes := func(t time.Time) time.Time { return t.Truncate(time.Minute) }
	for _, r := range []question{
		{promql: "foretide_pod_utilization_ratio", from: begin, to: end, step: time.Second},
		{promql: "foretide_device_power_watts", from: begin, to: end, step: 5 * time.Second},
		{promql: "sum(count_over_time(foretide_pod_utilization_ratio[15s]))", from: begin, to: end, step: 15 * time.Second},
		{promql: "last_over_time(foretide_workload_demand_gpus[1m])", from: minutes(begin), to: minutes(end), step: time.Minute},
		{promql: "last_over_time(foretide_workload_pods[1m])", from: minutes(begin), to: minutes(end), step: time.Minute},
		{promql: "avg_over_time(foretide_workload_demand_gpus[1h])", from: minutes(end).Add(-14 * 24 * time.Hour), to: minutes(end), step: time.Hour},
	} {
		r.what = "range"
		out = append(out, r)
	}
	return out
}
