package ingest

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWhatIsAheadOfTheClockHereIsKeptByItsAgentAndStoredWhenTheClockIsSetRight(t *testing.T) {
	f := serve(t)
	s := f.welcomed(t, "of-node-a", "node-a")
	truth := start.Add(20 * time.Minute)
	got := exchange(t, s, batch(1, truth))
	for _, want := range []string{"deferral 1 for 1 ms, report every 1500 ms, key false: ", "2026-03-02T09:20:00Z by the clock of node \"node-a\"",
		"20m0s ahead of the aggregator's clock, by which it is 2026-03-02T09:00:00Z", "at most 5m0s", "check NTP"} {
		if !strings.Contains(got, want) {
			t.Errorf("answer %q, want …%s…", got, want)
		}
	}
	f.clock.set(truth)
	for i := uint64(2); i > 0; i-- { // the newest first
		if got := exchange(t, s, batch(i, truth.Add(time.Duration(i)*time.Second))); !strings.HasPrefix(got, "ack ") {
			t.Errorf("with the clock set right: %q", got)
		}
	}
	want := []string{"put 1 at 09:00:00", "put 2 at 09:20:00", "append node-a/s1/2", "put 1 at 09:20:00", "append node-a/s1/1"}
	if diff := cmp.Diff(want, f.calls); diff != "" {
		t.Errorf("what cannot be stored yet is to be seen at once: calls (-want +got):\n%s", diff)
	}
	for name, want := range map[string]float64{"refused_batches_total": 0, "append_failures_total": 1, "batches_total": 2} {
		if got := f.counter(t, "foretide_aggregator_ingest_"+name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}

func TestWhatTheClockHereCannotReachWhileAgentsKeepItIsRefused(t *testing.T) {
	f := serve(t)
	s := f.welcomed(t, "of-node-a", "node-a")
	if got := exchange(t, s, batch(1, start.Add(farAhead))); !strings.HasPrefix(got, "deferral 1 ") {
		t.Errorf("at the bound: %q, want a deferral", got)
	}
	got := exchange(t, s, batch(2, start.Add(farAhead+time.Second)))
	for _, want := range []string{"refusal 2: window ends at 2026-03-02T10:30:01Z", "1h30m1s ahead", "it is 2026-03-02T09:00:00Z", "up to 1h30m0s", "check NTP"} {
		if !strings.Contains(got, want) {
			t.Errorf("answer %q, want …%s…", got, want)
		}
	}
	if diff := cmp.Diff([]string{"put 1 at 09:00:00"}, f.calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if refused := f.counter(t, "foretide_aggregator_ingest_refused_batches_total"); refused != 1 {
		t.Errorf("%v refused batches are counted, want 1", refused)
	}
}

func TestFramesBeforeANewOneThatIsAheadAreNotHeldUpAndOneSentAgainWaitsForItsTime(t *testing.T) {
	f := serve(t)
	s := f.welcomed(t, "of-node-a", "node-a")
	for _, c := range []struct {
		sequence uint64
		ahead    time.Duration // of what may be stored
		want     string
	}{
		{10, time.Hour, "deferral 10 for 1 ms,"},
		{10, time.Hour, "deferral 10 for 30000 ms,"},
		{7, 12 * time.Second, "deferral 7 for 12000 ms,"},
		{6, 2 * time.Millisecond, "deferral 6 for 1000 ms,"},
		{5, 0, "ack 5,"},
		{7, 8 * time.Second, "deferral 7 for 8000 ms,"},
		{11, time.Hour, "deferral 11 for 1 ms,"},
	} {
		if got := exchange(t, s, batch(c.sequence, start.Add(maxAhead+c.ahead))); !strings.HasPrefix(got, c.want) {
			t.Errorf("frame %d, %v too early: answer %q, want %s…", c.sequence, c.ahead, got, c.want)
		}
	}
}

func TestANodesClockIsToldOfOnceForEachOfItsStates(t *testing.T) {
	f := serve(t)
	expect := func(when string, waiting, lost, over int) {
		t.Helper()
		for text, want := range map[string]int{"kept by the agent": waiting, "refused and lost": lost, "agree again": over, "level=WARN": waiting + lost} {
			if got := f.journal.lines(text); len(got) != want {
				t.Errorf("%s: %d lines with %q, want %d:\n%s", when, len(got), text, want, strings.Join(got, ""))
			}
		}
	}
	sequence := uint64(0)
	send := func(s stream, aheads ...time.Duration) {
		for _, ahead := range aheads {
			sequence++
			exchange(t, s, batch(sequence, start.Add(ahead)))
		}
	}
	s := f.welcomed(t, "of-any", "node-a")
	send(s, time.Second, 10*time.Minute, 10*time.Minute, 11*time.Minute)
	expect("ahead", 1, 0, 0)
	if line := f.journal.lines("kept by the agent"); len(line) == 1 && !strings.Contains(line[0], "node=node-a") {
		t.Errorf("the node is not named: %s", line)
	}
	s = f.welcomed(t, "of-any", "node-a")
	send(s, 10*time.Minute)
	expect("its agent came back", 1, 0, 0)
	exchange(t, s, batch(1, start.Add(time.Second)))
	expect("an old one was stored", 1, 0, 0)
	send(s, maxAhead, maxAhead+time.Second, maxAhead)
	expect("about the bound", 1, 0, 0)
	send(f.welcomed(t, "of-any", "node-b"), 10*time.Minute)
	expect("another node", 2, 0, 0)
	send(s, 100*time.Minute, 101*time.Minute)
	expect("too far ahead", 2, 1, 0)
	send(s, time.Second, time.Second)
	expect("set right", 2, 1, 1)
	send(s, 10*time.Minute)
	expect("wrong again", 3, 1, 1)
}
