//go:build replicas

package replicas

import (
	"fmt"
	"math"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/foretide/foretide/test/swarm/shipped"
)

// shard is an aggregator that has the telemetry of its own nodes alone.
type shard struct {
	*aggregator
	address netip.Addr
}

// newShards prepares aggregators on addresses of the loopback that share a port, as the pods behind a headless Service do.
func newShards(t *testing.T, engine string, n int) (shards []*shard, port string) {
	t.Helper()
	for i := range n {
		s := &shard{newAggregator(t, fmt.Sprintf("shard %d", i+1)), netip.AddrFrom4([4]byte{127, 0, 0, byte(i + 1)})}
		if i == 0 {
			_, port, _ = net.SplitHostPort(s.Ingest)
		}
		s.Ingest = net.JoinHostPort(s.address.String(), port)
		// In a cluster each has a host name of its own, which is told in this label.
		write := filepath.Join(s.Dir, "write.yaml")
		config := fmt.Sprintf(`global: {external_labels: {aggregator: shard-%d}}
remote_write:
- url: %s/api/v1/write
  queue_config: {batch_send_deadline: 1s}
  write_relabel_configs:
  - {source_labels: [__name__], regex: foretide_.*, action: keep}
`, i+1, engine)
		if err := os.WriteFile(write, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		s.flags = []string{"--remote-write.config-file=" + write, "--engine.url=" + engine}
		shards = append(shards, s)
	}
	return shards, port
}

// startEngine runs a VictoriaMetrics and returns its URL.
func startEngine(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	// VictoriaMetrics keeps a sample that comes twice twice, unless it is told otherwise.
	engine := exec.Command("victoria-metrics", "-storageDataPath="+t.TempDir(), "-httpListenAddr="+address, "-retentionPeriod=12",
		"-dedup.minScrapeInterval=1ms", "-loggerLevel=WARN", "-memory.allowedBytes=256MB")
	engine.Stdout, engine.Stderr = &log, &log
	engine.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := engine.Start(); err != nil {
		t.Fatalf("the Debian package victoria-metrics is needed: %v", err)
	}
	t.Cleanup(func() {
		_ = engine.Process.Kill()
		_ = engine.Wait()
		if t.Failed() {
			t.Logf("victoria-metrics said:\n%s", log.String())
		}
	})
	url := "http://" + address
	eventually(t, "victoria-metrics is ready", time.Minute, func() (bool, string) {
		answer, err := http.Get(url + "/health")
		if err != nil {
			return false, err.Error()
		}
		defer func() { _ = answer.Body.Close() }()
		return answer.StatusCode == http.StatusOK, answer.Status
	})
	return url
}

// nodes is how many nodes report to the shard now.
func (s *shard) nodes() int {
	n := 0
	for series, at := range s.metrics() {
		if strings.HasPrefix(series, "foretide_node_last_batch_timestamp_seconds{") && time.Since(time.UnixMilli(int64(1000*at))) < 5*time.Second {
			n++
		}
	}
	return n
}

func aggregatorsOf(shards []*shard) (out []*aggregator) {
	for _, s := range shards {
		out = append(out, s.aggregator)
	}
	return out
}

func TestShardsDecideTheSameFromOneEngineAndAShardThatDiesIsMadeUpFor(t *testing.T) {
	t.Parallel()
	engine := startEngine(t)
	shards, port := newShards(t, engine, 3)
	for _, s := range shards {
		s.start()
		dns.add(s.address)
	}
	all := aggregatorsOf(shards)
	f := newFleet(t, fleetOptions{nodes: 24, addresses: addressesOf(t, headless+":"+port), copies: 1, caFile: authorities(t, all...), tokenFile: all[0].TokenFile(), gpus: 32})
	f.agree(t, "with three shards", all...)
	f.shared(t, shards)

	victim, rest := mostNodes(shards)
	lost := victim.nodes()
	victim.kill()
	dns.remove(victim.address)
	killed := time.Now()
	before := f.right()
	f.offer(40)
	f.holds(t, before, rest)
	took := time.Since(killed)
	t.Logf("%v after a shard with %d of %d nodes was killed, the others decide right again", took.Round(100*time.Millisecond), lost, len(f.nodes))
	fmt.Printf("BENCH shards_decide_again %.1f s\n", took.Seconds())
	f.offer(20)
	f.agree(t, "with two shards and less work", aggregatorsOf(rest)...)
	f.shared(t, rest)

	victim.start()
	dns.add(victim.address)
	f.offer(30)
	f.agree(t, "with three shards again", all...)
	f.shared(t, shards)
	f.recorded(t, engine, all)
}

// mostNodes takes out the shard that has the most.
func mostNodes(shards []*shard) (most *shard, rest []*shard) {
	for _, s := range shards {
		if most == nil || s.nodes() > most.nodes() {
			most = s
		}
	}
	for _, s := range shards {
		if s != most {
			rest = append(rest, s)
		}
	}
	return most, rest
}

// shared waits until each node reports to one shard, and each shard has some.
func (f *fleet) shared(t *testing.T, shards []*shard) {
	t.Helper()
	eventually(t, "every node reports to one shard", 2*time.Minute, func() (bool, string) {
		sum, some, state := 0, true, ""
		for _, s := range shards {
			n := s.nodes()
			sum, some, state = sum+n, some && n > 0, fmt.Sprintf("%s %s has %d nodes;", state, s.name, n)
		}
		good := sum == len(f.nodes) && some
		if good {
			t.Logf("of %d nodes:%s", len(f.nodes), state)
		}
		return good, state
	})
}

// holds waits until the shards that are left decide right, and wants them not to go down or lose sight of a pod meanwhile.
func (f *fleet) holds(t *testing.T, before float64, rest []*shard) {
	t.Helper()
	lowest, fewest := math.Inf(1), math.Inf(1)
	eventually(t, "the shards that are left decide right", 2*time.Minute, func() (bool, string) {
		right, state := true, ""
		for _, s := range rest {
			d := s.decision()
			if !d.ok {
				t.Fatalf("%s decides nothing", s.name)
			}
			lowest, fewest = min(lowest, d.desired), min(fewest, d.current)
			right, state = right && d.desired == f.right(), fmt.Sprintf("%s %s: %s;", state, s.name, d)
		}
		return right, state
	})
	t.Logf("meanwhile the lowest decision was %v (%v before, %v after), of %v pods or more", lowest, before, f.right(), fewest)
	if lowest < before || fewest < float64(f.pods()) {
		t.Errorf("the decision went down to %v, on %v pods: it was %v on %d, and nothing had gone", lowest, fewest, before, f.pods())
	}
}

// recorded waits until every shard has written a minute of demand that is the work offered.
func (f *fleet) recorded(t *testing.T, engine string, all []*aggregator) {
	t.Helper()
	address := strings.TrimPrefix(engine, "http://")
	eventually(t, "the engine has the demand of every shard", 6*time.Minute, func() (bool, string) {
		samples, err := shipped.Query(t.Context(), address, "foretide_workload_demand_gpus")
		if err != nil {
			return false, err.Error()
		}
		state, good := "", len(samples) == len(all)
		for _, s := range samples {
			good = good && math.Abs(s.Value-f.gpus()) < 0.01*f.gpus()
			state = fmt.Sprintf("%s %s: %.3f;", state, s.Labels["aggregator"], s.Value)
		}
		if good {
			t.Logf("recorded demand of %v offered GPUs:%s", f.gpus(), state)
		}
		return good, state
	})
}
