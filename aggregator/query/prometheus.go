package query

import (
	"context"
	"net/http"
	"runtime"
	"time"

	"github.com/grafana/regexp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/route"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/features"
	v1 "github.com/prometheus/prometheus/web/api/v1"
)

const (
	// prometheusVersion is the version of Prometheus whose API this is. Clients decide by it what they may ask for.
	prometheusVersion = "3.16.0"
	// defaultSubqueryStep is the step of a subquery that gives none, as in a Prometheus that is not configured otherwise.
	defaultSubqueryStep = time.Minute
	// readFrameBytes is how much a streamed remote read sends at a time, as Prometheus does.
	readFrameBytes = 1 << 20
)

// prom is what of Prometheus answers.
type prom struct {
	// api has the endpoints that speak JSON, below /api/v1.
	api http.Handler
	// read is the remote-read endpoint; write the receiver, nil when there is none.
	read, write http.Handler
}

func newPrometheus(o Options, registry *prometheus.Registry) prom {
	known := features.NewRegistry()
	known.Set(features.API, "remote_write_receiver", o.Writer != nil)
	engine := newEngine(o, registry, known)
	none := &nothing{catalogue: newCatalogueTarget()}
	// The parameters have no names at the call; those without a word here are of endpoints that are not mounted.
	api := v1.NewAPI(engine, o.Queryable, nil, none,
		nil, func(context.Context) v1.TargetRetriever { return none }, nil,
		noConfig, nil, v1.GlobalURLOptions{}, always,
		statistics{of: o.Statistics}, "", false, false, 0, o.Logger,
		func(context.Context) v1.RulesRetriever { return none },
		o.MaxSamples, o.MaxConcurrent, readFrameBytes, // of a remote read that is not used: see read below
		false, regexp.MustCompile("$^"), // no page of another origin may read
		nil, &v1.PrometheusVersion{Version: prometheusVersion, Revision: o.Version, Branch: "foretide", GoVersion: runtime.Version()},
		nil, nil, o.Gatherer, nil, nil,
		false, nil, false, false, false, o.LookbackDelta, false, false, // of a receiver that is not used: see write below
		statusOf, known, noDocument, newParser(o), false, o.Timeout)
	router := route.New().WithPrefix(prefix)
	api.Register(router)

	p := prom{
		api:  router,
		read: remote.NewReadHandler(o.Logger, registry, o.Queryable, noConfig, o.MaxSamples, o.MaxConcurrent, readFrameBytes),
	}
	if o.Writer != nil {
		p.write = newReceiver(o, registry)
	}
	return p
}

func newParser(o Options) parser.Parser {
	return parser.NewParser(parser.Options{
		EnableExperimentalFunctions: o.Experimental, EnableBinopFillModifiers: o.Experimental, EnableUnquotedUTF8Names: o.Experimental,
	})
}

func newEngine(o Options, registry *prometheus.Registry, known features.Collector) *promql.Engine {
	return promql.NewEngine(promql.EngineOpts{
		Logger: o.Logger, Reg: registry, FeatureRegistry: known, Parser: newParser(o),
		MaxSamples: o.MaxSamples, Timeout: o.Timeout, LookbackDelta: o.LookbackDelta,
		NoStepSubqueryIntervalFn: func(int64) int64 { return defaultSubqueryStep.Milliseconds() },
		EnableAtModifier:         true, EnableNegativeOffset: true, EnablePerStepStats: true,
		EnableDelayedNameRemoval: o.Experimental, UseStartTimestamps: o.Experimental,
	})
}

// noDocument leaves every path out of the API's description, which takes half a second to write and is not served.
var noDocument = v1.OpenAPIOptions{IncludePaths: []string{"/none"}}

func noConfig() config.Config { return config.DefaultConfig }

// always lets every request through: what is not ready says so itself.
func always(next http.HandlerFunc) http.HandlerFunc { return next }

// nothing is what Prometheus has and the aggregator has not: exemplars, rules, alerts and targets, but for one target that has
// the catalogue.
type nothing struct{ catalogue *scrape.Target }

func (*nothing) RuleGroups() []*rules.Group           { return nil }
func (*nothing) AlertingRules() []*rules.AlertingRule { return nil }

func (n *nothing) TargetsActive() map[string][]*scrape.Target {
	return map[string][]*scrape.Target{"foretide": {n.catalogue}}
}
func (*nothing) TargetsDropped() map[string][]*scrape.Target { return nil }
func (*nothing) TargetsDroppedCounts() map[string]int        { return nil }
func (*nothing) ScrapePoolConfig(string) (*config.ScrapeConfig, error) {
	return &config.ScrapeConfig{}, nil
}
func (*nothing) ExemplarQuerier(context.Context) (storage.ExemplarQuerier, error) {
	return noExemplars{}, nil
}

type noExemplars struct{}

func (noExemplars) Select(int64, int64, ...[]*labels.Matcher) ([]exemplar.QueryResult, error) {
	return []exemplar.QueryResult{}, nil
}

// statistics lets the rest of what administers a TSDB be absent: none of its endpoints is mounted.
type statistics struct {
	v1.TSDBAdminStats
	of Statistics
}

// Stats implements v1.TSDBAdminStats.
func (s statistics) Stats(byLabel string, limit int) (*tsdb.Stats, error) {
	return s.of.Stats(byLabel, limit)
}
