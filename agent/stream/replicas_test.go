package stream

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/foretide/foretide/pkg/telemetry/telemetrypb"
)

// fleet is several real aggregators on addresses of the loopback that share a port, as the pods behind a headless Service do.
type fleet struct {
	members []*aggregator
	stops   []func()
	where   []string
	ca      string
	start   func(i int)

	mu  sync.Mutex
	got map[string][]uint64 // store → sequences acknowledged
}

func newFleet(t *testing.T, n int) *fleet {
	t.Helper()
	f := &fleet{got: map[string][]uint64{}, stops: make([]func(), n)}
	certificate, ca := certify(t)
	f.ca = writeFile(t, "ca.crt", ca)
	probe, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(probe.Addr().String())
	if err := probe.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		f.where = append(f.where, fmt.Sprintf("127.0.0.%d:%s", i+1, port))
		f.members = append(f.members, &aggregator{store: fmt.Sprintf("store-%d", i), serve: f.keep(fmt.Sprintf("store-%d", i))})
	}
	f.start = func(i int) { f.stops[i] = f.members[i].listen(t, certificate, f.where[i]) }
	for i := range n {
		f.start(i)
	}
	return f
}

// keep acknowledges everything and notes it.
func (f *fleet) keep(store string) func(*telemetrypb.Hello, telemetrypb.Telemetry_StreamServer) error {
	return func(_ *telemetrypb.Hello, stream telemetrypb.Telemetry_StreamServer) error {
		for {
			m, err := stream.Recv()
			if err != nil {
				return err
			}
			f.mu.Lock()
			f.got[store] = append(f.got[store], m.GetFrame().GetSequence())
			f.mu.Unlock()
			if err := stream.Send(ack(m.GetFrame().GetSequence(), 0)); err != nil {
				return err
			}
		}
	}
}

func (f *fleet) has(store string) []uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.got[store])
}

func (f *fleet) agent(t *testing.T, batches, copies int) *agent {
	t.Helper()
	return runAgent(t, batches, f.where[0], func(o *Options) { o.CAFile, o.Copies = f.ca, copies }, f.where...)
}

func TestEveryReplicaIsSentEverything(t *testing.T) {
	for _, n := range []int{2, 3} {
		f := newFleet(t, n)
		a := f.agent(t, 50, 0)
		for i := range n {
			store := f.members[i].store
			if err := a.box.store(store).waitEmpty(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := f.has(store); len(got) != 50 || !slices.IsSorted(got) {
				t.Errorf("%s has %v", store, got)
			}
		}
		if up, of := a.Connected(); up != n || of != n {
			t.Errorf("%d of %d are connected; want %d", up, of, n)
		}
	}
}

func TestReplicaThatWasAwayGetsWhatItMissedAndTheOtherDoesNotWait(t *testing.T) {
	f := newFleet(t, 2)
	a := f.agent(t, 10, 0)
	for _, m := range f.members {
		if err := a.box.store(m.store).waitEmpty(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	f.stops[1]()
	eventually(t, "one is away", func() bool { up, of := a.Connected(); return up == 1 && of == 2 })
	a.box.put(30)
	if err := a.box.store("store-0").waitEmpty(t.Context()); err != nil {
		t.Fatal(err)
	}
	if waiting, _, _ := a.box.store("store-1").stats(); waiting != 30 {
		t.Errorf("%d batches wait for the other; want 30", waiting)
	}
	f.start(1)
	if err := a.box.store("store-1").waitEmpty(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, m := range f.members {
		if got := f.has(m.store); len(got) != 40 {
			t.Errorf("%s has %v", m.store, got)
		}
	}
}

func TestNodeSendsToAsManyReplicasAsItIsTold(t *testing.T) {
	f := newFleet(t, 3)
	a := f.agent(t, 5, 2)
	eventually(t, "two have everything", func() bool {
		full := 0
		for _, m := range f.members {
			if len(f.has(m.store)) == 5 {
				full++
			}
		}
		return full == 2
	})
	if up, of := a.Connected(); up != 2 || of != 2 {
		t.Errorf("%d of %d are connected; want two", up, of)
	}
}

func TestLongestIntervalThatAConnectedReplicaAsksForHolds(t *testing.T) {
	f := newFleet(t, 2)
	f.stops[1]()
	f.members[0].interval, f.members[1].interval = 2*time.Second, 10*time.Second
	a := f.agent(t, 0, 0)
	last := func() time.Duration {
		d := time.Duration(0)
		for len(a.pace) > 0 {
			d = <-a.pace
		}
		return d
	}
	eventually(t, "the one asks for 2 s", func() bool { return last() == 2*time.Second })
	f.start(1)
	eventually(t, "the other asks for 10 s", func() bool { return last() == 10*time.Second })
	f.stops[1]()
	eventually(t, "the other is gone", func() bool { return last() == 2*time.Second })
	if got := a.log.String(); !strings.Contains(got, f.where[1]) || !strings.Contains(got, "store=store-1") {
		t.Errorf("log:\n%s", got)
	}
}
