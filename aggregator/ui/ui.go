// Package ui serves one page that shows each policy: what it decided and why, the demand of the last day, and the forecast of
// the next one.
//
//	source → template (SVG drawn on the server, no script) → browser
package ui

import (
	"embed"
	"html/template"
	"log/slog"
	"net/http"
	"time"
)

// Policy is what the page shows of one policy. Pointers are nil when the value is not known.
type Policy struct {
	Namespace, Name  string
	Strategy         string
	Target           string
	Metrics          []Metric
	Min, Max         int32
	Current, Desired *int32
	Proactive        *int32
	Reactive         *int32
	Reason, Message  string
	// Forecast says how the forecast was made, or why there is none.
	Forecast string
	// Actual is the demand of the past, Earlier what was forecast of it an hour before, Mean and Upper the forecast, all in busy GPUs.
	Actual, Earlier, Mean, Upper Line
	// UpperName is the quantile drawn, such as p95.
	UpperName string
}

// Metric is one thing the policy decides on, in words with units.
type Metric struct{ Name, Target, Current string }

// Source gives what the page shows.
type Source interface {
	Policies(now time.Time) []Policy
}

//go:embed static
var static embed.FS

// Handler serves the page at / and its style sheet. It needs no network and runs no script.
func Handler(source Source, version string, now func() time.Time, log *slog.Logger) http.Handler {
	page := template.Must(template.New("index.html").Funcs(template.FuncMap{"count": count}).ParseFS(static, "static/index.html"))
	mux := http.NewServeMux()
	mux.Handle("GET /static/", http.FileServerFS(static))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'")
		at := now()
		view := view{Version: version, At: at.UTC().Format("2006-01-02 15:04:05 UTC")}
		for _, p := range source.Policies(at) {
			view.Policies = append(view.Policies, card{p, draw(at, p.Actual, p.Earlier, p.Mean, p.Upper)})
		}
		if err := page.Execute(w, view); err != nil {
			log.Warn("page not written", "err", err)
		}
	})
	return mux
}

type view struct {
	Version, At string
	Policies    []card
}

type card struct {
	Policy
	Chart chart
}

// count prints a number that may be unknown.
func count(n *int32) any {
	if n == nil {
		return "–"
	}
	return *n
}
