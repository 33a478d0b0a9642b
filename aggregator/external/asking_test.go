package external

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestAnAnswerIsUsedForSomeMinutesAndNotLonger(t *testing.T) {
	d := newDesk(t, serve(t, goodLine).URL)
	d.once(web)
	d.now = noon.Add(fresh)
	if _, ok := d.Answer(web.ID); !ok {
		t.Error("not there while it is fresh")
	}
	d.now = noon.Add(fresh + time.Second)
	if _, ok := d.Answer(web.ID); ok {
		t.Error("still there when it is old")
	}
	d.now = noon.Add(2*fresh + time.Second)
	d.Ask(Task{ID: "other"})
	if len(d.tasks) != 1 {
		t.Errorf("%d tasks are remembered, want the new one alone", len(d.tasks))
	}
}

func TestAWrongAnswerLeavesTheOneBeforeAsLongAsThatIsFresh(t *testing.T) {
	line := goodLine
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, line) }))
	defer s.Close()
	d := newDesk(t, s.URL)
	d.once(web)
	line, d.now = "{}", noon.Add(time.Minute)
	next := web
	next.Origin = d.now
	if a, ok := d.once(next); !ok || !a.Origin.Equal(noon) {
		t.Errorf("answer %v, %v; want the one of noon", a, ok)
	}
}

func TestAskNeitherWaitsNorAsksTwice(t *testing.T) {
	var asked atomic.Int32
	held := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1); <-held }))
	defer s.Close()
	d := newDesk(t, s.URL, func(o *Options) { o.Timeout = time.Hour })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	for i := range 3 * (atOnce + waiting) { // nobody answers any
		d.Ask(Task{ID: fmt.Sprint(i), Origin: noon})
		d.Ask(Task{ID: fmt.Sprint(i), Origin: noon})
		d.Answer(fmt.Sprint(i))
	}
	if n := d.counted(busy); n < 2*waiting {
		t.Errorf("%d counted as busy", n)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	close(held)
	if n := asked.Load(); n > atOnce {
		t.Errorf("%d under way at once, want %d", n, atOnce)
	}
	for _, r := range reasons {
		if r != busy && d.counted(r) > 0 {
			t.Errorf("what was interrupted counts as %s", r)
		}
	}
}

func TestATaskIsNotAskedAgainWhileItIsUnderWay(t *testing.T) {
	d := newDesk(t, serve(t, goodLine).URL)
	d.Ask(web)
	d.Ask(web)
	if n := len(d.queue); n != 1 {
		t.Errorf("it waits %d times", n)
	}
	d.ask(t.Context(), <-d.queue)
	if d.Ask(web); len(d.queue) != 1 {
		t.Error("it is not asked again after its answer")
	}
}

func TestFailuresAtTheSameTimeBeginOnePause(t *testing.T) {
	var together sync.WaitGroup
	together.Add(atOnce)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		together.Done()
		together.Wait()
		w.WriteHeader(http.StatusBadGateway)
	}))
	defer s.Close()
	d := newDesk(t, s.URL)
	d.failures = pauseAfter - 1
	var all sync.WaitGroup
	for i := range atOnce {
		task := web
		task.ID = fmt.Sprint(i)
		d.Ask(task)
		all.Go(func() { d.ask(t.Context(), <-d.queue) })
	}
	all.Wait()
	if wait := d.pause.Wait(); wait != firstPause {
		t.Errorf("the pause is %v, want %v", wait, firstPause)
	}
}

func TestRepeatedFailuresBeginAPauseThatGrows(t *testing.T) {
	line, asked := "{}", 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { asked++; _, _ = io.WriteString(w, line) }))
	defer s.Close()
	d := newDesk(t, s.URL)
	task := web
	try := func(times int) {
		for range times {
			task.Origin = d.now
			d.once(task)
		}
	}
	try(20)
	if asked != pauseAfter || d.counted(paused) != 20-pauseAfter {
		t.Errorf("asked %d times, paused %d", asked, d.counted(paused))
	}
	d.now = d.now.Add(firstPause)
	try(3)
	if asked != pauseAfter+1 {
		t.Errorf("asked %d times after the first pause, want once more", asked)
	}
	d.now = d.now.Add(firstPause)
	try(1)
	if asked != pauseAfter+1 {
		t.Error("the second pause is not longer")
	}
	d.now = d.now.Add(firstPause)
	line = strings.ReplaceAll(goodLine, "1772452800", fmt.Sprint(d.now.Unix()))
	try(1)
	if _, ok := d.Answer(task.ID); !ok {
		t.Error("not used when it answers well again")
	}
	line = "{}"
	try(1)
	try(1)
	if asked != pauseAfter+4 {
		t.Errorf("asked %d times, want no pause after one good answer and two failures", asked)
	}
}

func TestEachKindOfFailureIsToldOnceAndItsEnd(t *testing.T) {
	code, line := http.StatusOK, "{}"
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, line)
	}))
	defer s.Close()
	d := newDesk(t, strings.Replace(s.URL, "http://", "http://me:secret@", 1))
	good := func() {
		task := web
		task.Origin = d.now
		code, line = http.StatusOK, strings.ReplaceAll(goodLine, "1772452800", fmt.Sprint(d.now.Unix()))
		d.once(task)
	}
	for range 3 {
		code, line = http.StatusOK, "{}"
		d.once(web)
		code = http.StatusBadGateway
		d.once(web)
		good()
		d.now = d.now.Add(time.Second)
	}
	log := d.log.String()
	if strings.Count(log, "level=WARN") != 2 || strings.Count(log, "reason=status") != 1 || strings.Count(log, "level=INFO") != 0 || strings.Contains(log, "secret") {
		t.Errorf("log:\n%s", log)
	}
	d.now = d.now.Add(quiet)
	good()
	good()
	if n := strings.Count(d.log.String(), "answers well again"); n != 1 {
		t.Errorf("the end is told %d times:\n%s", n, &d.log)
	}
}
