//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestTheReportIsReadThroughTheAPIServer installs the aggregated API and reads a policy's report as AHPA's users do.
func TestTheReportIsReadThroughTheAPIServer(t *testing.T) {
	apply(t, deployment("tide"))
	t.Cleanup(func() { kubectl(t, "delete", "ahpa/tide", "deployment/tide", "--ignore-not-found", "--wait") })
	kubectl(t, "rollout", "status", "deployment/tide", "--timeout=120s")
	drive(t, "tide", func(time.Time) float64 { return 0.5 })
	apply(t, ahpa("tide", "tide", "observer", 15, 60))
	withoutReports := func() {
		kubectl(t, "delete", "-f", repository+"/deploy/components/metrics-api/apiservice.yaml", "-f", repository+"/deploy/components/metrics-api/rbac.yaml", "--ignore-not-found")
		kubectl(t, "apply", "-k", repository+"/deploy/overlays/test-cluster")
		kubectl(t, "-n", "foretide-system", "rollout", "status", "deployment/foretide-aggregator", "--timeout=180s")
	}
	t.Cleanup(withoutReports)
	kubectl(t, "apply", "-k", "testdata/report")
	kubectl(t, "-n", "foretide-system", "rollout", "status", "deployment/foretide-aggregator", "--timeout=180s")
	kubectl(t, "wait", "--for=condition=Available", "apiservice/v1alpha1.metrics.foretide.dev", "--timeout=90s")
	say(t, "The API server has metrics.foretide.dev: the aggregator wrote its own authority into the APIService.")

	raw := "/apis/metrics.foretide.dev/v1alpha1/namespaces/default/predictionsobserver/tide"
	var object struct {
		Content []byte // base64 in JSON
		Report  struct {
			Name   string
			Advice struct{ Verdict, Text string }
			GPUs   struct {
				Actual, Quantile struct{ Values []*float64 }
			}
		}
	}
	eventually(t, "the report of the policy", 60*time.Second, func() (bool, string) {
		out, err := run("", "kubectl", "get", "--raw", raw)
		if err != nil {
			return false, err.Error()
		}
		return json.Unmarshal([]byte(out), &object) == nil && known(object.Report.GPUs.Quantile.Values) > 200, tail(out, 500)
	})
	page := string(object.Content)
	for _, want := range []string{"<!doctype html>", "Predict GPU Resource Observer", "Predict POD Observer", "default/tide", "strategy observer"} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not on the page", want)
		}
	}
	if n := known(object.Report.GPUs.Actual.Values); n < 1500 { // of 2016 in a week; the fortnight was imported
		t.Errorf("of %d five minutes the demand is known", n)
	}
	if object.Report.Advice.Verdict != "notYet" { // the import knows no pods
		t.Errorf("advice %+v", object.Report.Advice)
	}
	say(t, "%s (%d kB)", object.Report.Advice.Text, len(page)/1000)

	if out := kubectl(t, "api-resources", "--api-group=metrics.foretide.dev", "--no-headers"); !strings.Contains(out, "predictionsobserver") {
		t.Errorf("api-resources: %s", out)
	}
	file := filepath.Join(t.TempDir(), "observer.html")
	if out, err := run(repository, "bin/aggregator", "report", "--policy=default/tide", "--out="+file, "--kubernetes.kubeconfig="+os.Getenv("KUBECONFIG")); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if got, err := os.ReadFile(file); err != nil || !strings.HasPrefix(string(got), "<!doctype html>") {
		t.Errorf("aggregator report wrote %s (%v)", tail(string(got), 100), err)
	}
	if out, err := run("", "kubectl", "get", "--raw", raw, "--as=someone"); err == nil || !strings.Contains(err.Error(), "Forbidden") {
		t.Errorf("without rights: %s (%v)", out, err)
	}
	kubectl(t, "create", "rolebinding", "e2e-view", "-n", "default", "--clusterrole=view", "--user=someone")
	t.Cleanup(func() { kubectl(t, "delete", "rolebinding", "e2e-view", "-n", "default", "--ignore-not-found") })
	eventually(t, "the report for one who may view the namespace", 30*time.Second, func() (bool, string) {
		out, err := run("", "kubectl", "get", "--raw", raw, "--as=someone")
		return err == nil && strings.Contains(out, "PredictionsObserver"), tail(out, 200)
	})
}

// known counts the values that are not null.
func known(values []*float64) (n int) {
	for _, v := range values {
		if v != nil {
			n++
		}
	}
	return n
}
