package query

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/teststorage"
)

// Prometheus' own acceptance tests of PromQL, every query of them asked through the HTTP API. These are some of the scripts; all
// are run with the build tag engines.
func TestSomeAcceptanceTestsOfPrometheusHoldThroughTheAPI(t *testing.T) {
	engine := newRemoteEngine(t, Options{})
	chosen := []string{"operators.test", "at_modifier.test", "staleness.test", "subquery.test", "range_queries.test"}
	runAsShipped(t, engine, func(script string) bool { return slices.Contains(chosen, script) })
	if engine.asked < 1000 {
		t.Errorf("only %d queries went through the API", engine.asked)
	}
}

// runAsShipped runs scripts on a TSDB that takes samples in any order, as the store's do.
func runAsShipped(t *testing.T, engine *remoteEngine, wanted func(script string) bool) {
	promqltest.RunBuiltinTestsWithStorage(scripts{t, wanted}, engine, func(t testing.TB) storage.Storage {
		return teststorage.New(t, func(o *tsdb.Options) { o.OutOfOrderTimeWindow = time.Hour.Milliseconds() })
	})
	t.Logf("%d queries asked, %d of them answered with native histograms; %d left out", engine.asked, engine.histograms, engine.leftOut)
}

// scripts runs those that are wanted.
type scripts struct {
	*testing.T
	wanted func(script string) bool
}

func (s scripts) Run(name string, f func(*testing.T)) bool {
	if !s.wanted(name[strings.LastIndex(name, "/")+1:]) {
		return true
	}
	return s.T.Run(name, f)
}
