package slices

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

const (
	serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount/"
	// maxRequest is how long one page may take.
	maxRequest = 10 * time.Second
	// pageSlices is how many slices a page has, of at most 128 devices each; maxPages bounds the list.
	pageSlices, maxPages = 50, 100
)

// versions are those that servers may have of resource.k8s.io: v1 from Kubernetes 1.34 on, v1beta2 from 1.33, v1beta1 from 1.32.
var versions = []string{"v1", "v1beta2", "v1beta1"}

// errNotServed says that a server has not the version of the API.
var errNotServed = errors.New("not served")

func (o Options) complete() Options {
	if host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT"); o.Server == "" && host != "" {
		o.Server = "https://" + net.JoinHostPort(host, port)
	}
	if o.TokenFile == "" {
		o.TokenFile = serviceAccount + "token"
	}
	if o.CAFile == "" {
		o.CAFile = serviceAccount + "ca.crt"
	}
	return o
}

// list returns the devices of the node, in the newest version of the API that the server has.
func (o Options) list(ctx context.Context) ([]Device, error) {
	token, err := o.token()
	if err != nil {
		return nil, err
	}
	client, err := o.client()
	if err != nil {
		return nil, err
	}
	defer client.CloseIdleConnections()
	for _, version := range versions {
		items, err := o.pages(ctx, client, token, version)
		if errors.Is(err, errNotServed) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return newest(items), nil
	}
	return nil, fmt.Errorf("the API server has no resource.k8s.io/%s: devices of claims are known by name only", strings.Join(versions, ", "))
}

// token is read anew each time: the kubelet replaces it long before it expires.
func (o Options) token() (string, error) {
	text, err := os.ReadFile(o.TokenFile)
	token := strings.TrimSpace(string(text))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("no ServiceAccount token at %s: the agent runs outside a cluster, or its pod has automountServiceAccountToken: false", o.TokenFile)
	case err != nil:
		return "", fmt.Errorf("ServiceAccount token: %w", err)
	case token == "":
		return "", fmt.Errorf("ServiceAccount token: %s is empty", o.TokenFile)
	case o.Server == "":
		return "", errors.New("KUBERNETES_SERVICE_HOST is not set: the agent runs outside a cluster")
	}
	return token, nil
}

// client reads the certificate authority anew each time, for it may have been renewed.
func (o Options) client() (*http.Client, error) {
	pem, err := os.ReadFile(o.CAFile)
	if err != nil {
		return nil, fmt.Errorf("certificate authority of the API server: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("certificate authority of the API server: %s holds no PEM certificate", o.CAFile)
	}
	return &http.Client{
		Timeout:       maxRequest,
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the token is for this server alone
	}, nil
}

// pages follows the list to its end.
func (o Options) pages(ctx context.Context, client *http.Client, token, version string) ([]slice, error) {
	var items []slice
	next := ""
	for range maxPages {
		query := url.Values{"fieldSelector": {"spec.nodeName=" + o.Node}, "limit": {fmt.Sprint(pageSlices)}}
		if next != "" {
			query.Set("continue", next)
		}
		page, err := get(ctx, client, token, o.Server+"/apis/resource.k8s.io/"+version+"/resourceslices?"+query.Encode())
		if err != nil {
			return nil, err
		}
		items = append(items, page.Items...)
		if next = page.Metadata.Continue; next == "" {
			return items, nil
		}
	}
	return nil, fmt.Errorf("the list of node %s has more than %d pages", o.Node, maxPages)
}

func get(ctx context.Context, client *http.Client, token, address string) (list, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return list{}, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Accept", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return list{}, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	if err != nil {
		return list{}, fmt.Errorf("answer of the API server: %w", err)
	}
	switch response.StatusCode {
	case http.StatusOK:
		return parseList(body)
	case http.StatusNotFound:
		return list{}, errNotServed
	case http.StatusForbidden:
		return list{}, errors.New(`the API server forbids the agent to list them: its ClusterRole needs the rule ` +
			`{apiGroups: [resource.k8s.io], resources: [resourceslices], verbs: [list]}`)
	case http.StatusUnauthorized:
		return list{}, fmt.Errorf("the API server does not accept the ServiceAccount token: %s", message(body))
	case http.StatusGone:
		return list{}, errors.New("the list expired while it was read; it is read again")
	}
	return list{}, fmt.Errorf("the API server answered %s: %s", response.Status, message(body))
}

// message takes the words out of an error of the API server.
func message(body []byte) string {
	var status struct {
		Message string `json:"message"`
	}
	text := string(body)
	if json.Unmarshal(body, &status) == nil && status.Message != "" {
		text = status.Message
	}
	const longest = 200
	return strings.ToValidUTF8(text[:min(len(text), longest)], "")
}
