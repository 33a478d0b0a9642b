package app

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/foretide/foretide/aggregator/metricsapi"
)

// serveMetricsAPI adds the aggregated API, where a flag asks for it. Whoever asks is known by the API server's word, and that one by its
// certificate.
func (a *aggregator) serveMetricsAPI(client kubernetes.Interface) error {
	if a.options.MetricsAPIAddress == "" {
		return nil
	}
	config := a.certificates.Clone()
	config.ClientAuth = tls.RequestClientCert // metricsapi looks at it
	a.add("metrics API's authority", func(ctx context.Context) error {
		metricsapi.Publish(ctx, client, a.authority, a.log)
		return nil
	})
	return a.http("metrics-api", a.options.MetricsAPIAddress, metricsapi.Handler(metricsapi.Options{
		Reports: reports{a}, Proxy: metricsapi.NewFrontProxy(client, a.log, time.Now), Access: metricsapi.NewAccess(client), Logger: a.log,
	}), config)
}

// reports are the aggregator's as the metrics API's.
type reports struct{ app *aggregator }

func (r reports) Report(ctx context.Context, policy metricsapi.Name) ([]byte, json.RawMessage, error) {
	made, found, err := r.app.findReport(ctx, policy.Namespace, policy.Name, false)
	if err == nil && !found {
		err = metricsapi.ErrNotFound
	}
	return made.page, made.data, err
}

// Policies are those that this replica decides.
func (r reports) Policies(namespace string) (out []metricsapi.Name) {
	b := r.app.board
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.latest {
		if namespace == "" || e.Namespace == namespace {
			out = append(out, metricsapi.Name{Namespace: e.Namespace, Name: e.Name})
		}
	}
	slices.SortFunc(out, func(x, y metricsapi.Name) int {
		return strings.Compare(x.Namespace+"/"+x.Name, y.Namespace+"/"+y.Name)
	})
	return out
}
