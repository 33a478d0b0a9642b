package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// flightPolicy is what is flown: a fleet of the same recording of which 1,000 requests/s are 50 busy GPUs, run close to what its pods can do.
const flightPolicy = `apiVersion: autoscaling.foretide.dev/v1alpha1
kind: AdvancedHorizontalPodAutoscaler
metadata: {name: foretide, namespace: default}
spec:
  scaleStrategy: auto
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: bert-intent-detection}
  metrics:
  - type: Resource
    resource: {name: gpu, target: {type: Utilization, averageUtilization: 90}}
  minReplicas: 1
  maxReplicas: 60
  prediction: {quantile: 95, scaleUpForward: auto}
`

// fly plays the second week of the recording in the simulator, with pods that take minutes to start, and leaves a page.
func (d *demo) fly(ctx context.Context) error {
	policy := filepath.Join(d.dir, "flight.yaml")
	if err := os.WriteFile(policy, []byte(flightPolicy), 0o600); err != nil {
		return err
	}
	page, err := os.CreateTemp("", "foretide-simulation-*.html")
	if err != nil {
		return err
	}
	if err := page.Close(); err != nil {
		return err
	}
	fmt.Print("First the simulator: a recorded week, after a week of history, on pods that take 5 to 8 minutes to start, decided by the policy and by others.\n\n")
	cmd := exec.CommandContext(ctx, "bin/aggregator", "simulate", "--trace="+traceFile, "--series="+traceSeries, "--scale=0.05", "--startup=5m,6m,7m,8m",
		"--policy="+policy, "--html="+page.Name())
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("aggregator simulate: %w", err)
	}
	fmt.Print("\nThe page has it with charts. aggregator tune looks for cheaper settings. Now live:\n\n")
	return nil
}
