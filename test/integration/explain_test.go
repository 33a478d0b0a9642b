//go:build integration

package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// plugin is what kubectl runs for kubectl foretide: this test, under another name.
const plugin = "kubectl-foretide"

func foretide(t *testing.T, args ...string) (string, error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, plugin)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), apiServer.kubectl, append([]string{"foretide"}, args...)...)
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "KUBECONFIG="+apiServer.kubeconfig)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestKubectlForetideExplainsAPolicy(t *testing.T) {
	if err := apiServer.client.Create(t.Context(), manifest("explained")); err != nil {
		t.Fatal(err)
	}
	var policy v1alpha1.AdvancedHorizontalPodAutoscaler
	if err := apiServer.client.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "explained"}, &policy); err != nil {
		t.Fatal(err)
	}
	policy.Status = v1alpha1.AdvancedHorizontalPodAutoscalerStatus{
		ObservedGeneration: policy.Generation, CurrentReplicas: new(int32(2)), DesiredReplicas: new(int32(4)), ReactiveReplicas: new(int32(4)),
		Decision: &v1alpha1.DecisionStatus{Reason: "ReactiveDemand", Message: "utilization is 40%"},
	}
	if err := apiServer.client.Status().Update(t.Context(), &policy); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"explain", "ahpa/explained"}, {"explain", "explained", "-n", "default"}, {"explain", "--namespace=default", "ahpa/explained"}} {
		out, err := foretide(t, args...)
		if err != nil {
			t.Fatal(args, out, err)
		}
		for _, want := range []string{
			"Deployment bert in default: 2 replicas, and 4 replicas decided; the strategy is observer, so nothing is set\n",
			"Why: ReactiveDemand\n     utilization is 40%.\n",
			"Bounds     1 to 8, by spec.minReplicas and spec.maxReplicas\n",
			"more replicas when gpu is above 22%\n",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("%v: %q is not in:\n%s", args, want, out)
			}
		}
	}
	if out, err := foretide(t, "explain", "ahpa/unheard"); err == nil || !strings.Contains(out, `there is no policy "unheard" in namespace "default"`) {
		t.Errorf("of one that is not there: %v, %s", err, out)
	}
}
