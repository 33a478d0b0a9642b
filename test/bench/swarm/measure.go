package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/url"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/foretide/foretide/test/swarm"
	"github.com/foretide/foretide/test/swarm/shipped"
)

// before is where the counts stood when the measurement began.
type before struct {
	at                           time.Time
	samples, acknowledged, sent  int64
	bytes, sentSamples           int64
	refused, deferred, reconnect int64
	own, aggregator              shipped.Usage
}

func (s settings) stand(fleet *swarm.Swarm) (b before, err error) {
	b = before{at: time.Now(), samples: fleet.AcknowledgedSamples.Load(), acknowledged: fleet.Acknowledged.Load(), sent: fleet.Sent.Load(),
		bytes: fleet.WireBytes.Load(), sentSamples: fleet.SentSamples.Load(), refused: fleet.Refused.Load(), deferred: fleet.Deferred.Load(),
		reconnect: fleet.Streams.Load()}
	if b.own, err = shipped.UsageOf(os.Getpid()); err != nil || s.pid == 0 {
		return b, err
	}
	b.aggregator, err = shipped.UsageOf(s.pid)
	return b, err
}

// measure lets the load run, asks meanwhile, and reports.
func (s settings) measure(ctx context.Context, fleet *swarm.Swarm) error {
	fleet.Waits.Reset()
	first, err := s.stand(fleet)
	if err != nil {
		return err
	}
	limit, cancel := context.WithTimeout(ctx, s.length)
	defer cancel()
	var asking sync.WaitGroup
	pages, queries := &asker{}, &asker{}
	if s.web != "" {
		asking.Go(func() { pages.run(limit, "http://"+s.web+"/metrics") })
		asking.Go(func() { queries.run(limit, s.queries()...) })
	}
	longest := 0.0
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for limit.Err() == nil {
		select {
		case <-limit.Done():
		case <-ticker.C:
			longest = max(longest, fleet.Longest())
		}
	}
	asking.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	last, err := s.stand(fleet)
	if err != nil {
		return err
	}
	return s.report(fleet, first, last, max(longest, fleet.Waits.Quantile(1)), pages, queries)
}

// queries are what a dashboard asks: everything by namespace, the hottest GPUs, one team's, and one workload's last quarter of an hour.
func (s settings) queries() []string {
	api := "http://" + s.web + "/api/v1/"
	instant := func(promql string) string { return api + "query?query=" + url.QueryEscape(promql) }
	return []string{
		instant(`avg by (namespace) (foretide_pod_utilization_ratio)`),
		instant(`topk(10, foretide_device_power_watts)`),
		instant(`sum by (pod) (foretide_pod_utilization_ratio{namespace="team-0"})`),
		api + "query_range?step=15&query=" + url.QueryEscape(`sum(foretide_pod_utilization_ratio{namespace="team-0", pod=~"model-0-.*"})`),
	}
}

// asker asks pages in turn, one a second, and remembers how long the answers took.
type asker struct {
	took   swarm.Distribution
	each   map[string]*swarm.Distribution
	errors int
	last   error
}

func (a *asker) run(ctx context.Context, pages ...string) {
	a.each = map[string]*swarm.Distribution{}
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			page := pages[i%len(pages)]
			if i%len(pages) == len(pages)-1 && len(pages) > 1 {
				page += fmt.Sprintf("&start=%d&end=%d", now.Add(-15*time.Minute).Unix(), now.Unix())
			}
			a.ask(ctx, pages[i%len(pages)], page)
		}
	}
}

func (a *asker) ask(ctx context.Context, name, page string) {
	began := time.Now()
	if _, err := shipped.Get(ctx, page); err != nil {
		if ctx.Err() == nil {
			a.errors++
			a.last = err
		}
		return
	}
	took := time.Since(began).Seconds()
	a.took.Add(took)
	if a.each[name] == nil {
		a.each[name] = &swarm.Distribution{}
	}
	a.each[name].Add(took)
}

func (a *asker) report(what string) {
	fmt.Printf("%-8s %d answers, p50 %.3f s, p99 %.3f s, %d errors\n", what, a.took.Len(), a.took.Quantile(0.5), a.took.Quantile(0.99), a.errors)
	for page, took := range a.each {
		text, _ := url.QueryUnescape(page)
		fmt.Printf("         p50 %.3f s, p99 %.3f s: %s\n", took.Quantile(0.5), took.Quantile(0.99), text)
	}
}

func (s settings) report(fleet *swarm.Swarm, first, last before, longest float64, pages, queries *asker) error {
	seconds := last.at.Sub(first.at).Seconds()
	const gib = 1 << 30
	fmt.Printf("\n%d agents with %d GPUs, %d values each (--metrics=%s), made up as drivers give them; measured for %.0f s after all had joined\n",
		s.agents, s.gpus, s.node().Values(), s.metrics, seconds)
	fmt.Printf("         report interval %v; %.0f samples/s acknowledged in %.0f frames/s\n", fleet.Interval(),
		float64(last.samples-first.samples)/seconds, float64(last.acknowledged-first.acknowledged)/seconds)
	fmt.Printf("         %d refused, %d deferred, %d dropped, %d streams made anew\n", last.refused-first.refused, last.deferred-first.deferred, fleet.Dropped.Load(), last.reconnect-first.reconnect)
	fmt.Printf("         acknowledged after p50 %.3f, p99 %.3f intervals; nothing waited longer than %.2f\n", fleet.Waits.Quantile(0.5), fleet.Waits.Quantile(0.99), longest)
	fmt.Printf("         wire %.2f bytes per sample (gRPC messages with their 5-byte prefix)\n", float64(last.bytes-first.bytes)/float64(last.sentSamples-first.sentSamples))
	if s.pid != 0 {
		fmt.Printf("         aggregator: %.2f GiB resident, %.2f GiB at most, %.1f %% of a core\n", last.aggregator.Resident/gib,
			last.aggregator.PeakResident/gib, 100*(last.aggregator.CPUSeconds-first.aggregator.CPUSeconds)/seconds)
	}
	fmt.Printf("         the swarm itself: %.2f GiB resident, %.1f %% of a core\n", last.own.Resident/gib, 100*(last.own.CPUSeconds-first.own.CPUSeconds)/seconds)
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		fmt.Printf("         load of the machine over the last minutes, with %d cores: %s", runtime.NumCPU(), load)
	}
	if s.web != "" {
		pages.report("/metrics")
		queries.report("PromQL")
	}
	var wrong error
	if n := pages.errors + queries.errors; n > 0 {
		wrong = fmt.Errorf("%d questions were not answered: %w", n, errors.Join(pages.last, queries.last))
	}
	if refused := last.refused - first.refused; refused > 0 {
		wrong = errors.Join(wrong, fmt.Errorf("%d frames were refused, the last because: %s", refused, fleet.Complaint()))
	}
	name := fmt.Sprintf("swarm_%dk", s.agents/1000)
	if s.pid != 0 {
		fmt.Printf("BENCH %s_rss %.2f GiB\n", name, last.aggregator.PeakResident/gib)
	}
	fmt.Printf("BENCH %s_ack_max %.2f intervals\n", name, longest)
	if s.web != "" {
		fmt.Printf("BENCH %s_query_p99 %.3f s\n", name, worst(pages.took.Quantile(0.99), queries.took.Quantile(0.99)))
	}
	return wrong
}

// worst is NaN when either is: what was not measured is not good.
func worst(a, b float64) float64 { return math.Max(a, b) }
