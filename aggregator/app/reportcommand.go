package app

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/discovery"

	"github.com/foretide/foretide/aggregator/engine"
	"github.com/foretide/foretide/aggregator/metricsapi"
)

// Report is `aggregator report`: it gets a policy's report out of a running aggregator, through the API server where that serves
// metrics.foretide.dev, or from the aggregator's own page.
func Report(ctx context.Context, args []string, out io.Writer) error {
	f := flag.NewFlagSet("aggregator report", flag.ContinueOnError)
	name := f.String("policy", "", "the `namespace/name` of the policy")
	file := f.String("out", "", "`file` to write to; empty: standard output")
	asJSON := f.Bool("json", false, "the numbers as JSON instead of the page")
	kubeconfig := f.String("kubernetes.kubeconfig", "", "`file` with access to the API server; empty: that of kubectl, or the pod's own")
	address := f.String("aggregator.url", "", "`URL` of an aggregator's page, such as http://127.0.0.1:8443, to ask that one; empty: the API server is asked, which needs deploy/components/metrics-api")
	login := f.String("aggregator.http-config-file", "", "`file` with the HTTP client settings of Prometheus' configuration (authorization, tls_config …) for --aggregator.url")
	if err := Parse(f, "Writes a policy's report: a week of demand and pods, the day to come, what the policy would have cost and carried.", args, out); err != nil {
		return err
	}
	namespace, policy, ok := strings.Cut(strings.TrimPrefix(*name, "ahpa/"), "/")
	if !ok || namespace == "" || policy == "" {
		return fmt.Errorf("--policy is %q: it must be namespace/name", *name)
	}
	get := func() ([]byte, error) { return reportOfAPI(ctx, *kubeconfig, namespace, policy, *asJSON) }
	if *address != "" {
		get = func() ([]byte, error) { return reportOfPage(ctx, *address, *login, namespace, policy, *asJSON) }
	}
	text, err := get()
	if err != nil {
		return err
	}
	if *file == "" {
		_, err = out.Write(text)
		return err
	}
	if err := os.WriteFile(*file, text, 0o644); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	return nil
}

// reportOfAPI asks the API server.
func reportOfAPI(ctx context.Context, kubeconfig, namespace, policy string, asJSON bool) ([]byte, error) {
	config, err := userConfig(userAccess(kubeconfig, ""))
	if err != nil {
		return nil, err
	}
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	text, err := client.RESTClient().Get().AbsPath(metricsapi.Path(namespace, policy)).DoRaw(ctx)
	if apierrors.IsNotFound(err) && !strings.Contains(err.Error(), policy) {
		return nil, fmt.Errorf("the API server does not serve %s: apply deploy/components/metrics-api, or give --aggregator.url", metricsapi.Group)
	}
	if err != nil {
		return nil, fmt.Errorf("report of policy %s/%s: %w", namespace, policy, err)
	}
	var object metricsapi.PredictionsObserver
	if err := json.Unmarshal(text, &object); err != nil {
		return nil, fmt.Errorf("report of policy %s/%s: %w", namespace, policy, err)
	}
	if asJSON {
		return object.Report, nil
	}
	return object.Content, nil
}

// reportOfPage asks an aggregator.
func reportOfPage(ctx context.Context, address, login, namespace, policy string, asJSON bool) ([]byte, error) {
	if !isURL(address) {
		return nil, fmt.Errorf("--aggregator.url is %q: it must be a URL such as http://127.0.0.1:8443", address)
	}
	var access engine.Access
	if login != "" {
		var err error
		if access, err = engine.LoadAccess(login); err != nil {
			return nil, fmt.Errorf("--aggregator.http-config-file: %w", err)
		}
	}
	client, err := access.Client()
	if err != nil {
		return nil, fmt.Errorf("--aggregator.http-config-file: %w", err)
	}
	at := strings.TrimRight(address, "/") + "/report/" + url.PathEscape(namespace) + "/" + url.PathEscape(policy)
	if asJSON {
		at += "?format=json"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("--aggregator.url: %w", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("--aggregator.url: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("--aggregator.url: %s: %s", response.Status, strings.TrimSpace(string(text)))
	}
	return text, nil
}
