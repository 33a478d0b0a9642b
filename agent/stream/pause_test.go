package stream

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/foretide/foretide/pkg/telemetry/telemetrypb"
)

// lookUps are the look-ups of a stream whose links do not run.
type lookUps struct {
	*follower

	mu sync.Mutex // over at, and the follower's ips and ended
	at []time.Time
}

// watch runs until the test ends.
func watch(t *testing.T, copies int, ips ...string) *lookUps {
	w := &lookUps{follower: follow(copies, "agg:1")}
	w.ips = ips
	find := w.find
	w.find = func(ctx context.Context, network, host string) ([]netip.Addr, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.at = append(w.at, time.Now())
		return find(ctx, network, host)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.keep(ctx, func(l *link) { l.end = func() { w.note(func() { w.ended = append(w.ended, l.replica.address) }) } })
	}()
	t.Cleanup(func() { cancel(); <-done })
	synctest.Wait()
	return w
}

func (w *lookUps) note(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

// gaps are the times between the look-ups of a while from now on, and the one before.
func (w *lookUps) gaps(while time.Duration) (gaps []time.Duration) {
	w.note(func() { w.at = w.at[len(w.at)-1:] })
	time.Sleep(while)
	synctest.Wait()
	w.note(func() {
		for i := range w.at[1:] {
			gaps = append(gaps, w.at[i+1].Sub(w.at[i]))
		}
	})
	return gaps
}

// within reports whether all are, and differ.
func within(gaps []time.Duration, low, high time.Duration) bool {
	return len(gaps) > 0 && slices.Min(gaps) >= low && slices.Max(gaps) <= high && (len(gaps) < 3 || slices.Min(gaps) < slices.Max(gaps))
}

func TestReplicasAreLookedUpAboutOnceAMinuteWhileEveryStreamIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, 0, "10.0.0.1", "10.0.0.2")
		if got := w.gaps(time.Hour); !within(got, 48*time.Second, 72*time.Second) {
			t.Errorf("between two look-ups were %v; want a minute, a fifth more or less", got)
		}
	})
}

func TestReplicasAreLookedUpSoonAfterAStreamBroke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, 0, "10.0.0.1")
		time.Sleep(2 * lookUpGap)
		w.broken <- struct{}{}
		if got := w.gaps(lookUpSpread); len(got) != 1 {
			t.Errorf("%d look-ups in the %v after a stream broke; want one", len(got), lookUpSpread)
		}
		w.broken <- struct{}{}
		if got := w.gaps(2*lookUpGap + lookUpSpread); !within(got, lookUpGap, 2*lookUpGap+lookUpSpread) {
			t.Errorf("the next after %v", got)
		}
	})
}

func TestStreamsThatBreakAllTheTimeDoNotFloodTheDNS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, 0, "10.0.0.1")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			for ctx.Err() == nil {
				select {
				case w.broken <- struct{}{}:
				case <-ctx.Done():
				}
			}
		}()
		if got := w.gaps(10 * time.Minute); !within(got, 5*time.Second, 12*time.Second) {
			t.Errorf("between two look-ups were %v", got)
		}
	})
}

func TestReplicasThatWereNeverFoundAreLookedUpLessAndLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, 0)
		got := w.gaps(10 * time.Minute)
		if got[0] > 10*time.Second || got[1] > 20*time.Second || !within(got, 5*time.Second, time.Minute) {
			t.Errorf("between two look-ups were %v; want it to begin with a few seconds and to stay below a minute", got)
		}
		w.note(func() { w.ips = []string{"10.0.0.1"} })
		time.Sleep(time.Minute)
		if got := w.gaps(time.Hour); !within(got, 48*time.Second, 72*time.Second) {
			t.Errorf("once they are found %v", got)
		}
	})
}

func TestReplicaThatComesIsFoundAndTheOneItStandsInForLeftWithinTwoMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, 1, "10.0.0.1")
		next := ""
		for i := 2; next == ""; i++ {
			ip := netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}).String()
			if choose("node-1", []replica{{identity: "10.0.0.1:1"}, {identity: ip + ":1"}}, 1)[0].identity != "10.0.0.1:1" {
				next = ip
			}
		}
		w.note(func() { w.ips = append(w.ips, next) })
		both := func() bool { _, of := w.Connected(); return of == 2 }
		for began := time.Now(); !both() && time.Since(began) < 75*time.Second; {
			time.Sleep(time.Second)
		}
		if !both() {
			t.Error("want a link to each within 75 s")
		}
		time.Sleep(37 * time.Second)
		synctest.Wait()
		if _, of := w.Connected(); of != 1 || !slices.Equal(w.ended, []string{"10.0.0.1:1"}) {
			t.Errorf("%d links, ended %v", of, w.ended)
		}
	})
}

// A file of authorities that is missing is a stream that fails without a network.
func TestPausesBetweenStreamsGrowFromHalfASecondToHalfAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{CAFile: "/missing/ca.crt", Logger: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go newLink(s, replica{address: "10.0.0.1:1", host: "agg"}).run(ctx)
		<-s.broken
		failed := time.Now()
		for i, longest := range []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second,
			16 * time.Second, 30 * time.Second, 30 * time.Second} {
			<-s.broken
			if pause := time.Since(failed); pause < longest/2 || pause > longest {
				t.Errorf("pause %d is %v; want %v, less up to half", i, pause, longest)
			}
			failed = time.Now()
		}
	})
}

func TestStreamThatTheAggregatorEndsAsARoutineIsNoWarning(t *testing.T) {
	for what, s := range map[string]*aggregator{
		"for its age": {keepalive: keepalive.ServerParameters{MaxConnectionAge: 100 * time.Millisecond, MaxConnectionAgeGrace: 50 * time.Millisecond},
			serve: acknowledgeAll},
		"without an error": {serve: func(_ *telemetrypb.Hello, stream telemetrypb.Telemetry_StreamServer) error {
			_, err := stream.Recv()
			return err
		}},
	} {
		t.Run(what, func(t *testing.T) {
			ca := s.start(t)
			a := runAgent(t, 1, s.address, func(o *Options) { o.CAFile = ca })
			eventually(t, "a second stream", func() bool { return strings.Count(a.log.String(), "is up") > 1 })
			if log := a.log.String(); strings.Contains(log, "level=WARN") || !strings.Contains(log, "level=DEBUG") {
				t.Errorf("log:\n%s", log)
			}
		})
	}
}

func TestConnectionThatIsSentAwayOrBreaksIsAWarning(t *testing.T) {
	for _, text := range []string{
		"error reading from server: EOF",
		"closing transport due to: EOF, received prior goaway: code: ENHANCE_YOUR_CALM, debug data: \"too_many_pings\"",
	} {
		if isRoutine(status.Error(codes.Unavailable, text)) {
			t.Errorf("%q is taken for a routine", text)
		}
	}
}
