// Command controller gives the shipped aggregator thousands of policies in a real kube-apiserver and etcd, with telemetry of all their
// pods, and says how long a pass over all policies takes, what the aggregator holds in memory meanwhile, and how often it writes when
// nothing changes. Pods and nodes are objects whose status is written once: nothing of them is run, for nothing else of them is read.
// Figures come last, one a line.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/foretide/foretide/test/swarm"
	"github.com/foretide/foretide/test/swarm/shipped"
)

// settings are the command's flags.
type settings struct {
	policies, podsPerPolicy, gpusPerNode int
	settle, length                       time.Duration
	binary, flags                        string
	apiServer, etcd, crd                 string
}

func main() {
	var s settings
	flag.IntVar(&s.policies, "policies", 5000, "how many policies, each of a Deployment of its own")
	flag.IntVar(&s.podsPerPolicy, "pods-per-policy", 4, "how many pods each Deployment has, with a GPU each")
	flag.IntVar(&s.gpusPerNode, "gpus", 8, "GPUs of each node, each with a pod")
	flag.DurationVar(&s.settle, "settle", 11*time.Minute, "how long to wait once every policy knows the load of its pods: in the first ten minutes more and more history is told of")
	flag.DurationVar(&s.length, "for", 2*time.Minute, "how long to measure then")
	flag.StringVar(&s.binary, "aggregator", "bin/aggregator", "the aggregator to start")
	flag.StringVar(&s.flags, "aggregator.flags", "", "further flags for it, separated by spaces")
	flag.StringVar(&s.apiServer, "kube-apiserver", os.Getenv("KUBE_APISERVER"), "the API server to start")
	flag.StringVar(&s.etcd, "etcd", "/usr/bin/etcd", "the etcd to start")
	flag.StringVar(&s.crd, "crd", "deploy/base/crd", "folder with the CRD")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := s.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "controller:", err)
		os.Exit(1)
	}
}

func (s settings) run(ctx context.Context) (err error) {
	ctrl.SetLogger(logr.Discard())
	env := &envtest.Environment{CRDDirectoryPaths: []string{s.crd}, ErrorIfCRDPathMissing: true,
		ControlPlaneStartTimeout: 2 * time.Minute, ControlPlaneStopTimeout: time.Minute}
	env.ControlPlane.GetAPIServer().Path = s.apiServer
	env.ControlPlane.Etcd = &envtest.Etcd{Path: s.etcd}
	defer func() { err = errors.Join(err, env.Stop()) }()
	config, err := env.Start()
	if err != nil {
		return fmt.Errorf("start the API server (--kube-apiserver %q, --etcd %q): %w", s.apiServer, s.etcd, err)
	}
	config.QPS = -1
	dir, err := os.MkdirTemp("", "foretide-controller-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.WriteFile(filepath.Join(dir, "kubeconfig"), env.KubeConfig, 0o600); err != nil {
		return err
	}
	w, err := newWorld(config, s)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := w.create(ctx); err != nil {
		return err
	}
	fmt.Printf("%d policies over %d pods on %d nodes were created in %v.\n",
		s.policies, s.policies*s.podsPerPolicy, s.nodes(), time.Since(began).Round(time.Second))
	return s.decide(ctx, w, config, dir)
}

// decide starts the aggregator and its agents, and measures.
func (s settings) decide(ctx context.Context, w *world, config *rest.Config, dir string) (err error) {
	a, err := shipped.NewAggregator(s.binary, dir, "")
	if err != nil {
		return err
	}
	flags := []string{"--kubernetes.enabled=true", "--kubernetes.kubeconfig=" + filepath.Join(dir, "kubeconfig"), "--policies.path=", "--log.level=warn"}
	if err := a.Start(append(flags, strings.Fields(s.flags)...)...); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Stop()) }()
	limit, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := a.Ready(limit); err != nil {
		return err
	}
	roots, err := w.roots(ctx)
	if err != nil {
		return err
	}
	fleet, err := swarm.Start(swarm.Options{Address: a.Ingest, Token: shipped.Token, Roots: roots, Agents: s.nodes(), Node: s.node(),
		Prefix: nodePrefix, Seed: seed, Join: 30 * time.Second})
	if err != nil {
		return err
	}
	defer fleet.Stop()
	if err := s.known(ctx, a); err != nil {
		return err
	}
	return s.measure(ctx, a, config)
}

func (s settings) nodes() int {
	return (s.policies*s.podsPerPolicy + s.gpusPerNode - 1) / s.gpusPerNode
}

// node is what each has: every load stays as it is, so that nothing of a policy changes.
func (s settings) node() swarm.NodeOptions {
	return swarm.NodeOptions{GPUs: s.gpusPerNode, PodsPerWorkload: s.podsPerPolicy, Calm: true}
}

const (
	nodePrefix = "node-"
	seed       = 1
)
