// Package engine reads history back by PromQL over HTTP: from the engine that all shards of the aggregator write to, from a
// peer, or from a Prometheus that was there before.
//
//	engine ─ raw samples ──► Demand, WorkloadHistory     (history)
//	       └───────────────► Loads                       (now)
//	       └ any expression ► Range                      (import)
//
// The project's own series are read as the samples they were written as (a range selector, evaluated once), not through
// functions over them: that gives what the local store gives whatever the engine makes of a window's edges, of staleness or of
// an expression's latency (Prometheus 2 and 3, VictoriaMetrics and Thanos differ in all three). Replicas write the same series
// with other external labels; their samples are put together here, where of two for one moment the larger stands.
package engine

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	promconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
)

const (
	// DefaultTimeout is how long one request may take.
	DefaultTimeout = 30 * time.Second
	// tries is how often a request is made when the engine is away or overloaded, firstPause what lies between the first two; it
	// doubles.
	tries      = 4
	firstPause = 250 * time.Millisecond
)

// Options of a client.
type Options struct {
	// URL is where the engine's API is, without /api/v1, such as http://prometheus:9090, http://mimir/prometheus or
	// http://vmselect:8481/select/0/prometheus.
	URL    string
	Access Access
	// Timeout of one request; 0 is DefaultTimeout.
	Timeout time.Duration
}

// Access is how to log in. The zero value is no login, and the system's certificate authorities.
type Access struct{ config *promconfig.HTTPClientConfig }

// LoadAccess reads a file in the form of the HTTP client settings of Prometheus' configuration: basic_auth, authorization,
// oauth2, tls_config, http_headers, proxy_url and so on. Paths in it are relative to the file.
func LoadAccess(file string) (Access, error) {
	c, _, err := promconfig.LoadHTTPConfigFile(file)
	if err != nil {
		return Access{}, fmt.Errorf("%q: %w", file, err)
	}
	return Access{c}, nil
}

// NewAccess logs in with the bearer token in a file, trusts the certificate authority in a file, and sends headers such as
// X-Scope-OrgID; each may be empty. The files are read anew when they change.
func NewAccess(tokenFile, caFile string, headers map[string]string) (Access, error) {
	c := promconfig.DefaultHTTPClientConfig
	if tokenFile != "" {
		c.Authorization = &promconfig.Authorization{Type: "Bearer", CredentialsFile: tokenFile}
	}
	c.TLSConfig.CAFile = caFile
	if len(headers) > 0 {
		c.HTTPHeaders = &promconfig.Headers{Headers: map[string]promconfig.Header{}}
		for name, value := range headers {
			c.HTTPHeaders.Headers[name] = promconfig.Header{Values: []string{value}}
		}
	}
	if err := c.Validate(); err != nil {
		return Access{}, err
	}
	return Access{&c}, nil
}

// Client is an HTTP client that logs in so.
func (a Access) Client() (*http.Client, error) {
	config := a.config
	if config == nil {
		config = &promconfig.DefaultHTTPClientConfig
	}
	return promconfig.NewClientFromConfig(*config, "engine", promconfig.WithUserAgent("foretide-aggregator"))
}

// Client asks one engine. Its methods may be called at the same time.
type Client struct {
	api     v1.API
	url     string
	timeout time.Duration
	pause   time.Duration
}

// New returns a client; it connects when it is first asked for something.
func New(o Options) (*Client, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%q is no URL of an engine: it must be like http://prometheus:9090", o.URL)
	}
	httpClient, err := o.Access.Client()
	if err != nil {
		return nil, fmt.Errorf("access to %s: %w", u.Redacted(), err)
	}
	client, err := api.NewClient(api.Config{Address: base(*u), Client: httpClient})
	if err != nil {
		return nil, err
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	return &Client{api: v1.NewAPI(client), url: u.Redacted(), timeout: o.Timeout, pause: firstPause}, nil
}

// base is the URL that paths are added to. Its parameters go with every request: half an answer is to be an error, in the words
// of Thanos and of VictoriaMetrics' cluster, where the user does not say otherwise.
func base(u url.URL) string {
	u.Path = strings.TrimSuffix(strings.TrimRight(u.Path, "/"), "/api/v1")
	parameters := u.Query()
	for name, value := range map[string]string{"partial_response": "false", "deny_partial_response": "1"} {
		if !parameters.Has(name) {
			parameters.Set(name, value)
		}
	}
	u.RawQuery = parameters.Encode()
	return u.String()
}

// do makes a request until it has an answer: again after a failure that may pass, with pauses, at most so often.
func (c *Client) do(ctx context.Context, times int, request func(ctx context.Context) (model.Value, v1.Warnings, error)) (model.Matrix, error) {
	pause := c.pause
	for try := 1; ; try++ {
		value, err := c.once(ctx, request)
		if err == nil {
			return value, nil
		}
		if ctx.Err() != nil || try == times || !mayPass(err) {
			return nil, fmt.Errorf("%s: %w", c.url, err)
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, fmt.Errorf("%s: %w", c.url, err)
		case <-timer.C:
			pause *= 2
		}
	}
}

func (c *Client) once(ctx context.Context, request func(ctx context.Context) (model.Value, v1.Warnings, error)) (model.Matrix, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	value, warnings, err := request(ctx)
	if err != nil {
		return nil, explain(err)
	}
	// An engine that reached only part of its stores answers with a warning. A part must not be taken for the whole.
	if partial := partial(warnings); partial != "" {
		return nil, &v1.Error{Type: v1.ErrServer, Msg: "the answer is not whole: " + partial}
	}
	matrix, ok := value.(model.Matrix)
	if !ok {
		return nil, fmt.Errorf("the answer is a %v: it must be a matrix", value.Type())
	}
	return matrix, nil
}

// partial returns the first warning that is not a remark on the expression. Those are prefixed by Prometheus.
func partial(warnings v1.Warnings) string {
	for _, w := range warnings {
		if !strings.HasPrefix(w, "PromQL ") {
			return w
		}
	}
	return ""
}

// explain puts the beginning of what the engine said behind the bare status.
func explain(err error) error {
	var e *v1.Error
	if !errors.As(err, &e) || e.Detail == "" {
		return err
	}
	detail, _, _ := strings.Cut(strings.TrimSpace(e.Detail), "\n")
	if len(detail) > maxDetail {
		detail = detail[:maxDetail] + "…"
	}
	return fmt.Errorf("%w (%s)", err, detail)
}

const maxDetail = 300

// mayPass reports whether the same request may go well in a moment: nobody answered, a 5xx, or too many requests.
func mayPass(err error) bool {
	var e *v1.Error
	if !errors.As(err, &e) {
		return true
	}
	return e.Type == v1.ErrServer || e.Type == v1.ErrTimeout || e.Msg == fmt.Sprintf("client error: %d", http.StatusTooManyRequests)
}

// TooMuch reports whether a request failed in a way that asking for a shorter time may mend: it took too long, or the engine
// reached a limit.
func TooMuch(err error) bool {
	var e *v1.Error
	if !errors.As(err, &e) {
		return errors.Is(err, context.DeadlineExceeded)
	}
	return e.Type == v1.ErrExec || e.Type == v1.ErrTimeout || e.Type == v1.ErrServer ||
		e.Msg == fmt.Sprintf("client error: %d", http.StatusRequestEntityTooLarge)
}
