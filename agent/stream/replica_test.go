package stream

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAddressesAreReadAndTheWrongOneIsNamed(t *testing.T) {
	got, err := ParseAddresses("a.example:9443, 10.0.0.1:1,[fd00::1]:2")
	if want := []Address{{"a.example", 9443}, {"10.0.0.1", 1}, {"fd00::1", 2}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("addresses = %v, error %v", got, err)
	}
	for _, wrong := range []string{"", "a", "a:0", "a:65536", ":1", "a:b", "a:1,,b:1", "fd00::1:2"} {
		if _, err := ParseAddresses(wrong); err == nil || !strings.Contains(err.Error(), "it must be host:port") {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}

func TestEveryAddressOfAHostIsAReplica(t *testing.T) {
	asked := ""
	find := func(addresses ...string) lookup {
		return func(_ context.Context, network, host string) ([]netip.Addr, error) {
			asked = network + " " + host
			var ips []netip.Addr
			for _, a := range addresses {
				ips = append(ips, netip.MustParseAddr(a))
			}
			return ips, nil
		}
	}
	for name, c := range map[string]struct {
		find  lookup
		host  string
		asked string
		want  []replica
	}{
		"two": {find("10.0.0.1", "10.0.0.2"), "agg.ns.svc.", "ip agg.ns.svc.", []replica{
			{"10.0.0.1:9443", "agg.ns.svc", "10.0.0.1:9443"}, {"10.0.0.2:9443", "agg.ns.svc", "10.0.0.2:9443"}}},
		"one keeps its identity when its address changes": {find("10.0.0.1"), "agg-0.agg", "ip agg-0.agg", []replica{{"10.0.0.1:9443", "agg-0.agg", "agg-0.agg:9443"}}},
		"both families of the same replicas":              {find("fd00::1", "fd00::2", "10.0.0.1", "10.0.0.2"), "agg", "ip agg", []replica{{"[fd00::1]:9443", "agg", "[fd00::1]:9443"}, {"[fd00::2]:9443", "agg", "[fd00::2]:9443"}}},
		"IPv4 as IPv6":                                    {find("::ffff:10.0.0.1"), "agg", "ip agg", []replica{{"10.0.0.1:9443", "agg", "agg:9443"}}},
		"an IP address":                                   {nil, "10.0.0.9", "", []replica{{"10.0.0.9:9443", "10.0.0.9", "10.0.0.9:9443"}}},
		"an IPv6 address":                                 {nil, "fd00::9", "", []replica{{"[fd00::9]:9443", "fd00::9", "[fd00::9]:9443"}}},
	} {
		asked = ""
		got, err := c.find.replicas(t.Context(), Address{c.host, 9443})
		if d := cmp.Diff(c.want, got, cmp.AllowUnexported(replica{})); err != nil || d != "" || asked != c.asked {
			t.Errorf("%s: asked %q, error %v (-want +got)\n%s", name, asked, err, d)
		}
	}
}

// follower is a stream whose links do not run, and the look-up it uses.
type follower struct {
	*Stream
	log     strings.Builder
	now     time.Time
	ips     []string
	failure error
	ended   []string
}

func follow(copies int, addresses string) *follower {
	f := &follower{now: time.UnixMilli(1_767_312_000_000)}
	parsed, err := ParseAddresses(addresses)
	if err != nil {
		panic(err)
	}
	f.Stream = New(Options{Addresses: parsed, Copies: copies, Node: "node-1", Logger: slog.New(slog.NewTextHandler(&f.log, nil))})
	f.find = func(context.Context, string, string) ([]netip.Addr, error) {
		var ips []netip.Addr
		for _, ip := range f.ips {
			ips = append(ips, netip.MustParseAddr(ip))
		}
		return ips, f.failure
	}
	return f
}

// step looks up once more, some time later, and returns the addresses there are links to.
func (f *follower) step(t *testing.T, later time.Duration, ips ...string) []string {
	t.Helper()
	f.now, f.ips = f.now.Add(later), ips
	f.lookUp(t.Context())
	f.follow(f.now, func(l *link) { l.end = func() { f.ended = append(f.ended, l.replica.address) } })
	var to []string
	for address := range f.links {
		to = append(to, address)
	}
	slices.Sort(to)
	return to
}

func TestReplicasComeAtOnceAndGoAfterAGrace(t *testing.T) {
	f := follow(0, "agg:1")
	one, both := []string{"10.0.0.1:1"}, []string{"10.0.0.1:1", "10.0.0.2:1"}
	for i, c := range []struct {
		later time.Duration
		ips   []string
		want  []string
	}{
		{0, []string{"10.0.0.1"}, one},
		{10 * time.Second, []string{"10.0.0.1", "10.0.0.2"}, both},
		{10 * time.Second, []string{"10.0.0.1"}, both},
		{20 * time.Second, []string{"10.0.0.2", "10.0.0.1"}, both}, // it is back
		{time.Hour, []string{"10.0.0.1"}, both},
		{29 * time.Second, []string{"10.0.0.1"}, both},
		{time.Second, []string{"10.0.0.1"}, one},
	} {
		if got := f.step(t, c.later, c.ips...); !slices.Equal(got, c.want) {
			t.Errorf("step %d: links to %v; want %v", i, got, c.want)
		}
	}
	if !slices.Equal(f.ended, []string{"10.0.0.2:1"}) {
		t.Errorf("ended %v", f.ended)
	}
}

func TestFailedLookUpChangesNothingAndIsSaidOnce(t *testing.T) {
	f := follow(0, "agg:1,10.9.9.9:1")
	f.failure = errors.New("no such host")
	if got := f.step(t, 0); !slices.Equal(got, []string{"10.9.9.9:1"}) {
		t.Errorf("links to %v; want the one that needs no look-up", got)
	}
	f.failure = nil
	f.step(t, 0, "10.0.0.1")
	f.failure = errors.New("server misbehaving")
	for range 10 {
		if got := f.step(t, time.Minute); !slices.Equal(got, []string{"10.0.0.1:1", "10.9.9.9:1"}) {
			t.Errorf("links to %v", got)
		}
	}
	if got := f.log.String(); strings.Count(got, "no such host") != 1 || strings.Count(got, "server misbehaving") != 1 {
		t.Errorf("log:\n%s", got)
	}
}

func TestReplicaThatIsNamedTwiceHasOneLink(t *testing.T) {
	f := follow(0, "agg:1,10.0.0.1:1,agg.ns:1")
	if got := f.step(t, 0, "10.0.0.1", "10.0.0.2"); !slices.Equal(got, []string{"10.0.0.1:1", "10.0.0.2:1"}) {
		t.Errorf("links to %v", got)
	}
}

func TestNodeThatMovesToAnotherShardSendsToBothForAWhile(t *testing.T) {
	f := follow(1, "agg:1")
	ips := []string{"10.0.0.1", "10.0.0.2"}
	first := f.step(t, 0, ips...)
	var grown []string
	for i := 3; len(grown) < 2; i++ {
		ips = append(ips, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}).String())
		grown = f.step(t, time.Second, ips...)
	}
	if len(first) != 1 || !slices.Contains(grown, first[0]) {
		t.Errorf("links to %v, then to %v", first, grown)
	}
	if got := f.step(t, vanishedFor, ips...); len(got) != 1 || got[0] == first[0] {
		t.Errorf("at last links to %v; want only the new one", got)
	}
}
