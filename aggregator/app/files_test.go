package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/foretide/foretide/aggregator/live"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
	"github.com/foretide/foretide/pkg/telemetry"
)

const webPolicy = `apiVersion: autoscaling.foretide.dev/v1alpha1
kind: AdvancedHorizontalPodAutoscaler
metadata: {name: web}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  metrics:
  - type: Resource
    resource: {name: gpu, target: {type: Utilization, averageUtilization: 20}}
  maxReplicas: 8
`

func TestPoliciesComeWithTheDefaultsOfTheAPI(t *testing.T) {
	text := "# the web\n---\n" + webPolicy + "---\n" + strings.ReplaceAll(webPolicy, "{name: web}", "{name: web, namespace: prod}") + "---\n"
	all, err := readPolicies(writeFile(t, "policies.yaml", text))
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 {
		t.Fatalf("%d policies, want 2", len(all))
	}
	p := all[0]
	if p.Namespace != "default" || p.UID != "default/web" || all[1].UID != "prod/web" {
		t.Errorf("%s/%s is %q, the other one %q", p.Namespace, p.Name, p.UID, all[1].UID)
	}
	if s := p.Spec; s.ScaleStrategy != v1alpha1.StrategyObserver || *s.MinReplicas != 1 || *s.StabilizationWindowSeconds != 300 ||
		*s.Prediction.Quantile != v1alpha1.DefaultQuantile || s.Prediction.ScaleUpForward.IntVal != 180 {
		t.Errorf("spec = %+v", s)
	}
}

func TestDirectoryOfPoliciesIsReadWhole(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.yaml": webPolicy, "b.yaml": strings.ReplaceAll(webPolicy, "name: web", "name: api"), "notes.txt": "no policy", "empty.yaml": "",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all, err := readPolicies(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 || all[0].Name != "web" || all[1].Name != "api" {
		t.Errorf("%d policies", len(all))
	}
}

func TestWrongPoliciesAreNamed(t *testing.T) {
	swap := func(old, replacement string) string { return strings.Replace(webPolicy, old, replacement, 1) }
	for want, text := range map[string]string{
		`document 1: error converting YAML to JSON`:                                                       swap("spec:", "spec: ["),
		`document 1: apiVersion is "apps/v1", kind "Deployment": they must be "autoscaling.foretide`:      "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n",
		`document 1: apiVersion is "", kind "": they must be "autoscaling.foretide.dev/v1alpha1", "`:      "metadata: {name: web}\n",
		`document 1: error unmarshaling JSON: while decoding JSON: json: unknown field "maxReplica"`:      swap("maxReplicas", "maxReplica"),
		`document 1: metadata.name is "": it must be given`:                                               swap("{name: web}", "{}"),
		`spec.metrics[0].resource.target.averageUtilization is 0: it must be 1 to 100`:                    swap("averageUtilization: 20", "averageUtilization: 0"),
		`spec.maxReplicas is 8: it must be minReplicas (9) or more`:                                       webPolicy + "  minReplicas: 9\n",
		`spec.prediction.quantile is 100: it must be 1 to 99`:                                             webPolicy + "  prediction: {quantile: 100}\n",
		`spec.scaleStrategy is "manual": it must be observer, auto, scalingUpOnly, proactive or reactive`: webPolicy + "  scaleStrategy: manual\n",
		`document 2: metadata.name is "web" in namespace "default": a policy before has the same`:         webPolicy + "---\n" + webPolicy,
		`policies.yaml" holds no policy: it must be a YAML file of them`:                                  "# nothing yet\n",
	} {
		path := writeFile(t, "policies.yaml", text)
		_, err := readPolicies(path)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("error %v\nwant  %s", err, want)
		}
	}
	if _, err := readPolicies(filepath.Join(t.TempDir(), "none")); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("error = %v", err)
	}
	if _, err := readPolicies(t.TempDir()); err == nil || !strings.Contains(err.Error(), "holds no policy") {
		t.Errorf("empty directory: %v", err)
	}
}

func TestPodsOfANodeThatFellSilentAreStillThere(t *testing.T) {
	view, err := live.New(live.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a := &aggregator{view: view}
	begin := time.Unix(1_700_000_000, 0)
	var framer telemetry.Framer
	view.Put(framer.Frame(telemetry.Batch{Node: "n1", Session: "s", Sequence: 1, Start: begin.Add(-time.Second), End: begin, OwnersKnown: true,
		Usages: []telemetry.Usage{{Owner: telemetry.Owner{Namespace: "default", Pod: "web-0", Container: "main"}, DeviceUUID: "GPU-0",
			Values: telemetry.Values{telemetry.UtilizationMean: 0.5}}}}), begin)
	policies, err := readPolicies(writeFile(t, "policies.yaml", webPolicy))
	if err != nil {
		t.Fatal(err)
	}
	for after, want := range map[time.Duration]int32{0: 1, live.DefaultStaleAfter + time.Second: 1, evictedAfter + time.Second: 0} {
		target := a.seen(policies[0], begin.Add(after))
		if target.Replicas != want {
			t.Errorf("%v after the last word of its node there are %d replicas, want %d: %+v", after, target.Replicas, want, target.Pods)
		}
	}
}
