package scrape

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"
)

// maxHeaders bounds what a server may answer before the page.
const maxHeaders = 16 << 10

// Reason says in one word why a scrape failed.
type Reason string

// The reasons.
const (
	// ReasonConnect: there was no connection.
	ReasonConnect Reason = "connect"
	// ReasonTimeout: the answer was not complete in time.
	ReasonTimeout Reason = "timeout"
	// ReasonBroken: the connection broke, or what came over it was not HTTP or not TLS.
	ReasonBroken Reason = "broken"
	// ReasonRedirect: the answer pointed elsewhere. Nobody goes there.
	ReasonRedirect Reason = "redirect"
	// ReasonStatus: the answer was an error.
	ReasonStatus Reason = "status"
	// ReasonEncoding: the page was compressed, although that was not asked for.
	ReasonEncoding Reason = "encoding"
	// ReasonTooLarge: the page was larger than allowed, or had too many series.
	ReasonTooLarge Reason = "too_large"
	// ReasonFormat: the page was not in the Prometheus text format.
	ReasonFormat Reason = "format"
)

// Reasons lists every one.
func Reasons() []Reason {
	return []Reason{ReasonConnect, ReasonTimeout, ReasonBroken, ReasonRedirect, ReasonStatus, ReasonEncoding, ReasonTooLarge, ReasonFormat}
}

// failure is why one scrape failed, in words that do not change while the reason does not.
type failure struct {
	reason Reason
	text   string
}

// Error implements error.
func (f *failure) Error() string { return f.text }

// errElsewhere guards what cannot happen as long as redirects are not followed.
var errElsewhere = errors.New("only the pod's own address is dialled")

// client asks one pod and nobody else. It keeps one connection at most.
type client struct {
	target    Target
	transport *http.Transport
}

func newClient(t Target, timeout, idle time.Duration) *client {
	return &client{t, &http.Transport{
		Proxy:       nil, // whatever the environment says: the pod is on this node
		DialContext: dialOnly(t.Address()),
		// The pod's certificate is not verified. It has the name of a service rather than an address, from an authority that
		// only its clients know. There is no secret to give away: nothing but the question is sent, and what is read is shown to
		// anyone who asks.
		TLSClientConfig:        &tls.Config{InsecureSkipVerify: true},
		TLSHandshakeTimeout:    timeout,
		ResponseHeaderTimeout:  timeout,
		MaxResponseHeaderBytes: maxHeaders,
		DisableCompression:     true, // a small answer cannot become a large one
		MaxConnsPerHost:        1,
		MaxIdleConnsPerHost:    1,
		IdleConnTimeout:        idle,
		ReadBufferSize:         4 << 10,
		WriteBufferSize:        1 << 10,
	}}
}

// dialOnly dials one address, which has no name to look up.
func dialOnly(address string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, _, addr string) (net.Conn, error) {
		if addr != address {
			return nil, fmt.Errorf("%s instead of %s: %w", addr, address, errElsewhere)
		}
		var d net.Dialer
		return d.DialContext(ctx, "tcp", address)
	}
}

// close gives the connection back. It does not disturb a scrape.
func (c *client) close() { c.transport.CloseIdleConnections() }

// read asks for the page and reads it. The failure is nil when there was none.
func (c *client) read(ctx context.Context, p *page, timeout time.Duration, maxBytes int64) (content, *failure) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	said, err := c.ask(ctx, p, maxBytes)
	if err != nil {
		return content{}, explain(err, timeout)
	}
	return said, nil
}

// ask uses the transport alone: it follows no redirect and keeps no cookie.
func (c *client) ask(ctx context.Context, p *page, maxBytes int64) (content, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.target.URL(), nil)
	if err != nil {
		return content{}, err
	}
	request.Header.Set("User-Agent", "foretide-agent")
	request.Header.Set("Accept", "text/plain;version=0.0.4,*/*;q=0.1")
	request.Header.Set("Accept-Encoding", "identity")
	answer, err := c.transport.RoundTrip(request)
	if err != nil {
		return content{}, err
	}
	defer func() { _ = answer.Body.Close() }()
	encoding := answer.Header.Get("Content-Encoding")
	switch {
	case answer.StatusCode >= 300 && answer.StatusCode < 400:
		return content{}, &failure{ReasonRedirect, fmt.Sprintf("the answer is a redirect (%d) to %s, which is not followed: set the annotation %spath",
			answer.StatusCode, short(answer.Header.Get("Location")), ours)}
	case answer.StatusCode != http.StatusOK:
		return content{}, &failure{ReasonStatus, fmt.Sprintf("the answer is status %d", answer.StatusCode)}
	case encoding != "" && encoding != "identity":
		return content{}, &failure{ReasonEncoding, fmt.Sprintf("the page has the encoding %s, which was not asked for", short(encoding))}
	}
	return p.read(http.MaxBytesReader(nil, answer.Body, maxBytes))
}

// explain finds the reason, and words without the numbers of ports, which differ each time.
func explain(err error, timeout time.Duration) *failure {
	var known *failure
	var format *formatError
	var large *http.MaxBytesError
	var network net.Error
	var operation *net.OpError
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return &failure{ReasonTimeout, fmt.Sprintf("no complete answer within %v", timeout)}
	case errors.As(err, &large):
		return &failure{ReasonTooLarge, fmt.Sprintf("the page is larger than %d bytes", large.Limit)}
	case errors.Is(err, errTooManySeries):
		return &failure{ReasonTooLarge, err.Error()}
	case errors.As(err, &format), errors.Is(err, errCutShort):
		return &failure{ReasonFormat, err.Error()}
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return &failure{ReasonBroken, "the connection was closed before the answer was complete"}
	case errors.As(err, &operation) && operation.Op == "dial":
		return &failure{ReasonConnect, "connect: " + innermost(err)}
	}
	return &failure{ReasonBroken, "the connection broke: " + innermost(err)}
}

// innermost returns the words of the error that the others wrap.
func innermost(err error) string {
	for next := errors.Unwrap(err); next != nil; next = errors.Unwrap(err) {
		err = next
	}
	var number syscall.Errno
	if errors.As(err, &number) {
		return number.Error()
	}
	return short(err.Error()) // it may repeat what the server wrote
}
