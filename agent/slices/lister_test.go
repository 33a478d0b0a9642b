package slices

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	resourcev1 "k8s.io/api/resource/v1"
)

// apiServer is an API server that answers as the test says.
type apiServer struct {
	*httptest.Server
	o     Options
	calls atomic.Int32

	mu     sync.Mutex
	answer http.HandlerFunc
}

func serve(t *testing.T, answer http.HandlerFunc) *apiServer {
	t.Helper()
	s := &apiServer{answer: answer}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.calls.Add(1)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.answer(w, r)
	}))
	t.Cleanup(s.Close)
	s.o = Options{Node: "node-1", Server: s.URL, TokenFile: filepath.Join(t.TempDir(), "token"), CAFile: filepath.Join(t.TempDir(), "ca.crt")}
	write(t, s.o.TokenFile, "secret\n")
	write(t, s.o.CAFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	return s
}

func (s *apiServer) becomes(answer http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// run starts a lister; answered waits until it has asked once more.
func run(t *testing.T, o Options) (l *Lister, answered func()) {
	t.Helper()
	l = New(o)
	l.pause = pauses{time.Millisecond, time.Millisecond}
	asked := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	l.asked = func() {
		select {
		case asked <- struct{}{}:
		case <-ctx.Done():
		}
	}
	done := make(chan struct{})
	go func() { defer close(done); l.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return l, func() {
		t.Helper()
		select {
		case <-asked:
		case <-time.After(20 * time.Second):
			t.Fatal("the lister did not ask in 20 s")
		}
	}
}

func slicesOf(t *testing.T, list resourcev1.ResourceSliceList) http.HandlerFunc {
	body := encode(t, list)
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }
}

func refuse(code int, words string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = fmt.Fprintf(w, `{"kind":"Status","message":%q}`, words)
	}
}

func TestDeviceIsKnownAfterItWasWanted(t *testing.T) {
	var request http.Request
	list := apiList(apiSlice("node-1", 1, [3]string{"gpu-0", "uuid", "GPU-0"}))
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		request = *r
		slicesOf(t, list)(w, r)
	})
	l, answered := run(t, s.o)
	if _, known := l.Lookup("gpu.nvidia.com", "node-1", "gpu-0"); known || s.calls.Load() != 0 {
		t.Errorf("known %v after %d questions; nothing was wanted", known, s.calls.Load())
	}
	l.Want("gpu.nvidia.com", "node-1", "gpu-0")
	answered()
	if d, known := l.Lookup("gpu.nvidia.com", "node-1", "gpu-0"); !known || d.UUID != "GPU-0" || l.Problem() != "" {
		t.Errorf("device %+v, known %v, problem %q", d, known, l.Problem())
	}
	if _, known := l.Lookup("gpu.nvidia.com", "node-2", "gpu-0"); known {
		t.Error("a device of another pool is known")
	}
	if got := request.URL.Path + " " + request.URL.Query().Get("fieldSelector") + " " + request.Header.Get("Authorization"); got !=
		"/apis/resource.k8s.io/v1/resourceslices spec.nodeName=node-1 Bearer secret" {
		t.Errorf("request was %s", got)
	}
	// The instance was made anew, and the caller sees that the UUID is none of the node's.
	s.becomes(slicesOf(t, apiList(apiSlice("node-1", 2, [3]string{"gpu-0", "uuid", "GPU-new"}))))
	l.Want("gpu.nvidia.com", "node-1", "gpu-0")
	answered()
	if d, _ := l.Lookup("gpu.nvidia.com", "node-1", "gpu-0"); d.UUID != "GPU-new" {
		t.Errorf("UUID is %q; want the new one", d.UUID)
	}
}

func TestDeviceThatNoSliceHasIsNamed(t *testing.T) {
	s := serve(t, slicesOf(t, apiList()))
	l, answered := run(t, s.o)
	for _, name := range []string{"gpu-0", "gpu-1", "gpu-2", "gpu-3", "gpu-4"} {
		l.Want("gpu.nvidia.com", "node-1", name)
	}
	answered()
	if l.Problem() == "" { // the first was wanted alone when the question began
		t.Error("no problem though a device is not known")
	}
	s.becomes(slicesOf(t, apiList(apiSlice("node-1", 1, [3]string{"gpu-0", "uuid", "GPU-0"}))))
	for l.Problem() != "" {
		l.Want("gpu.nvidia.com", "node-1", "gpu-0")
		answered()
	}
}

func TestProblemNamesAFewOfManyDevices(t *testing.T) {
	l := New(Options{Node: "n"})
	wanted := map[key]bool{}
	for i := range 5 {
		wanted[key{"d", "p", fmt.Sprint("gpu-", i)}] = true
	}
	if got := l.missing(wanted); !strings.Contains(got, "p/gpu-0 of d, p/gpu-1 of d, p/gpu-2 of d and 2 more") {
		t.Errorf("problem is %q", got)
	}
}

func TestPagesAreFollowedAndTheNewestGenerationIsThatOfAll(t *testing.T) {
	first := apiList(apiSlice("node-1", 1, [3]string{"gpu-0", "uuid", "old"}))
	first.Continue = "more"
	second := apiList(apiSlice("node-1", 2, [3]string{"gpu-0", "uuid", "new"}))
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("continue") == "more" {
			slicesOf(t, second)(w, r)
			return
		}
		slicesOf(t, first)(w, r)
	})
	devices, err := s.o.list(t.Context())
	if err != nil || len(devices) != 1 || devices[0].UUID != "new" || s.calls.Load() != 2 {
		t.Errorf("devices %+v, %v after %d pages; want the new one after two", devices, err, s.calls.Load())
	}
	s.becomes(slicesOf(t, first))
	if _, err := s.o.list(t.Context()); err == nil || !strings.Contains(err.Error(), "more than 100 pages") {
		t.Errorf("error = %v; want an end to endless pages", err)
	}
}

func TestOlderServersAreAskedInTheirVersion(t *testing.T) {
	for _, version := range versions {
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/apis/resource.k8s.io/"+version+"/resourceslices" {
				slicesOf(t, apiList(apiSlice("p", 1, [3]string{"gpu-0", "uuid", "GPU-0"})))(w, r)
				return
			}
			http.NotFound(w, r)
		})
		if devices, err := s.o.list(t.Context()); err != nil || len(devices) != 1 {
			t.Errorf("%s: devices %v, error %v", version, devices, err)
		}
	}
}

func TestWhatGoesWrongSaysWhatToDo(t *testing.T) {
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"forbidden":    {refuse(403, "forbidden"), "resources: [resourceslices], verbs: [list]"},
		"unauthorized": {refuse(401, "expired"), "does not accept the ServiceAccount token: expired"},
		"not served":   {refuse(404, "none"), "has no resource.k8s.io/v1, v1beta2, v1beta1"},
		"broken":       {refuse(500, strings.Repeat("é", 500)), "500 Internal Server Error: ééé"},
		"gone":         {refuse(410, "old"), "expired"},
		"elsewhere":    {http.RedirectHandler("https://example.invalid/", http.StatusFound).ServeHTTP, "302 Found"},
		"no JSON":      {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }, "list of ResourceSlices"},
		"too much":     {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, maxBody+1)) }, "more than 8 MiB"},
	} {
		s := serve(t, test.answer)
		l, answered := run(t, s.o)
		l.Want("gpu.nvidia.com", "node-1", "gpu-0")
		answered()
		if got := l.Problem(); !strings.Contains(got, test.want) || !strings.HasPrefix(got, "resourceslices: ") || strings.Contains(got, "secret") {
			t.Errorf("%s: problem is %q; want %q in it", name, got, test.want)
		}
	}
}

func TestOutsideAClusterIsSaid(t *testing.T) {
	s := serve(t, refuse(500, ""))
	none := s.o
	none.TokenFile = filepath.Join(t.TempDir(), "none")
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	nowhere := s.o
	nowhere.Server = ""
	empty := s.o
	empty.TokenFile = filepath.Join(t.TempDir(), "empty")
	write(t, empty.TokenFile, " \n")
	strange := s.o
	strange.CAFile = empty.TokenFile
	for want, o := range map[string]Options{"outside a cluster, or": none, "KUBERNETES_SERVICE_HOST is not set": nowhere, "is empty": empty, "no PEM": strange} {
		if _, err := o.complete().list(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error = %v; want %q in it", err, want)
		}
	}
	if s.calls.Load() != 0 {
		t.Errorf("the server was asked %d times", s.calls.Load())
	}
}

func TestPodFindsItsServer(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
	t.Setenv("KUBERNETES_SERVICE_PORT", "443")
	if got := (Options{}).complete(); got.Server != "https://[fd00::1]:443" || got.TokenFile != "/var/run/secrets/kubernetes.io/serviceaccount/token" {
		t.Errorf("options are %+v", got)
	}
}

// selfSigned returns a new certificate, in PEM.
func selfSigned(t *testing.T) string {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	certificate := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true}
	der, err := x509.CreateCertificate(rand.Reader, certificate, certificate, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestServerOfAnotherAuthorityIsNotTrusted(t *testing.T) {
	s := serve(t, slicesOf(t, apiList()))
	// A certificate, but not the server's.
	write(t, s.o.CAFile, selfSigned(t))
	if _, err := s.o.list(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") || s.calls.Load() != 0 {
		t.Errorf("error = %v after %d questions; want one about the certificate, and the token kept", err, s.calls.Load())
	}
}

func TestWhatWasKnownStaysAndTheTokenIsReadAnew(t *testing.T) {
	s := serve(t, slicesOf(t, apiList(apiSlice("p", 1, [3]string{"gpu-0", "uuid", "GPU-0"}))))
	l, answered := run(t, s.o)
	l.Want("gpu.nvidia.com", "p", "gpu-0")
	answered()
	s.becomes(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer renewed" {
			refuse(401, "expired")(w, r)
			return
		}
		slicesOf(t, apiList(apiSlice("p", 1, [3]string{"gpu-0", "uuid", "GPU-1"})))(w, r)
	})
	l.Want("gpu.nvidia.com", "p", "gpu-0")
	answered()
	if d, known := l.Lookup("gpu.nvidia.com", "p", "gpu-0"); !known || d.UUID != "GPU-0" || l.Problem() == "" {
		t.Errorf("device %+v, known %v, problem %q; want what was known before, and why", d, known, l.Problem())
	}
	write(t, s.o.TokenFile, "renewed")
	l.Want("gpu.nvidia.com", "p", "gpu-0")
	answered()
	if d, _ := l.Lookup("gpu.nvidia.com", "p", "gpu-0"); d.UUID != "GPU-1" || l.Problem() != "" {
		t.Errorf("device %+v, problem %q", d, l.Problem())
	}
}

func TestManyWishesAreOneQuestion(t *testing.T) {
	s := serve(t, slicesOf(t, apiList()))
	l := New(s.o)
	l.pause.every = time.Hour
	l.asked = func() {}
	for range 1000 { // as many ticks
		l.Want("gpu.nvidia.com", "p", "gpu-0")
	}
	ctx, cancel := context.WithCancel(t.Context())
	l.asked = cancel
	l.Run(ctx)
	if s.calls.Load() != 1 {
		t.Errorf("%d questions; want one", s.calls.Load())
	}
}
