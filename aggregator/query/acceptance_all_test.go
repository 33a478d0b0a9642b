//go:build engines

package query

import (
	"slices"
	"testing"

	"github.com/prometheus/prometheus/promql/promqltest"
)

// Every script, with everything on that some of them need, on the storage they are meant for.
func TestAllAcceptanceTestsOfPrometheusHoldThroughTheAPI(t *testing.T) {
	engine := newRemoteEngine(t, Options{Experimental: true})
	promqltest.RunBuiltinTests(t, engine)
	t.Logf("%d queries asked, %d of them answered with native histograms", engine.asked, engine.histograms)
	if engine.asked < 20_000 {
		t.Errorf("only %d queries went through the API", engine.asked)
	}
}

// Every script with the options that are shipped. What is off as shipped is left out: the scripts of delayed removal of names and
// of start timestamps, those of histograms, whose warnings have the names that are removed late, and queries that only the
// experimental parser can read.
func TestAllAcceptanceTestsOfStablePromQLHoldAsShipped(t *testing.T) {
	engine := newRemoteEngine(t, Options{})
	off := []string{"name_label_dropping.test", "start_timestamps.test", "histograms.test", "native_histograms.test"}
	runAsShipped(t, engine, func(script string) bool { return !slices.Contains(off, script) })
	if engine.asked < 10_000 {
		t.Errorf("only %d queries went through the API", engine.asked)
	}
}
