//go:build integration

package integration

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/foretide/foretide/aggregator/app"
	"github.com/foretide/foretide/aggregator/identity"
	"github.com/foretide/foretide/aggregator/metricsapi"
)

// oneReport is the report of default/fib-gpu.
type oneReport struct{}

func (oneReport) Report(_ context.Context, policy metricsapi.Name) ([]byte, json.RawMessage, error) {
	if policy != (metricsapi.Name{Namespace: "default", Name: "fib-gpu"}) {
		return nil, nil, metricsapi.ErrNotFound
	}
	return []byte("<html>the page</html>"), json.RawMessage(`{"name":"fib-gpu"}`), nil
}

func (oneReport) Policies(string) []metricsapi.Name {
	return []metricsapi.Name{{Namespace: "default", Name: "fib-gpu"}}
}

// serveMetricsAPI serves the aggregated API with the deployed aggregator's rights and behind its certificate, and applies what
// deploy/components/metrics-api does. The Service is one that leads here.
func serveMetricsAPI(t *testing.T) {
	t.Helper()
	account := asAggregator(t)
	component := "../../deploy/components/metrics-api/"
	apply := func(manifest []byte, args ...string) {
		t.Helper()
		if out, err := kubectl(t, manifest, append([]string{"apply"}, args...)...); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	apply(nil, "-f", component+"rbac.yaml", "-f", component+"apiservice.yaml")
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		client := kubernetes.NewForConfigOrDie(apiServer.config)
		if err := client.Discovery().RESTClient().Delete().AbsPath("/apis/apiregistration.k8s.io/v1/apiservices/v1alpha1.metrics.foretide.dev").Do(ctx).Error(); err != nil {
			t.Error(err)
		}
	})
	client, err := kubernetes.NewForConfig(account)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	names := []string{"foretide-aggregator.foretide-system.svc"}
	managed, err := identity.NewManaged(t.Context(), identity.Secret{Client: client, Namespace: "foretide-system"}, names, time.Now(), log)
	if err != nil {
		t.Fatal(err)
	}
	config := identity.ServerTLS(managed.GetCertificate)
	config.ClientAuth = tls.RequestClientCert
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: metricsapi.Handler(metricsapi.Options{
		Reports: oneReport{}, Proxy: metricsapi.NewFrontProxy(client, log, time.Now), Access: metricsapi.NewAccess(client), Logger: log,
	}), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })

	// An address of a Service may not be loopback; a name may.
	port := listener.Addr().(*net.TCPAddr).Port
	apply(fmt.Appendf(nil, `
apiVersion: v1
kind: Service
metadata: {name: foretide-aggregator, namespace: foretide-system}
spec: {type: ExternalName, externalName: localhost, ports: [{name: metrics-api, port: %d}]}
`, port), "-f", "-")
	manifest, err := os.ReadFile(component + "apiservice.yaml")
	if err != nil {
		t.Fatal(err)
	}
	apply(bytes.Replace(manifest, []byte("port: 8444"), fmt.Appendf(nil, "port: %d", port), 1), "-f", "-")
	if err := metricsapi.PublishOnce(t.Context(), client, managed.CA()); err != nil {
		t.Fatal(err)
	}
	eventually(t, func(context.Context) string {
		out, err := kubectl(t, nil, "get", "apiservice", "v1alpha1.metrics.foretide.dev", "-o", `jsonpath={.status.conditions[?(@.type=="Available")]}`)
		if err != nil || !strings.Contains(out, `"status":"True"`) {
			return fmt.Sprintf("the API is available: %s (%v)", out, err)
		}
		return ""
	})
}

func TestReportsAreReadThroughTheAPIServer(t *testing.T) {
	serveMetricsAPI(t)
	raw := "/apis/metrics.foretide.dev/v1alpha1/namespaces/default/predictionsobserver/fib-gpu"
	out, err := kubectl(t, nil, "get", "--raw", raw)
	var object struct {
		Kind    string
		Content []byte // base64 in JSON
		Report  struct{ Name string }
	}
	if err != nil || json.Unmarshal([]byte(out), &object) != nil || string(object.Content) != "<html>the page</html>" || object.Report.Name != "fib-gpu" {
		t.Errorf("%s (%v)", out, err)
	}
	eventually(t, func(context.Context) string { // kubectl's discovery
		out, err := kubectl(t, nil, "api-resources", "--api-group=metrics.foretide.dev", "--no-headers")
		if fields := strings.Fields(out); err != nil || len(fields) != 4 || fields[0] != "predictionsobserver" || fields[3] != "PredictionsObserver" {
			return fmt.Sprintf("api-resources: %s (%v)", out, err)
		}
		return ""
	})
	if out, err := kubectl(t, nil, "get", "predictionsobserver", "-A", "--no-headers"); err != nil || !strings.Contains(out, "fib-gpu") {
		t.Errorf("list: %s (%v)", out, err)
	}
	if out, err := kubectl(t, nil, "get", "--raw", strings.Replace(raw, "fib-gpu", "other", 1)); err == nil || !strings.Contains(out, "NotFound") {
		t.Errorf("a policy that is not there: %s (%v)", out, err)
	}

	for name, want := range map[string][]byte{"page": []byte("<html>the page</html>"), "numbers": []byte(`{"name":"fib-gpu"}`)} {
		file := filepath.Join(t.TempDir(), name)
		args := []string{"--policy=default/fib-gpu", "--out=" + file, "--kubernetes.kubeconfig=" + apiServer.kubeconfig, fmt.Sprintf("--json=%v", name == "numbers")}
		if err := app.Report(t.Context(), args, t.Output()); err != nil {
			t.Error(err)
		}
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
			t.Errorf("aggregator report wrote %s (%v)", got, err)
		}
	}
}

func TestReportsAreForWhoMaySeeTheNamespace(t *testing.T) {
	serveMetricsAPI(t)
	raw := "/apis/metrics.foretide.dev/v1alpha1/namespaces/default/predictionsobserver/fib-gpu"
	out, err := kubectl(t, nil, "get", "--raw", raw, "--as=someone")
	if err == nil || !strings.Contains(out, "Forbidden") {
		t.Errorf("without rights: %s (%v)", out, err)
	}
	for _, args := range [][]string{
		{"create", "role", "reports", "-n", "default", "--verb=get", "--resource=predictionsobserver.metrics.foretide.dev"},
		{"create", "rolebinding", "reports", "-n", "default", "--role=reports", "--user=someone"},
	} {
		eventually(t, func(context.Context) string { // kubectl looks the resource up
			if out, err := kubectl(t, nil, args...); err != nil && !strings.Contains(out, "AlreadyExists") && !strings.Contains(out, "already exists") {
				return out
			}
			return ""
		})
	}
	eventually(t, func(context.Context) string { // the API server's own rules take a moment
		out, err := kubectl(t, nil, "get", "--raw", raw, "--as=someone")
		if err != nil || !strings.Contains(out, "PredictionsObserver") {
			return fmt.Sprintf("with rights: %s (%v)", out, err)
		}
		return ""
	})
	if out, err := kubectl(t, nil, "get", "predictionsobserver", "-n", "default", "--as=someone"); err == nil {
		t.Errorf("list is not get: %s", out)
	}
}

func TestTheAuthorityIsWrittenIntoTheAPIServiceWithTheDeployedRights(t *testing.T) {
	if out, err := kubectl(t, nil, "delete", "apiservice", "v1alpha1.metrics.foretide.dev", "--ignore-not-found"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	client, err := kubernetes.NewForConfig(asAggregator(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := metricsapi.PublishOnce(t.Context(), client, nil); err != nil {
		t.Errorf("without an authority of our own there is nothing to do: %v", err)
	}
	serveMetricsAPI(t)
	bundle := func() string {
		out, err := kubectl(t, nil, "get", "apiservice", "v1alpha1.metrics.foretide.dev", "-o", "jsonpath={.spec.caBundle}")
		text, bad := base64.StdEncoding.DecodeString(out)
		if err := errors.Join(err, bad); err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	secret, err := kubectl(t, nil, "get", "configmap", "foretide-ca", "-n", "foretide-system", "-o", `jsonpath={.data.ca\.crt}`)
	if err != nil {
		t.Fatal(err)
	}
	if got := bundle(); got != secret {
		t.Errorf("caBundle is %q, want what agents trust: %q", got, secret)
	}
	renewed := secret + secret
	if err := metricsapi.PublishOnce(t.Context(), client, []byte(renewed)); err != nil || bundle() != renewed {
		t.Errorf("a renewed authority is not written: %v", err)
	}
}
