package ui

import (
	"io"
	"log/slog"
	"math"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

var at = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

type fixed []Policy

func (f fixed) Policies(time.Time) []Policy { return f }

func get(t *testing.T, policies ...Policy) string {
	t.Helper()
	h := Handler(fixed(policies), "v1", func() time.Time { return at }, slog.New(slog.NewTextHandler(io.Discard, nil)))
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
	if rec.Code != 200 {
		t.Fatalf("GET / = %d", rec.Code)
	}
	return rec.Body.String()
}

func TestPageWithoutPoliciesSaysHowToBegin(t *testing.T) {
	if body := get(t); !strings.Contains(body, "No policy yet") {
		t.Errorf("page does not say how to begin:\n%s", body)
	}
}

func TestPageShowsUnknownAsDashAndEscapesNames(t *testing.T) {
	reactive := int32(4)
	body := get(t, Policy{Namespace: "default", Name: "<b>x", Reactive: &reactive, Message: "because", UpperName: "p95"})
	for _, want := range []string{"&lt;b&gt;x", "<dd>4</dd>", "<dd>–</dd>", "because", "No demand seen"} {
		if !strings.Contains(body, want) {
			t.Errorf("page lacks %q", want)
		}
	}
	if n := strings.Count(body, "<dd>–</dd>"); n != 3 || strings.Contains(body, "<dd>0</dd>") {
		t.Errorf("%d unknown counts of replicas, want those there are, those decided and those of the forecast:\n%s", n, body)
	}
}

func TestPageShowsEachMetricBesideItsTarget(t *testing.T) {
	body := get(t, Policy{Metrics: []Metric{{"gpu", "20%", "29%"}, {"sum(rate(x[1m])) > 1", "20 by pod", "unknown"}}})
	for _, want := range []string{"<dt>gpu</dt><dd>29% <small>of 20%</small>", "<dt>sum(rate(x[1m])) &gt; 1</dt><dd>unknown <small>of 20 by pod</small>"} {
		if !strings.Contains(body, want) {
			t.Errorf("page lacks %q:\n%s", want, body)
		}
	}
}

func TestPathLeavesAGapWhereDataIsAbsent(t *testing.T) {
	l := Line{at.Add(-3 * time.Hour), time.Hour, []float64{1, math.NaN(), 2}}
	c := draw(at, l, Line{}, Line{}, Line{})
	if got := strings.Count(c.Actual, "M"); got != 2 {
		t.Errorf("path %q begins %d strokes, want 2", c.Actual, got)
	}
	if strings.Contains(c.Actual, "NaN") {
		t.Errorf("path %q holds NaN", c.Actual)
	}
}

func TestPathKeepsThePeakOfPointsThatShareAColumn(t *testing.T) {
	values := make([]float64, 24*60)
	values[700] = 8
	c := draw(at, Line{at.Add(-span), time.Minute, values}, Line{}, Line{}, Line{})
	if !strings.Contains(c.Actual, " 8.0") {
		t.Errorf("the peak of 8 is not at the top of %q", c.Actual)
	}
}

func TestCeilingLeavesRoomForShortLabels(t *testing.T) {
	for in, want := range map[float64]float64{0: 1, 0.7: 0.8, 1: 1, 3: 3.2, 9: 10, 120: 120, 1010: 1200} {
		if got := ceiling(in); math.Abs(got-want) > 1e-12 {
			t.Errorf("ceiling(%v) = %v, want %v", in, got, want)
		}
	}
}
