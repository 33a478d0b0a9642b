package metricsapi

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

// authority signs certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	a := authority{}
	a.certificate, a.key = a.sign(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, Subject: pkix.Name{CommonName: "ca"}})
	return a
}

// sign makes a certificate; the authority's own when there is none yet.
func (a authority) sign(t *testing.T, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.certificate, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, key
}

// client is a client certificate of that name.
func (a authority) client(t *testing.T, name string, usage x509.ExtKeyUsage) *tls.Certificate {
	t.Helper()
	certificate, key := a.sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: name}, ExtKeyUsage: []x509.ExtKeyUsage{usage}})
	return &tls.Certificate{Certificate: [][]byte{certificate.Raw}, PrivateKey: key}
}

func (a authority) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw}))
}

// server is the API with two policies, behind an API server that lets the user "reader" in the namespace default.
type server struct {
	*httptest.Server
	t      *testing.T
	api    *fake.Clientset
	now    time.Time
	asked  []authorizationv1.SubjectAccessReviewSpec
	broken error // of reports
	log    bytes.Buffer
}

func (s *server) Report(_ context.Context, policy Name) ([]byte, json.RawMessage, error) {
	if policy.Name != "fib-gpu" {
		return nil, nil, ErrNotFound
	}
	return []byte("<html>" + policy.Namespace), json.RawMessage(`{"a":1}`), s.broken
}

func (s *server) Policies(namespace string) []Name {
	if namespace == "default" {
		return []Name{{"default", "fib-gpu"}}
	}
	return []Name{{"default", "fib-gpu"}, {"prod", "web"}}
}

func newServer(t *testing.T, front authority) *server {
	t.Helper()
	s := &server{t: t, now: time.Now(), api: fake.NewClientset(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: authNamespace, Name: authConfigMap},
		Data: map[string]string{
			"requestheader-client-ca-file": front.pem(), "requestheader-allowed-names": `["front-proxy-client"]`,
			"requestheader-username-headers": `["X-Remote-User"]`, "requestheader-uid-headers": `["X-Remote-Uid"]`,
			"requestheader-group-headers": `["X-Remote-Group"]`, "requestheader-extra-headers-prefix": `["X-Remote-Extra-"]`,
		},
	})}
	s.api.PrependReactor("create", "subjectaccessreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
		review := action.(clienttesting.CreateAction).GetObject().(*authorizationv1.SubjectAccessReview).DeepCopy()
		s.asked = append(s.asked, review.Spec)
		if review.Spec.User == "unlucky" {
			return true, nil, errors.New("connection refused")
		}
		review.Status.Allowed = review.Spec.User == "reader" && review.Spec.ResourceAttributes.Namespace == "default"
		return true, review, nil
	})
	log := slog.New(slog.NewTextHandler(&s.log, nil))
	s.Server = httptest.NewUnstartedServer(Handler(Options{
		Reports: s, Proxy: NewFrontProxy(s.api, log, func() time.Time { return s.now }), Access: NewAccess(s.api), Logger: log,
	}))
	s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// get asks with a certificate as a user; none is asked as nobody.
func (s *server) get(certificate *tls.Certificate, path string, headers ...string) (int, string) {
	s.t.Helper()
	config := &tls.Config{RootCAs: s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, ServerName: "example.com"}
	if certificate != nil {
		config.Certificates = []tls.Certificate{*certificate}
	}
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.URL+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Add(headers[i], headers[i+1])
	}
	response, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}).Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

const front = "front-proxy-client"

func TestAReportIsReadThroughTheFrontProxyByWhomItLets(t *testing.T) {
	ca := newAuthority(t)
	s := newServer(t, ca)
	proxy := ca.client(t, front, x509.ExtKeyUsageClientAuth)
	code, body := s.get(proxy, Path("default", "fib-gpu"), "X-Remote-User", "reader", "X-Remote-Group", "a", "X-Remote-Group", "b",
		"X-Remote-Uid", "7", "X-Remote-Extra-Example.com%2fTeam", "x")
	want := `{"kind":"PredictionsObserver","apiVersion":"metrics.foretide.dev/v1alpha1","metadata":{"name":"fib-gpu","namespace":"default"},"content":"PGh0bWw+ZGVmYXVsdA==","report":{"a":1}}`
	if code != http.StatusOK || body != want {
		t.Errorf("%d %s\nwant %s", code, body, want)
	}
	review := authorizationv1.SubjectAccessReviewSpec{
		User: "reader", UID: "7", Groups: []string{"a", "b"}, Extra: map[string]authorizationv1.ExtraValue{"example.com/team": {"x"}},
		ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: "default", Verb: "get", Group: Group, Version: Version, Resource: Resource, Name: "fib-gpu"},
	}
	if d := cmp.Diff([]authorizationv1.SubjectAccessReviewSpec{review}, s.asked); d != "" {
		t.Errorf("reviews (-want +got):\n%s", d)
	}
}

func TestWhoMayNotIsToldWhy(t *testing.T) {
	ca := newAuthority(t)
	s := newServer(t, ca)
	proxy := ca.client(t, front, x509.ExtKeyUsageClientAuth)
	for _, c := range []struct {
		who    *tls.Certificate
		path   string
		user   string
		code   int
		says   string
		broken error
	}{
		{nil, Path("default", "fib-gpu"), "reader", 401, "no client certificate", nil},
		{nil, root, "reader", 401, "no client certificate", nil},
		{newAuthority(t).client(t, front, x509.ExtKeyUsageClientAuth), root, "reader", 401, "unknown authority", nil},
		{ca.client(t, "somebody", x509.ExtKeyUsageClientAuth), root, "reader", 401, `is of \"somebody\": the front proxy must be one of`, nil},
		{ca.client(t, front, x509.ExtKeyUsageServerAuth), root, "reader", 401, "incompatible key usage", nil},
		{proxy, root, "", 401, "names no user", nil},
		{proxy, Path("default", "fib-gpu"), "stranger", 403, "stranger may not get predictionsobserver.metrics.foretide.dev in namespace default", nil},
		{proxy, Path("prod", "fib-gpu"), "reader", 403, "in namespace prod", nil},
		{proxy, root + "/" + Resource, "reader", 403, "list predictionsobserver.metrics.foretide.dev in all namespaces", nil},
		{proxy, Path("default", "other"), "reader", 404, `\"other\" not found: there is no policy of that name`, nil},
		{proxy, Path("default", "fib-gpu"), "unlucky", 503, "access cannot be checked now", nil},
		{proxy, Path("default", "fib-gpu"), "reader", 503, "the history is closed", errors.New("the history is closed")},
		{proxy, "/openapi/v3", "reader", 404, "GET /openapi/v3 is not served here", nil},
	} {
		s.broken = c.broken
		code, body := s.get(c.who, c.path, "X-Remote-User", c.user)
		var status metav1.Status
		if err := json.Unmarshal([]byte(body), &status); err != nil || status.Kind != "Status" || int(status.Code) != code {
			t.Errorf("%s: %s is no Status of %d (%v)", c.path, body, code, err)
		}
		if code != c.code || !strings.Contains(body, c.says) {
			t.Errorf("%s as %q: %d %s; want %d, %s", c.path, c.user, code, body, c.code, c.says)
		}
	}
}

func TestDiscoveryAndLists(t *testing.T) {
	ca := newAuthority(t)
	s := newServer(t, ca)
	proxy := ca.client(t, front, x509.ExtKeyUsageClientAuth)
	for path, want := range map[string]string{
		"/apis":                                  `"groups":[{"kind":"APIGroup","apiVersion":"v1","name":"metrics.foretide.dev"`,
		"/apis/" + Group:                         `"preferredVersion":{"groupVersion":"metrics.foretide.dev/v1alpha1","version":"v1alpha1"}`,
		root:                                     `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"metrics.foretide.dev/v1alpha1","resources":[{"name":"predictionsobserver","singularName":"predictionsobserver","namespaced":true,"kind":"PredictionsObserver","verbs":["get","list"]}]}`,
		root + "/namespaces/default/" + Resource: `"items":[{"kind":"PredictionsObserver","apiVersion":"metrics.foretide.dev/v1alpha1","metadata":{"name":"fib-gpu","namespace":"default"}}]`,
	} {
		if code, body := s.get(proxy, path, "X-Remote-User", "reader"); code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s\nwant %s", path, code, body, want)
		}
	}
}

func TestANewFrontProxyAuthorityIsKnownWithinSeconds(t *testing.T) {
	old, fresh := newAuthority(t), newAuthority(t)
	s := newServer(t, old)
	before, after := old.client(t, front, x509.ExtKeyUsageClientAuth), fresh.client(t, front, x509.ExtKeyUsageClientAuth)
	if code, body := s.get(before, root, "X-Remote-User", "reader"); code != http.StatusOK {
		t.Fatalf("%d %s", code, body)
	}
	found, err := s.api.CoreV1().ConfigMaps(authNamespace).Get(t.Context(), authConfigMap, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	found.Data["requestheader-client-ca-file"] = fresh.pem()
	if _, err := s.api.CoreV1().ConfigMaps(authNamespace).Update(t.Context(), found, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	s.now = s.now.Add(readSoonest - time.Second)
	if code, _ := s.get(after, root, "X-Remote-User", "reader"); code != http.StatusUnauthorized {
		t.Errorf("%d: the API server is asked about each unknown certificate", code)
	}
	s.now = s.now.Add(time.Second)
	if code, body := s.get(after, root, "X-Remote-User", "reader"); code != http.StatusOK {
		t.Errorf("%d %s", code, body)
	}
	if code, _ := s.get(before, root, "X-Remote-User", "reader"); code != http.StatusUnauthorized {
		t.Errorf("the old one is let in: %d", code)
	}
}

func TestWhatIsKnownStaysWhileTheAPIServerIsAway(t *testing.T) {
	ca := newAuthority(t)
	s := newServer(t, ca)
	proxy := ca.client(t, front, x509.ExtKeyUsageClientAuth)
	if code, body := s.get(proxy, root, "X-Remote-User", "reader"); code != http.StatusOK {
		t.Fatalf("%d %s", code, body)
	}
	if err := s.api.CoreV1().ConfigMaps(authNamespace).Delete(t.Context(), authConfigMap, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		s.now = s.now.Add(2 * readEvery)
		if code, body := s.get(proxy, root, "X-Remote-User", "reader"); code != http.StatusOK {
			t.Errorf("%d %s", code, body)
		}
	}
	if n := strings.Count(s.log.String(), "is not known anew"); n != 1 {
		t.Errorf("told %d times:\n%s", n, s.log.String())
	}
}
