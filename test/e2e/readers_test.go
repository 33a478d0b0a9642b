//go:build e2e

package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"sort"
	"strings"
	"testing"
	"time"

	promapi "github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
)

// trusting reaches aggregators over TLS, and only those whose certificate is of the authority they publish.
func trusting(t *testing.T) http.RoundTripper {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(kubectl(t, "-n", "foretide-system", "get", "configmap/foretide-ca", "-o", `jsonpath={.data.ca\.crt}`))) {
		t.Fatal("foretide-ca holds no certificate")
	}
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "foretide-aggregator.foretide-system.svc"}}
}

// as logs in as a ServiceAccount of the namespace default.
func as(t *testing.T, account string, over http.RoundTripper) http.RoundTripper {
	t.Helper()
	token := strings.TrimSpace(kubectl(t, "create", "token", account, "-n", "default"))
	return config.NewAuthorizationCredentialsRoundTripper("Bearer", config.NewInlineSecret(token), over)
}

// asReader logs in as a ServiceAccount that may read, which is there until the test ends.
func asReader(t *testing.T, over http.RoundTripper) http.RoundTripper {
	t.Helper()
	t.Cleanup(func() {
		kubectl(t, "delete", "clusterrolebinding/e2e-reader", "--ignore-not-found")
		kubectl(t, "delete", "serviceaccount/reader", "-n", "default", "--ignore-not-found")
	})
	kubectl(t, "create", "serviceaccount", "reader", "-n", "default")
	kubectl(t, "create", "clusterrolebinding", "e2e-reader", "--clusterrole=foretide-reader", "--serviceaccount=default:reader")
	return as(t, "reader", over)
}

// aggregatorPods are the names of the aggregators' pods.
func aggregatorPods(t *testing.T) []string {
	t.Helper()
	return strings.Fields(kubectl(t, "-n", "foretide-system", "get", "pods", "-l", "app.kubernetes.io/name=foretide-aggregator",
		"-o", "jsonpath={.items[*].metadata.name}"))
}

// webOf is where an aggregator answers readers.
func webOf(t *testing.T, pod string) string {
	t.Helper()
	return "https://" + kubectl(t, "-n", "foretide-system", "get", "pod", pod, "-o", "jsonpath={.status.podIP}") + ":8443"
}

// get reads a page of an aggregator.
func get(t *testing.T, over http.RoundTripper, url string) (code int, body string) {
	t.Helper()
	response, err := (&http.Client{Transport: over}).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// question is what replicas must answer alike.
type question struct {
	promql string
	within promv1.Range
}

// fortnight asks for the history of the workload tide.
func fortnight() []question {
	end := time.Now().Truncate(time.Hour)
	within := promv1.Range{Start: end.AddDate(0, 0, -14), End: end, Step: time.Hour}
	return []question{{`avg_over_time(foretide_workload_demand_gpus{name="tide"}[1h])`, within}}
}

// telemetry asks for every sample of every device, and when it was taken, and what the pods used, from a moment until now.
func telemetry(from time.Time) []question {
	within := promv1.Range{Start: from.Truncate(time.Second), End: time.Now().Truncate(time.Second), Step: time.Second}
	return []question{
		{"foretide_device_utilization_ratio", within}, {"timestamp(foretide_device_utilization_ratio)", within},
		{"foretide_pod_utilization_ratio", within},
	}
}

// alike waits until all aggregators have something to answer, and the same.
func alike(t *testing.T, reader http.RoundTripper, questions []question, pods ...string) time.Duration {
	t.Helper()
	return eventually(t, strings.Join(pods, " and ")+" answer alike", 120*time.Second, func() (bool, string) {
		for _, q := range questions {
			var answers []string
			for _, pod := range pods {
				answer, err := ask(t, reader, pod, q)
				if err != nil {
					return false, fmt.Sprintf("%s, asked %s: %v", pod, q.promql, err)
				}
				if answers = append(answers, answer); answer == "" || answer != answers[0] {
					return false, fmt.Sprintf("%s: %d characters from %s, %d from %s", q.promql, len(answer), pod, len(answers[0]), pods[0])
				}
			}
		}
		return true, ""
	})
}

// ask asks an aggregator with PromQL. The answer is empty when there is nothing.
func ask(t *testing.T, reader http.RoundTripper, pod string, q question) (string, error) {
	t.Helper()
	client, err := promapi.NewClient(promapi.Config{Address: webOf(t, pod), RoundTripper: reader})
	if err != nil {
		return "", err
	}
	answer, _, _, err := promv1.NewAPI(client).QueryRange(t.Context(), q.promql, q.within)
	if err != nil {
		return "", err
	}
	series, ok := answer.(model.Matrix)
	if !ok {
		return "", fmt.Errorf("the answer is %T", answer)
	}
	sort.Sort(series) // they come in no order
	return series.String(), nil
}
