package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/foretide/foretide/test/swarm/shipped"
)

// between is the time from one look at the aggregator's metrics to the next: a page of hundreds of thousands of series costs it a second.
const between = 10 * time.Second

// known waits until every policy is decided, and by the load of all its pods, and for a while more.
func (s settings) known(ctx context.Context, a *shipped.Aggregator) error {
	began := time.Now()
	for tick := 1; ; tick++ {
		decided, fresh, age, err := standing(ctx, a)
		if err != nil {
			return err
		}
		if decided >= s.policies && fresh >= s.policies {
			fmt.Printf("All policies are decided by the load of all their pods after %v.\n", time.Since(began).Round(time.Second))
			return sleep(ctx, s.settle)
		}
		if tick%3 == 0 {
			fmt.Printf("%4.0fs  %d policies are decided, %d of them by the load of all their pods; the oldest decision is %.1f s old\n",
				time.Since(began).Seconds(), decided, fresh, age)
		}
		if time.Since(began) > 10*time.Minute {
			return fmt.Errorf("after ten minutes only %d policies are decided, %d of them by the load of all their pods; the log ends with:\n%s", decided, fresh, a.LogTail(2000))
		}
		if err := sleep(ctx, between); err != nil {
			return err
		}
	}
}

// standing is how many policies are decided, of how many the telemetry is fresh, and how old the oldest decision is, in seconds.
func standing(ctx context.Context, a *shipped.Aggregator) (decided, fresh int, age float64, err error) {
	page, err := a.Metrics(ctx)
	if err != nil {
		return 0, 0, 0, err
	}
	for line := range strings.Lines(page) {
		switch {
		case strings.HasPrefix(line, "foretide_policy_data_fresh{") && strings.HasSuffix(line, " 1\n"):
			fresh++
		case strings.HasPrefix(line, "foretide_aggregator_policies "):
			_, err = fmt.Sscanf(line, "foretide_aggregator_policies %d", &decided)
		case strings.HasPrefix(line, "foretide_aggregator_oldest_decision_age_seconds "):
			_, err = fmt.Sscanf(line, "foretide_aggregator_oldest_decision_age_seconds %g", &age)
		}
		if err != nil {
			return 0, 0, 0, fmt.Errorf("%q: %w", line, err)
		}
	}
	return decided, fresh, age, nil
}

// measure looks at the age of the oldest decision again and again, and at what was written meanwhile.
func (s settings) measure(ctx context.Context, a *shipped.Aggregator, config *rest.Config) error {
	before, err := stand(ctx, a, config)
	if err != nil {
		return err
	}
	began, longest := time.Now(), 0.0
	for time.Since(began) < s.length {
		decided, _, age, err := standing(ctx, a)
		if err != nil {
			return err
		}
		if decided < s.policies {
			return fmt.Errorf("only %d of %d policies were decided within the last minute", decided, s.policies)
		}
		longest = max(longest, age)
		if err := sleep(ctx, between); err != nil {
			return err
		}
	}
	after, err := stand(ctx, a, config)
	if err != nil {
		return err
	}
	seconds := time.Since(began).Seconds()
	decisions := after.decisions - before.decisions
	passes := decisions / float64(s.policies)
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Printf("In %.0f s: %.0f decisions, %.1f passes of %.2f s on average; the aggregator used %.2f cores; load average %s", seconds, decisions, passes,
		seconds/passes, (after.usage.CPUSeconds-before.usage.CPUSeconds)/seconds, load)
	for what, n := range after.writes {
		if n -= before.writes[what]; n > 0 {
			fmt.Printf("  %.0f × %s\n", n, what)
		}
	}
	fmt.Printf("BENCH controller_pass_%d %.2f s\n", s.policies, longest)
	fmt.Printf("BENCH controller_rss %.0f MiB\n", after.usage.Resident/(1<<20))
	fmt.Printf("BENCH controller_rss_peak %.0f MiB\n", after.usage.PeakResident/(1<<20))
	fmt.Printf("BENCH controller_writes_per_idle_pass %.3f\n", (after.total()-before.total())/passes)
	return nil
}

// standpoint is what was done so far.
type standpoint struct {
	decisions float64
	writes    map[string]float64 // by verb and resource
	usage     shipped.Usage
}

// total leaves out the Lease, which is renewed every few seconds whatever there is to decide.
func (p standpoint) total() (writes float64) {
	for what, n := range p.writes {
		if !strings.Contains(what, " leases") {
			writes += n
		}
	}
	return writes
}

func stand(ctx context.Context, a *shipped.Aggregator, config *rest.Config) (p standpoint, err error) {
	if p.usage, err = shipped.UsageOf(a.PID()); err != nil {
		return p, err
	}
	page, err := a.Metrics(ctx)
	if err != nil {
		return p, err
	}
	for line := range strings.Lines(page) {
		if rest, ok := strings.CutPrefix(line, "foretide_aggregator_decision_duration_seconds_count "); ok {
			if _, err := fmt.Sscan(rest, &p.decisions); err != nil {
				return p, err
			}
		}
	}
	p.writes, err = writesOf(ctx, config)
	return p, err
}

// writesOf counts the API server's requests that write, as it counts them itself.
func writesOf(ctx context.Context, config *rest.Config) (map[string]float64, error) {
	clientset, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	page, err := clientset.RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("metrics of the API server: %w", err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(page))
	if err != nil {
		return nil, fmt.Errorf("metrics of the API server: %w", err)
	}
	writes := map[string]float64{}
	for _, m := range families["apiserver_request_total"].GetMetric() {
		labels := map[string]string{}
		for _, l := range m.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		switch labels["verb"] {
		case "POST", "PUT", "PATCH", "APPLY", "DELETE":
			writes[strings.TrimSpace(labels["verb"]+" "+labels["resource"]+" "+labels["subresource"])] += m.GetCounter().GetValue()
		}
	}
	return writes, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
