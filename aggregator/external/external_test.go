package external

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// web is a task of three steps after four minutes of which the first and the third are missing.
var web = Task{
	ID: "default/Deployment/web", Step: time.Minute, Origin: noon, Horizon: 3, Quantiles: []float64{0.5, 0.95},
	History: []float64{math.NaN(), 1, math.NaN(), 2.25},
}

const (
	webID    = `"default/Deployment/web@1772452800"`
	webLine  = `{"id":` + webID + `,"series":"default/Deployment/web","step_seconds":60,"start":1772452620,"origin":1772452800,"horizon":3,"quantiles":[0.5,0.95],"history":[1,null,2.25]}` + "\n"
	goodLine = `{"id":` + webID + `,"mean":[1,2,3],"quantiles":{"0.5":[1,2,3],"0.95":[1,2.5,4]},"seconds":0.01}` + "\n"
)

// desk is a Forecaster that is told when to ask, and a clock that the test walks.
type desk struct {
	*Forecaster
	t   *testing.T
	now time.Time
	log bytes.Buffer
}

func newDesk(t *testing.T, url string, change ...func(*Options)) *desk {
	t.Helper()
	d := &desk{t: t, now: noon}
	o := Options{URL: url, Logger: slog.New(slog.NewTextHandler(&d.log, nil)), Registerer: prometheus.NewRegistry(), Now: func() time.Time { return d.now }}
	for _, c := range change {
		c(&o)
	}
	var err error
	if d.Forecaster, err = New(o); err != nil {
		t.Fatal(err)
	}
	return d
}

// once asks a task and waits for what becomes of it.
func (d *desk) once(task Task) (Answer, bool) {
	d.t.Helper()
	d.Ask(task)
	select {
	case queued := <-d.queue:
		d.ask(d.t.Context(), queued)
	default:
	}
	return d.Answer(task.ID)
}

func (d *desk) counted(r reason) int {
	return int(testutil.ToFloat64(d.results.WithLabelValues(string(r))))
}

// serve answers every request with the same line.
func serve(t *testing.T, line string) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, line) }))
	t.Cleanup(s.Close)
	return s
}

func TestATaskIsPostedAsOneLineAndItsAnswerIsUsed(t *testing.T) {
	var got string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = r.Method + " " + r.URL.Path + " " + r.Header.Get("Content-Type") + "\n" + string(body)
		_, _ = io.WriteString(w, goodLine)
	}))
	defer s.Close()
	d := newDesk(t, s.URL+"/forecast")
	if _, ok := d.Answer(web.ID); ok {
		t.Error("an answer before anything was asked")
	}
	answer, ok := d.once(web)
	if d := cmp.Diff("POST /forecast application/x-ndjson\n"+webLine, got); d != "" {
		t.Errorf("request (-want +got):\n%s", d)
	}
	want := Answer{Origin: noon, Step: time.Minute, Levels: []float64{0.5, 0.95}, Mean: []float64{1, 2, 3}, Quantiles: [][]float64{{1, 2, 3}, {1, 2.5, 4}}}
	if d := cmp.Diff(want, answer); !ok || d != "" {
		t.Errorf("answer %v (-want +got):\n%s", ok, d)
	}
	if d.counted(used) != 1 || d.log.Len() > 0 {
		t.Errorf("%d used; log: %s", d.counted(used), &d.log)
	}
}

func TestAnAnswerThatIsWrongInAnythingIsNotUsed(t *testing.T) {
	with := func(old, new string) string {
		out := strings.Replace(goodLine, old, new, 1)
		if out == goodLine {
			t.Fatalf("%q is not in the good answer", old)
		}
		return out
	}
	for line, want := range map[string]reason{
		"":                                    malformed,
		"no JSON":                             malformed,
		goodLine + goodLine:                   malformed,
		goodLine[:40]:                         malformed,
		"[" + goodLine + "]":                  malformed,
		with(`[1,2,3]`, `[1,NaN,3]`):          malformed,
		with(`[1,2,3]`, `[1,Infinity,3]`):     malformed,
		with(`[1,2,3]`, `[1,1e999,3]`):        malformed,
		with(`[1,2,3]`, `[1,"NaN",3]`):        malformed,
		with(`[1,2,3]`, `[1,"2",3]`):          malformed,
		with(`[1,2,3]`, `"1,2,3"`):            malformed,
		with("1772452800", "1772452740"):      wrongID,
		with("web@", "api@"):                  wrongID,
		"{}":                                  wrongID,
		with(`"mean":[1,2,3]`, `"mean":[]`):   wrongLength,
		with(`[1,2.5,4]`, `[1,2.5]`):          wrongLength,
		with(`[1,2.5,4]`, `[1,2.5,4,4]`):      wrongLength,
		with(`,"0.95":[1,2.5,4]`, ``):         wrongLength,
		with(`"0.95"`, `"95"`):                wrongLength,
		with(`"0.95":[1,2.5,4]`, `"0.95":{}`): malformed,
		with(`[1,2,3]`, `[1,null,3]`):         wrongValue,
		with(`[1,2.5,4]`, `[1,null,4]`):       wrongValue,
		with(`[1,2.5,4]`, `[-0.1,2.5,4]`):     wrongValue,
		with(`[1,2.5,4]`, `[1,2.5,1e13]`):     wrongValue,
		with(`[1,2.5,4]`, `[1,2.5,2.9]`):      crossing,
	} {
		d := newDesk(t, serve(t, line).URL)
		if answer, ok := d.once(web); ok || d.counted(want) != 1 {
			t.Errorf("answer %q: used %v %v, %d counted as %s\n%s", line, ok, answer, d.counted(want), want, &d.log)
		}
		if !strings.Contains(d.log.String(), "reason="+string(want)) {
			t.Errorf("answer %q: the log lacks the reason %s:\n%s", line, want, &d.log)
		}
	}
}

func TestAnAnswerThatDoesNotComeIsNotUsed(t *testing.T) {
	never := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	for name, c := range map[string]struct {
		answer func(w http.ResponseWriter, r *http.Request)
		want   reason
	}{
		"nothing": {never, late},
		"half of it": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, goodLine[:40])
			_ = http.NewResponseController(w).Flush()
			never(w, r)
		}, late},
		"an error": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, goodLine, http.StatusInternalServerError) }, status},
		"another good code": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusAccepted)
			_, _ = io.WriteString(w, goodLine)
		}, status},
		"hangs up": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, unreachable},
		"without an end": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(bytes.Repeat([]byte(" "), 1<<16)); err != nil {
					return
				}
			}
		}, tooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body) // only then does the server notice a client that hangs up
				c.answer(w, r)
			}))
			defer s.Close()
			d := newDesk(t, s.URL, func(o *Options) {
				if c.want == late {
					o.Timeout = 20 * time.Millisecond
				}
			})
			if _, ok := d.once(web); ok || d.counted(c.want) != 1 {
				t.Errorf("used %v, %d counted as %s\n%s", ok, d.counted(c.want), c.want, &d.log)
			}
		})
	}
	gone := httptest.NewServer(nil)
	gone.Close()
	d := newDesk(t, gone.URL)
	if _, ok := d.once(web); ok || d.counted(unreachable) != 1 {
		t.Errorf("nobody there: used %v\n%s", ok, &d.log)
	}
}

func TestTheHTTPConfigFileIsForTLSAndTheLogin(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer s3cret" {
			http.Error(w, "who are you", http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, goodLine)
	}))
	defer s.Close()
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	ca := write("ca.pem", pemOf(s))
	for name, c := range map[string]struct {
		config string
		want   reason
	}{
		"as it should be": {`{"authorization": {"credentials": "s3cret"}, "tls_config": {"ca_file": "` + ca + `"}}`, used},
		"no login":        {`{"tls_config": {"ca_file": "` + ca + `"}}`, status},
		"unknown CA":      {`{"authorization": {"credentials": "s3cret"}}`, unreachable},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, s.URL, func(o *Options) { o.HTTPConfigFile = write("http.yml", c.config) })
			if _, ok := d.once(web); ok != (c.want == used) || d.counted(c.want) != 1 {
				t.Errorf("used %v, want %s\n%s", ok, c.want, &d.log)
			}
		})
	}
}

func TestWrongOptionsAreNamed(t *testing.T) {
	for want, o := range map[string]Options{
		`"forecaster:8080" is no URL`: {URL: "forecaster:8080"},
		`"none.yml": `:                {URL: "http://a", HTTPConfigFile: "none.yml", Logger: slog.Default(), Registerer: prometheus.NewRegistry()},
		"Logger and Registerer":       {URL: "http://a"},
	} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// Whatever the answer is, it is used whole and sound or not at all.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(goodLine))
	f.Add([]byte(`{"id":` + webID + `,"mean":[1,null,3],"quantiles":{"0.5":[1,2,3],"0.95":[1,2.5,-4]}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		a, bad := web.check(line)
		if bad != nil {
			return
		}
		if !json.Valid(line) || len(a.Mean) != 3 || len(a.Quantiles) != 2 || len(a.Quantiles[0]) != 3 || len(a.Quantiles[1]) != 3 {
			t.Fatalf("answer %+v of %q", a, line)
		}
		for i := range a.Mean {
			low, high := a.Quantiles[0][i], a.Quantiles[1][i]
			if !(a.Mean[i] >= 0 && a.Mean[i] <= maxValue && low >= 0 && low <= high && high <= maxValue) {
				t.Fatalf("answer %+v of %q", a, line)
			}
		}
	})
}

// pemOf is the server's certificate, which signs itself.
func pemOf(s *httptest.Server) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}

func TestATaskTellsOfSaturationClocksAndDays(t *testing.T) {
	task := web
	task.Saturated, task.TimeZone, task.Days = []bool{true, false, false, true}, "Europe/Berlin", map[string]string{"2026-12-25": "Sunday"}
	task.Scales = map[string]float64{"2026-11-27": 2.5}
	want := strings.Replace(webLine, "}\n", `,"saturated":[false,false,true],"time_zone":"Europe/Berlin","days":{"2026-12-25":"Sunday"},"scales":{"2026-11-27":2.5}}`+"\n", 1)
	if got := string(task.line()); got != want {
		t.Errorf("the line is\n%s, want\n%s", got, want)
	}
	task.Saturated, task.TimeZone, task.Days = make([]bool, 4), "", nil
	task.Scales = nil
	if got := string(task.line()); got != webLine {
		t.Errorf("with nothing to tell it is\n%s", got)
	}
}
