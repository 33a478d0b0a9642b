package engine

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestWhatMayPassIsTriedAgainAndWhatMayNotIsTold(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		fails  int
		asked  int
		want   string
	}{
		"away for a moment":     {http.StatusServiceUnavailable, 3, 4, ""},
		"away":                  {http.StatusBadGateway, 9, 4, "server error: 502 (out of order)"},
		"too many requests":     {http.StatusTooManyRequests, 2, 3, ""},
		"not allowed":           {http.StatusUnauthorized, 9, 1, "client error: 401 (out of order)"},
		"no such tenant":        {http.StatusNotFound, 9, 1, "client error: 404"},
		"an expression too far": {http.StatusUnprocessableEntity, 9, 1, "client error: 422 (out of order)"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.add(t, bertSeries, 60, 1)
			asked := 0
			w.before = func(rw http.ResponseWriter, _ *http.Request) bool {
				if asked++; asked > c.fails {
					return false
				}
				http.Error(rw, "out of order", c.status)
				return true
			}
			_, err := w.client(t).Demand(t.Context(), bert, at(0), at(60), time.Minute)
			if asked != c.asked {
				t.Errorf("asked %d times, want %d", asked, c.asked)
			}
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), w.URL)) {
				t.Errorf("error is %v, want %q and the address", err, c.want)
			}
		})
	}
}

func TestAnEngineThatDoesNotAnswerIsGivenUpInTime(t *testing.T) {
	w := newWorld(t)
	w.before = func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true }
	c := w.client(t)
	c.timeout = 5 * time.Millisecond
	_, err := c.Demand(t.Context(), bert, at(0), at(60), time.Minute)
	if err == nil || !TooMuch(err) {
		t.Errorf("error is %v, want a timeout that a shorter range may mend", err)
	}
}

func TestARequestEndsWithTheCaller(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	w.before = func(_ http.ResponseWriter, r *http.Request) bool { cancel(); <-r.Context().Done(); return true }
	if _, err := w.client(t).Demand(ctx, bert, at(0), at(60), time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

func TestHalfAnAnswerIsAnError(t *testing.T) {
	w := newWorld(t)
	var parameters string
	w.before = func(rw http.ResponseWriter, r *http.Request) bool {
		parameters = r.FormValue("partial_response") + r.FormValue("deny_partial_response")
		_ = json.NewEncoder(rw).Encode(map[string]any{"status": "success", "warnings": []string{"store 10.0.0.1 timed out"},
			"data": map[string]any{"resultType": "matrix", "result": []any{}}})
		return true
	}
	_, err := w.client(t).Demand(t.Context(), bert, at(0), at(60), time.Minute)
	if err == nil || !strings.Contains(err.Error(), "the answer is not whole: store 10.0.0.1 timed out") {
		t.Errorf("error is %v", err)
	}
	if parameters != "false1" {
		t.Errorf("the engine was asked for %q, want no partial answers", parameters)
	}
}

func TestRemarksOnAnExpressionAreNoErrors(t *testing.T) {
	if got := partial([]string{"PromQL info: metric might not be a counter", "PromQL warning: x"}); got != "" {
		t.Errorf("partial: %s", got)
	}
}

func TestAnAnswerOfAnotherTypeIsAnError(t *testing.T) {
	w := newWorld(t)
	w.before = func(rw http.ResponseWriter, _ *http.Request) bool {
		_ = json.NewEncoder(rw).Encode(map[string]any{"status": "success", "data": map[string]any{"resultType": "vector", "result": []any{}}})
		return true
	}
	if _, err := w.client(t).Demand(t.Context(), bert, at(0), at(60), time.Minute); err == nil || !strings.Contains(err.Error(), "it must be a matrix") {
		t.Errorf("error is %v", err)
	}
}

func TestTokensHeadersAndAuthoritiesAreUsed(t *testing.T) {
	var got http.Header
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		fail(w, http.StatusBadRequest, "bad_data", "seen")
	}))
	defer server.Close()
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	token := write("token", "secret\n")
	ca := write("ca.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	byFlags, err := NewAccess(token, ca, map[string]string{"X-Scope-OrgID": "gpu"})
	if err != nil {
		t.Fatal(err)
	}
	byFile, err := LoadAccess(write("access.yml", "authorization: {credentials_file: token}\ntls_config: {ca_file: ca.crt}\nhttp_headers: {X-Scope-OrgID: {values: [gpu]}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for name, access := range map[string]Access{"flags": byFlags, "file": byFile} {
		got = nil
		c, err := New(Options{URL: server.URL + "/prometheus/", Access: access})
		if err != nil {
			t.Fatal(err)
		}
		if _, err = c.Demand(t.Context(), bert, at(0), at(60), time.Minute); err == nil || !strings.Contains(err.Error(), "seen") {
			t.Fatalf("%s: error is %v", name, err)
		}
		if got.Get("Authorization") != "Bearer secret" || got.Get("X-Scope-OrgID") != "gpu" {
			t.Errorf("%s: headers are %v", name, got)
		}
	}
	c, err := New(Options{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	c.pause = time.Millisecond
	if _, err := c.Demand(t.Context(), bert, at(0), at(60), time.Minute); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without the authority: error is %v", err)
	}
}

func TestPathsOfTheAPIAreFoundUnderAnyAddress(t *testing.T) {
	for address, want := range map[string]string{
		"":                            "/api/v1/query",
		"/":                           "/api/v1/query",
		"/api/v1":                     "/api/v1/query",
		"/select/0/prometheus":        "/select/0/prometheus/api/v1/query",
		"/prometheus/api/v1/?dedup=1": "/prometheus/api/v1/query",
	} {
		var got string
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got = r.URL.Path
			fail(w, http.StatusBadRequest, "bad_data", "seen")
		}))
		c, err := New(Options{URL: server.URL + address})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Demand(t.Context(), bert, at(0), at(60), time.Minute)
		server.Close()
		if got != want {
			t.Errorf("%q asks %q, want %q", address, got, want)
		}
	}
	for _, address := range []string{"", "prometheus:9090", "http://", "unix:///x"} {
		if _, err := New(Options{URL: address}); err == nil || !strings.Contains(err.Error(), "it must be like http://") {
			t.Errorf("%q: error is %v", address, err)
		}
	}
}
