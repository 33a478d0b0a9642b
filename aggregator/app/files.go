package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/foretide/foretide/aggregator/controller"
	"github.com/foretide/foretide/aggregator/engine"
	"github.com/foretide/foretide/aggregator/identity"
	"github.com/foretide/foretide/aggregator/workload"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// agentsReturn is how long after the start the agents are waited for, before it is believed that there are no pods but those
// they report: they try again every half a minute, and report every 15 s or more often.
const agentsReturn = time.Minute

// evictedAfter is how long a node may be silent before its pods are no longer believed to be there: Kubernetes notices within 50 s,
// and moves pods 300 s later (--node-monitor-grace-period, and the toleration of node.kubernetes.io/unreachable it gives every pod).
const evictedAfter = 6 * time.Minute

// withFiles adds what observes without Kubernetes: policies come from files, a workload's pods are those of the live view whose
// names begin with the scale target's, as the pods of Deployments do, and nothing is scaled.
func (a *aggregator) withFiles(ctx context.Context) error {
	policies, err := readPolicies(a.options.PoliciesPath)
	if err != nil {
		return fmt.Errorf("--policies.path: %w", err)
	}
	begin := time.Now()
	recorder, err := a.recordDemand(func() []workload.Workload {
		if time.Since(begin) < agentsReturn {
			return nil
		}
		var out []workload.Workload
		for _, p := range policies {
			t := a.seen(p, time.Now())
			out = append(out, workload.Workload{ID: t.ID, Pods: t.Pods})
		}
		return out
	})
	if err != nil {
		return err
	}
	a.namespaces = func() []string {
		return namespacesOf(policies, func(p *v1alpha1.AdvancedHorizontalPodAutoscaler) string { return p.Namespace })
	}
	metrics, err := a.otherMetrics(nil)
	if err != nil {
		return err
	}
	evaluator := a.evaluator(metrics)
	a.add("recorder", recorder.Start)
	a.add("observer", func(ctx context.Context) error {
		ticker := time.NewTicker(a.options.SyncInterval)
		defer ticker.Stop()
		said := map[types.UID]string{}
		for {
			now := time.Now()
			for _, p := range policies {
				a.observe(ctx, evaluator, p, now, said)
			}
			select {
			case <-ctx.Done():
				return nil
			case <-ticker.C:
			}
		}
	})
	tokens, err := identity.NewTokenFile(a.options.IngestTokenFile, a.log)
	if err != nil {
		return fmt.Errorf("--ingest.token-file: %w", err)
	}
	return a.serve(ctx, a.directory(), tokens.Authenticate, nil)
}

// observe decides one policy and logs the decision when it differs from the last.
func (a *aggregator) observe(ctx context.Context, evaluator *controller.Evaluator, policy *v1alpha1.AdvancedHorizontalPodAutoscaler, now time.Time, said map[types.UID]string) {
	target := a.seen(policy, now)
	if len(target.Pods) == 0 {
		evaluator.Forget(policy.UID)
		a.board.Forgotten(policy.Namespace, policy.Name) // what was decided on pods that are gone is not shown as the present
		if said[policy.UID] != "" {
			a.log.Info("no pods seen", "policy", policy.UID, "names_begin_with", policy.Spec.ScaleTargetRef.Name+"-")
			said[policy.UID] = ""
		}
		return
	}
	evaluation := evaluator.Evaluate(ctx, policy, toTarget(target), now)
	evaluation.Took = time.Since(now)
	a.board.Observed(evaluation)
	d := evaluation.Decision
	if line := fmt.Sprint(d.Replicas, d.Reason); line != said[policy.UID] {
		a.log.Info("decided", "policy", policy.UID, "replicas", d.Replicas, "current", target.Replicas, "reason", string(d.Reason), "message", d.Message)
		said[policy.UID] = line
	}
}

// podsSeen are those that agents report, here or to all shards, and those of agents that fell silent: nobody has said that they are
// gone, and without Kubernetes there is nobody else to ask.
func (a *aggregator) podsSeen(now time.Time) []engine.Pod {
	since := now.Add(-evictedAfter)
	if a.shared != nil {
		return a.shared.loads.Pods(since)
	}
	var out []engine.Pod
	for _, p := range a.view.Pods(since) {
		out = append(out, engine.Pod(p))
	}
	return out
}

// seen is a policy's scale target as far as agents report its pods.
func (a *aggregator) seen(policy *v1alpha1.AdvancedHorizontalPodAutoscaler, now time.Time) workload.Target {
	ref := policy.Spec.ScaleTargetRef
	target := workload.Target{ID: workload.ID{Namespace: policy.Namespace, Kind: ref.Kind, Name: ref.Name}}
	for _, p := range a.podsSeen(now) {
		if p.Namespace == policy.Namespace && strings.HasPrefix(p.Name, ref.Name+"-") {
			target.Pods = append(target.Pods, workload.Pod{Name: p.Name, Node: p.Node, State: workload.Ready, GPUs: float64(p.GPUs)})
		}
	}
	slices.SortFunc(target.Pods, func(x, y workload.Pod) int { return strings.Compare(x.Name, y.Name) })
	target.Replicas = int32(len(target.Pods))
	return target
}

// readPolicies reads every policy of a YAML file, or of the .yaml files of a directory.
func readPolicies(path string) ([]*v1alpha1.AdvancedHorizontalPodAutoscaler, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	files := []string{path}
	if info.IsDir() {
		if files, err = filepath.Glob(filepath.Join(path, "*.yaml")); err != nil {
			return nil, err
		}
	}
	var all []*v1alpha1.AdvancedHorizontalPodAutoscaler
	seen := map[types.UID]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for i, document := range bytes.Split(text, []byte("\n---")) {
			p, err := readPolicy(document)
			if err == nil && p != nil && seen[p.UID] {
				err = fmt.Errorf("metadata.name is %q in namespace %q: a policy before has the same", p.Name, p.Namespace)
			}
			if err != nil {
				return nil, fmt.Errorf("%s, document %d: %w", file, i+1, err)
			}
			if p != nil {
				seen[p.UID] = true
				all = append(all, p)
			}
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%q holds no policy: it must be a YAML file of them, or a directory of .yaml files", path)
	}
	return all, nil
}

// readPolicy returns nil for a document with nothing but comments.
func readPolicy(document []byte) (*v1alpha1.AdvancedHorizontalPodAutoscaler, error) {
	var anything any
	if err := yaml.Unmarshal(document, &anything); err == nil && anything == nil {
		return nil, nil
	}
	p := &v1alpha1.AdvancedHorizontalPodAutoscaler{}
	if err := yaml.UnmarshalStrict(document, p); err != nil {
		return nil, err
	}
	want := v1alpha1.GroupVersion().String()
	if p.APIVersion != want || p.Kind != v1alpha1.Kind {
		return nil, fmt.Errorf("apiVersion is %q, kind %q: they must be %q, %q", p.APIVersion, p.Kind, want, v1alpha1.Kind)
	}
	if p.Namespace == "" {
		p.Namespace = "default"
	}
	p.Spec.Default()
	p.UID = types.UID(p.Namespace + "/" + p.Name)
	if p.Name == "" {
		return nil, errors.New(`metadata.name is "": it must be given`)
	}
	return p, p.Spec.Validate()
}
