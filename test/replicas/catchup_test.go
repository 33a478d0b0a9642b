//go:build replicas

package replicas

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The recording that is the fortnight before, as in the demo but ten times as large: 1,000 requests/s are 13 busy GPUs.
const (
	recording       = "../replay/servegen_small.csv"
	recordingSeries = "c5"
	recordingUntil  = "2025-01-20T18:40:00Z"
	gpusPerUnit     = 0.013
)

func TestAReplicaThatWasAwayAnswersAndDecidesAsItsPeer(t *testing.T) {
	t.Parallel()
	one, two := newAggregator(t, "replica 1"), newAggregator(t, "replica 2")
	now := time.Now().Truncate(time.Minute)
	for _, a := range []*aggregator{one, two} {
		a.flags = []string{"--peers.url=http://" + one.Web + ",http://" + two.Web}
		a.remember(now)
		a.start()
	}
	f := newFleet(t, fleetOptions{nodes: 8, addresses: addressesOf(t, one.Ingest+","+two.Ingest), caFile: authorities(t, one, two), tokenFile: one.TokenFile(), gpus: 10})
	f.agree(t, "at first", one, two)
	begin := time.Now()
	eventually(t, "both have recorded two minutes of demand", 6*time.Minute, func() (bool, string) {
		return one.minutes() >= 2 && two.minutes() >= 2, fmt.Sprintf("%v and %v minutes", one.minutes(), two.minutes())
	})

	two.kill()
	h := hole{from: time.Now()}
	f.offer(15) // more than the forecast asks for
	f.agree(t, "while the other is away", one)
	pass(t, *away-time.Since(h.from))
	h.to = time.Now()
	two.start()
	t.Logf("replica 2 was away for %v; %d batches wait for it", h.to.Sub(h.from).Round(time.Second), f.waiting())
	f.await(t, "after the return", decision.likewise, one, two)
	h.compare(t, begin, one, two)
	f.agree(t, "with the same history", one, two)

	one.kill()
	f.offer(16)
	f.agree(t, "after the first was killed", two)
	one.start()
	f.offer(15.5)
	f.await(t, "at last", decision.likewise, one, two) // the minutes it was away are compared after a while
}

// remember gives the aggregator, which does not run yet, the recording as the history up to a moment.
func (a *aggregator) remember(end time.Time) {
	a.t.Helper()
	out, err := exec.Command(filepath.Join(*binaries, "aggregator"), "import", "--storage.path="+a.Store, "--trace="+recording, "--series="+recordingSeries,
		"--workload="+namespace+"/Deployment/"+workload, "--until="+recordingUntil, "--end="+end.UTC().Format(time.RFC3339), fmt.Sprint("--scale=", gpusPerUnit)).CombinedOutput()
	if err != nil {
		a.t.Fatalf("import: %v\n%s", err, out)
	}
}

// minutes is how many minutes of demand the aggregator has recorded since its start.
func (a *aggregator) minutes() float64 {
	return a.metrics()[`foretide_aggregator_demand_minutes_total{result="written"}`]
}

// agree waits until the aggregators all decide right, for the same reasons.
func (f *fleet) agree(t *testing.T, when string, all ...*aggregator) {
	t.Helper()
	f.await(t, when, decision.same, all...)
}

// await waits until the aggregators all decide what the work offered, or the forecast, asks for, five times in a row.
func (f *fleet) await(t *testing.T, when string, same func(a, b decision) bool, all ...*aggregator) {
	t.Helper()
	row := 0
	took := eventually(t, "the decisions are right and the same "+when, 3*time.Minute, func() (bool, string) {
		var said []string
		good, first := true, all[0].decision()
		for _, a := range all {
			d := a.decision()
			good = good && same(d, first) && d.current == float64(f.pods()) && d.reactive == f.right() && d.desired == max(d.reactive, d.proactive)
			said = append(said, fmt.Sprintf("%s: %s", a.name, d))
		}
		if row++; !good {
			row = 0
		}
		if row == 5 {
			t.Logf("%s %s", when, strings.Join(said, "; "))
		}
		return row == 5, fmt.Sprintf("%v of %v wanted; %s", f.right(), f.gpus(), strings.Join(said, "; "))
	})
	t.Logf("%s it took %v until the decisions were right five times in a row", when, took.Round(100*time.Millisecond))
}

func (d decision) String() string {
	proactive := "none"
	if d.proactiveKnown {
		proactive = fmt.Sprint(d.proactive)
	}
	return fmt.Sprintf("%v replicas of %v (reactive %v, proactive %v) for %.2f busy GPUs", d.desired, d.current, d.reactive, proactive, d.demand)
}

// pass lets time go by.
func pass(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}

// compare asks both everything until they answer alike. In the beginning they must not: else there was no hole to fill.
func (h hole) compare(t *testing.T, begin time.Time, one, two *aggregator) {
	t.Helper()
	end := h.to.Add(time.Minute).Truncate(time.Second)
	pass(t, time.Until(end.Add(2*time.Second)))
	questions := h.questions(begin.Truncate(time.Second), end)
	answers := make([]answer, len(questions))
	holes := map[string]bool{}
	eventually(t, "both replicas answer everything alike", 8*time.Minute, func() (bool, string) {
		differ := ""
		for i, q := range questions {
			a, err := ask(t.Context(), one.Web, q)
			if err != nil {
				t.Fatal(err)
			}
			b, err := ask(t.Context(), two.Web, q)
			switch answers[i] = a; {
			case err != nil:
				differ = err.Error()
			case a.samples == 0:
				differ = fmt.Sprintf("%s, %s: nothing", q.what, q.promql)
			case !slices.Equal(a.series, b.series):
				holes[q.promql] = true
				differ = fmt.Sprintf("%s, %s: %d samples and %d\n%.300s\n%.300s", q.what, q.promql, a.samples, b.samples, a.series, b.series)
			}
		}
		return differ == "", differ
	})
	took := time.Since(h.to)
	for i, q := range questions {
		t.Logf("the same: %-14s %-68s %3d series, %5d samples", q.what, q.promql, len(answers[i].series), answers[i].samples)
	}
	t.Logf("%d questions are answered alike, to the last digit; at first %d expressions were not", len(questions), len(holes))
	for _, promql := range []string{"last_over_time(foretide_workload_demand_gpus[1m])", "last_over_time(foretide_workload_pods[1m])"} {
		if !holes[promql] {
			t.Errorf("the replica that came back never lacked anything of %s: nothing was shown", promql)
		}
	}
	fmt.Printf("BENCH replica_catch_up %.0f s\n", took.Seconds())
}
