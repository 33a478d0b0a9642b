//go:build chaos

package chaos

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/foretide/foretide/test/swarm"
)

// Of the kills, this part is the aggregator's.
const aggregatorKills = 0.7

func TestNothingIsLostWhenAgentsAndAggregatorAreKilled(t *testing.T) {
	w := newWorld(t, "")
	fleet := w.agents(swarm.Options{Agents: 40, Node: swarm.NodeOptions{PodLife: time.Minute}, StreamLife: 30 * time.Second})
	hosts := []*host{w.host("shipped-1"), w.host("shipped-2")}
	random := rand.New(rand.NewPCG(*seed, 0))
	moment := func(most time.Duration) { w.pass(time.Duration(random.Float64() * float64(most))) }
	for i := range *kills {
		moment(3 * time.Second)
		for _, h := range hosts {
			h.play(random)
		}
		if random.Float64() < aggregatorKills {
			w.kill()
			moment(time.Second)
			if random.Float64() < 0.2 { // again as soon as it is up, while it still reads its log
				w.start()
				w.kill()
			}
			w.start()
		} else {
			h := hosts[random.IntN(len(hosts))]
			h.kill()
			moment(time.Second)
			h.start()
		}
		if i%10 == 9 {
			t.Logf("%d killed; %d frames acknowledged, %d waiting", killed.Load(), fleet.Acknowledged.Load(), fleet.Waiting())
		}
	}
	w.delivered(fleet, false)
	for _, h := range hosts {
		h.delivered()
	}
	w.compare()
}
