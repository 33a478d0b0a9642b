package metricsapi

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Where the API server says how it presents itself (kubernetes.io/docs, "Configure the aggregation layer"). It needs get on that one
// ConfigMap: the Role extension-apiserver-authentication-reader.
const (
	authNamespace = "kube-system"
	authConfigMap = "extension-apiserver-authentication"
)

const (
	// readEvery is how often that is read, readSoonest how soon again for a certificate that is not known: it may have changed just now.
	readEvery   = time.Minute
	readSoonest = 5 * time.Second
)

// User is who asks, as the API server says.
type User struct {
	Name, UID string
	Groups    []string
	Extra     map[string][]string
}

// FrontProxy knows the API server by its front-proxy certificate, and only believes who it says that asks when it shows that.
type FrontProxy struct {
	client kubernetes.Interface
	logger *slog.Logger
	now    func() time.Time

	mu      sync.Mutex
	trust   trust
	read    time.Time // when it was last tried
	problem string    // that was logged last
}

// trust is what the ConfigMap says.
type trust struct {
	roots                     *x509.CertPool // nil: not known
	names                     []string       // empty: any
	user, uid, groups, extras []string       // headers, and prefixes of headers
}

// NewFrontProxy returns one that reads the ConfigMap through the client when it is first asked.
func NewFrontProxy(client kubernetes.Interface, logger *slog.Logger, now func() time.Time) *FrontProxy {
	return &FrontProxy{client: client, logger: logger, now: now}
}

// Who returns who asks. An error says why that is not believed.
func (f *FrontProxy) Who(ctx context.Context, r *http.Request) (User, error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return User{}, errors.New("no client certificate: this API is asked through the Kubernetes API server")
	}
	known := f.current(ctx, readEvery)
	err := known.verify(r.TLS.PeerCertificates, f.now())
	if err != nil {
		known = f.current(ctx, readSoonest)
		err = known.verify(r.TLS.PeerCertificates, f.now())
	}
	if err != nil {
		return User{}, err
	}
	return known.userOf(r.Header)
}

// current is the trust, read anew when it is older than that. What cannot be read leaves what was known.
func (f *FrontProxy) current(ctx context.Context, atMost time.Duration) trust {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	if !f.read.IsZero() && now.Sub(f.read) < atMost {
		return f.trust
	}
	f.read = now
	fresh, err := f.fetch(ctx)
	problem := ""
	if err != nil {
		problem = err.Error()
	} else {
		f.trust = fresh
	}
	if problem != "" && problem != f.problem {
		f.logger.Warn("the API server's front-proxy certificate is not known anew; apply deploy/components/metrics-api for the right to read it", "err", err)
	}
	f.problem = problem
	return f.trust
}

func (f *FrontProxy) fetch(ctx context.Context) (trust, error) {
	found, err := f.client.CoreV1().ConfigMaps(authNamespace).Get(ctx, authConfigMap, metav1.GetOptions{})
	if err != nil {
		return trust{}, fmt.Errorf("read configmap %s/%s: %w", authNamespace, authConfigMap, err)
	}
	t := trust{roots: x509.NewCertPool()}
	if !t.roots.AppendCertsFromPEM([]byte(found.Data["requestheader-client-ca-file"])) {
		return trust{}, fmt.Errorf("configmap %s/%s: requestheader-client-ca-file holds no certificate: the API server needs --requestheader-client-ca-file", authNamespace, authConfigMap)
	}
	for key, list := range map[string]*[]string{
		"requestheader-allowed-names": &t.names, "requestheader-username-headers": &t.user, "requestheader-uid-headers": &t.uid,
		"requestheader-group-headers": &t.groups, "requestheader-extra-headers-prefix": &t.extras,
	} {
		if text := found.Data[key]; text != "" {
			if err := json.Unmarshal([]byte(text), list); err != nil {
				return trust{}, fmt.Errorf("configmap %s/%s: %s is %q: %w", authNamespace, authConfigMap, key, text, err)
			}
		}
	}
	return t, nil
}

// verify checks a client's certificate, the first of the chain it showed.
func (t trust) verify(chain []*x509.Certificate, now time.Time) error {
	if t.roots == nil {
		return errors.New("the API server's front-proxy authority is not known yet")
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: t.roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return fmt.Errorf("client certificate: %w", err)
	}
	if name := chain[0].Subject.CommonName; len(t.names) > 0 && !slices.Contains(t.names, name) {
		return fmt.Errorf("client certificate is of %q: the front proxy must be one of %q", name, t.names)
	}
	return nil
}

// userOf reads the headers (k8s.io/apiserver pkg/authentication/request/headerrequest).
func (t trust) userOf(h http.Header) (User, error) {
	u := User{Name: first(h, t.user), UID: first(h, t.uid)}
	if u.Name == "" {
		return User{}, fmt.Errorf("the front proxy names no user: none of the headers %q is set", t.user)
	}
	for _, name := range t.groups {
		u.Groups = append(u.Groups, h.Values(name)...)
	}
	for name, values := range h {
		for _, prefix := range t.extras {
			if len(name) > len(prefix) && strings.EqualFold(name[:len(prefix)], prefix) {
				if u.Extra == nil {
					u.Extra = map[string][]string{}
				}
				key := strings.ToLower(name[len(prefix):])
				if decoded, err := url.PathUnescape(key); err == nil {
					key = decoded
				}
				u.Extra[key] = append(u.Extra[key], values...)
			}
		}
	}
	return u, nil
}

func first(h http.Header, names []string) string {
	for _, name := range names {
		if v := h.Get(name); v != "" {
			return v
		}
	}
	return ""
}
