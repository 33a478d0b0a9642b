package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// api talks to one HTTPS server with a client certificate: the API server, or etcd for its health.
// A few plain requests do not need a client library.
type api struct {
	base   string
	client *http.Client
}

// newAPI makes a client with the named certificate of the cluster's authority.
func newAPI(l layout, base, name string) (*api, error) {
	ca, err := os.ReadFile(l.crt("ca"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	pair, err := tls.LoadX509KeyPair(l.crt(name), l.key(name))
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		Proxy:           nil, // a proxy set in the environment is for the outside
		TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}},
	}
	return &api{base: base, client: &http.Client{Transport: transport, Timeout: 10 * time.Second}}, nil
}

// errStatus is an answer other than 2xx.
type errStatus struct {
	code int
	text string
}

func (e errStatus) Error() string { return fmt.Sprintf("status %d: %s", e.code, e.text) }

func (a *api) do(ctx context.Context, method, path, contentType string, body []byte, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if resp.StatusCode/100 != 2 {
		if len(text) > 500 {
			text = text[:500]
		}
		return fmt.Errorf("%s %s: %w", method, path, errStatus{resp.StatusCode, string(text)})
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	return nil
}

func (a *api) get(ctx context.Context, path string, into any) error {
	return a.do(ctx, http.MethodGet, path, "", nil, into)
}

// apply creates the object or brings it to the given form by server-side apply; JSON is YAML too.
func (a *api) apply(ctx context.Context, path, object string) error {
	return a.do(ctx, http.MethodPatch, path+"?fieldManager=foretide-cluster&force=true", "application/apply-patch+yaml", []byte(object), nil)
}

// node is what the cluster looks at in the Node object.
type node struct {
	Status struct {
		Allocatable map[string]string `json:"allocatable"`
		Conditions  []struct {
			Type              string    `json:"type"`
			Status            string    `json:"status"`
			Message           string    `json:"message"`
			LastHeartbeatTime time.Time `json:"lastHeartbeatTime"`
		} `json:"conditions"`
	} `json:"status"`
}

// ready says whether the kubelet itself reported the node ready at or after the given time.
func (n node) ready(since time.Time) error {
	for _, c := range n.Status.Conditions {
		if c.Type != "Ready" {
			continue
		}
		if c.Status != "True" {
			return fmt.Errorf("node %s is not ready: %s", nodeName, c.Message)
		}
		if c.LastHeartbeatTime.Before(since.Truncate(time.Second)) {
			return fmt.Errorf("node %s: no report since the kubelet started", nodeName)
		}
		return nil
	}
	return fmt.Errorf("node %s has no Ready condition", nodeName)
}
