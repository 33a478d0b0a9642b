//go:build e2e

package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestReadPathsAskWhoReads reads the aggregator's metrics over TLS as nobody, as somebody without and with permission.
func TestReadPathsAskWhoReads(t *testing.T) {
	kubectl(t, "create", "serviceaccount", "reader", "-n", "default")
	kubectl(t, "create", "clusterrolebinding", "e2e-reader", "--clusterrole=foretide-reader", "--serviceaccount=default:reader")
	t.Cleanup(func() {
		kubectl(t, "delete", "clusterrolebinding/e2e-reader", "--ignore-not-found")
		kubectl(t, "delete", "serviceaccount/reader", "-n", "default", "--ignore-not-found")
	})
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(kubectl(t, "-n", "foretide-system", "get", "configmap/foretide-ca", "-o", `jsonpath={.data.ca\.crt}`))) {
		t.Fatal("foretide-ca holds no certificate")
	}
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "foretide-aggregator.foretide-system.svc"},
	}}
	address := kubectl(t, "-n", "foretide-system", "get", "pods", "-l", "app.kubernetes.io/name=foretide-aggregator", "-o", "jsonpath={.items[0].status.podIP}")
	get := func(path, token string) (int, string) {
		t.Helper()
		request, err := http.NewRequest(http.MethodGet, "https://"+address+":8443"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			request.Header.Set("Authorization", "Bearer "+token)
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(body)
	}
	if code, body := get("/metrics", ""); code != http.StatusUnauthorized {
		t.Errorf("without a token: %d %s", code, body)
	}
	stranger := strings.TrimSpace(kubectl(t, "create", "token", "default", "-n", "default"))
	if code, body := get("/metrics", stranger); code != http.StatusForbidden {
		t.Errorf("without permission: %d %s", code, body)
	}
	reader := strings.TrimSpace(kubectl(t, "create", "token", "reader", "-n", "default"))
	code, body := get("/metrics", reader)
	if code != http.StatusOK || !strings.Contains(body, `foretide_node_last_batch_timestamp_seconds{node="foretide-node"}`) {
		t.Errorf("with permission: %d %s", code, tail(body, 500))
	}
	if code, body := get("/", reader); code != http.StatusOK || !strings.Contains(body, "<h1>Foretide</h1>") {
		t.Errorf("the page: %d %s", code, tail(body, 500))
	}
	if holder := kubectl(t, "-n", "foretide-system", "get", "lease/foretide-aggregator", "-o", "jsonpath={.spec.holderIdentity}"); !strings.HasPrefix(holder, "foretide-aggregator-") {
		t.Errorf("the Lease is held by %q, want the aggregator's pod", holder)
	}
	if log := kubectl(t, "-n", "foretide-system", "logs", "deployment/foretide-aggregator"); strings.Contains(log, "forbidden") {
		t.Errorf("a permission is missing:\n%s", log)
	}
}
