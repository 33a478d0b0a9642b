//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// forecasted are the workloads in whose history a recorded fortnight is, so that their forecasts have something to learn from.
var forecasted = []string{
	"default/Deployment/tide", "e2e-observer/Deployment/model", "e2e-auto/Deployment/model", "e2e-reactive/Deployment/model", "e2e-proactive/Deployment/model",
}

// install puts Foretide on the cluster as a user would, with a recorded fortnight already in the history of some workloads.
func install() error {
	steps := []struct {
		what string
		do   func() error
	}{
		{"apply deploy/overlays/test-cluster", func() error { return kube("apply", "-k", repository+"/deploy/overlays/test-cluster") }},
		{"wait for the custom resource", func() error {
			return kube("wait", "--for=condition=Established", "crd/advancedhorizontalpodautoscalers.autoscaling.foretide.dev", "--timeout=60s")
		}},
		{"remove what an earlier run left", func() error {
			if err := kube("delete", "namespace", "-l", sceneLabel, "--ignore-not-found", "--wait"); err != nil {
				return err
			}
			return kube("delete", "ahpa,deployment", "--all", "-n", "default", "--ignore-not-found", "--wait")
		}},
		{"stop the aggregator", func() error { return scaleAggregator(0) }},
		{"import the recorded fortnight", importHistory},
		{"start the aggregator", func() error { return scaleAggregator(1) }},
		{"restart the agent", func() error {
			if err := kube("-n", "foretide-system", "rollout", "restart", "daemonset/foretide-agent"); err != nil {
				return err
			}
			return kube("-n", "foretide-system", "rollout", "status", "daemonset/foretide-agent", "--timeout=180s")
		}},
	}
	for _, s := range steps {
		begin := time.Now()
		if err := s.do(); err != nil {
			diagnose()
			return fmt.Errorf("%s: %w", s.what, err)
		}
		fmt.Printf("%s  %s (%.1f s)\n", time.Now().Format("15:04:05"), s.what, time.Since(begin).Seconds())
	}
	return nil
}

func kube(args ...string) error {
	_, err := run("", "kubectl", args...)
	return err
}

func scaleAggregator(n int) error {
	if err := kube("-n", "foretide-system", "scale", "deployment/foretide-aggregator", fmt.Sprint("--replicas=", n)); err != nil {
		return err
	}
	if n == 0 {
		return kube("-n", "foretide-system", "wait", "--for=delete", "pod", "-l", "app.kubernetes.io/name=foretide-aggregator", "--timeout=120s")
	}
	return kube("-n", "foretide-system", "rollout", "status", "deployment/foretide-aggregator", "--timeout=180s")
}

// importHistory writes onto the volume the aggregator will find; the evening's rise is still to come.
func importHistory() error {
	entries, err := filepath.Glob(storePath + "/*")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(e); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(storePath, 0o755); err != nil {
		return err
	}
	for _, workload := range forecasted {
		out, err := run(repository, "bin/aggregator", "import", "--storage.path="+storePath, "--trace="+abs(traceFile), "--series="+traceSeries,
			"--workload="+workload, "--until="+beforePM.Format(time.RFC3339), fmt.Sprint("--scale=", gpusPerUnit))
		if err != nil {
			return err
		}
		fmt.Print(out)
	}
	// The image's user owns the volume, as fsGroup would have it on a volume that honours it.
	return exec.Command("chown", "-R", "65532:65532", storePath).Run()
}
