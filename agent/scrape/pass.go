package scrape

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/foretide/foretide/pkg/telemetry"
)

// pass asks every pod once that is due. It is over before the next one is, whatever the pods do.
func (s *Scraper) pass(ctx context.Context) {
	began := time.Now()
	targets, problems := s.choose(s.o.Pods())
	s.follow(targets)
	due := s.due()
	postponed := len(due) - s.askAll(ctx, due)
	if ctx.Err() != nil {
		return
	}
	if postponed > 0 {
		problems = append(problems, "scrape: some pods were not asked in time, because others take too long to answer")
	}

	s.mu.Lock()
	for _, w := range s.watches {
		if w.failed != nil && w.ready {
			problems = append(problems, fmt.Sprintf("scrape: pod %s/%s: %s: %s", w.Namespace, w.Pod, w.URL(), w.failed.text))
		}
	}
	slices.Sort(problems)
	s.problems = problems
	s.stats.Postponed += uint64(postponed)
	s.stats.LastPass = time.Since(began)
	s.mu.Unlock()
	s.log.Update(problems, s.o.Now().Sub(s.began))
}

// choose returns the targets and whether their pods are ready.
func (s *Scraper) choose(pods []PodView) (targets map[Target]bool, problems []string) {
	targets = map[Target]bool{}
	known := map[[2]string]bool{} // a pod that is being replaced by one of the same name may be there twice
	for _, pod := range pods {
		t, is, problem := TargetOf(pod)
		if problem != "" {
			problems = append(problems, problem)
		}
		name := [2]string{pod.Namespace, pod.Name}
		if is && !known[name] {
			targets[t], known[name] = pod.Ready, true
		}
	}
	for i, t := range slices.SortedFunc(maps.Keys(targets), compareTargets) {
		if i == s.o.MaxTargets {
			problems = append(problems, fmt.Sprintf("scrape: more than %d pods of this node want to be scraped: the last in alphabetical order are not", i))
		}
		if i >= s.o.MaxTargets {
			delete(targets, t)
		}
	}
	return targets, problems
}

func compareTargets(a, b Target) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Pod, b.Pod), cmp.Compare(a.URL(), b.URL()))
}

// follow begins to watch what is new among the targets and forgets what is no more.
func (s *Scraper) follow(targets map[Target]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for t, w := range s.watches {
		if _, still := targets[t]; !still {
			w.client.close()
			delete(s.watches, t)
		}
	}
	for t, ready := range targets {
		w := s.watches[t]
		if w == nil {
			w = &watch{Target: t, client: newClient(t, s.o.Timeout, keptIntervals*s.o.Interval)}
			s.watches[t] = w
		}
		w.ready = ready
	}
}

// due returns whom to ask, in this order: who answered the last time, who is new, who failed; of each the one first that was
// asked longest ago. So those that do not answer take no time from those that do.
func (s *Scraper) due() []*watch {
	now := s.o.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	var due []*watch
	for _, w := range s.watches {
		if !w.empty || now.Sub(w.tried) >= emptyEvery {
			due = append(due, w)
		}
	}
	rank := func(w *watch) int {
		switch {
		case w.tried.IsZero():
			return 1
		case w.failed != nil:
			return 2
		}
		return 0
	}
	slices.SortFunc(due, func(a, b *watch) int {
		return cmp.Or(rank(a)-rank(b), a.tried.Compare(b.tried), compareTargets(a.Target, b.Target))
	})
	return due
}

// askAll asks as many as there is time for in one interval and returns how many that were.
func (s *Scraper) askAll(ctx context.Context, due []*watch) (asked int) {
	queue := make(chan *watch)
	var workers sync.WaitGroup
	for _, p := range s.pages[:min(len(due), len(s.pages))] {
		workers.Go(func() {
			for w := range queue {
				s.ask(ctx, w, p)
			}
		})
	}
	defer workers.Wait()
	defer close(queue)
	tooLate := time.NewTimer(s.o.Interval - s.o.Timeout)
	defer tooLate.Stop()
	for _, w := range due {
		select {
		case queue <- w:
			asked++
		case <-tooLate.C:
			return asked
		case <-ctx.Done():
			return asked
		}
	}
	return asked
}

// ask asks one pod.
func (s *Scraper) ask(ctx context.Context, w *watch, p *page) {
	said, failed := w.client.read(ctx, p, s.o.Timeout, s.o.MaxBytes)
	if ctx.Err() != nil { // it was not the pod's fault
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w.tried = s.o.Now()
	s.stats.Scrapes++
	if w.failed = failed; failed != nil {
		w.empty = false
		s.stats.Failures[failed.reason]++
		return
	}
	w.answered, w.empty = w.tried, len(said.values)+said.leftOut == 0
	s.stats.LeftOut += uint64(said.leftOut)
	s.stats.Repeated += uint64(said.repeated)
	w.values = nil
	for name, v := range said.values {
		w.values = append(w.values, telemetry.WorkloadValue{Namespace: w.Namespace, Pod: w.Pod, Name: name, Value: v})
	}
}
