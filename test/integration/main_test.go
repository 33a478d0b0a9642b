//go:build integration

// Package integration tries what an API server decides on a real one: the schema of the policy, and the controller's reads and
// writes. KUBE_APISERVER and ETCD name the two binaries; kubectl is expected beside the first.
package integration

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/go-logr/logr"

	"github.com/foretide/foretide/aggregator/app"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// apiServer is the one every test talks to.
var apiServer struct {
	config     *rest.Config
	client     client.Client
	kubectl    string
	kubeconfig string
}

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == plugin { // kubectl runs it
		if err := app.Explain(context.Background(), os.Args[2:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "integration:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	ctrl.SetLogger(logr.Discard())
	env := &envtest.Environment{
		CRDDirectoryPaths:        []string{filepath.Join("..", "..", "deploy", "base", "crd")},
		ErrorIfCRDPathMissing:    true,
		ControlPlaneStartTimeout: 2 * time.Minute,
		ControlPlaneStopTimeout:  time.Minute,
	}
	if env.ControlPlane.GetAPIServer().Path, err = binary("KUBE_APISERVER"); err != nil {
		return 0, err
	}
	env.ControlPlane.Etcd = &envtest.Etcd{}
	if env.ControlPlane.Etcd.Path, err = binary("ETCD"); err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "foretide-integration-")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	flags, err := frontProxy(dir)
	if err != nil {
		return 0, err
	}
	for flag, value := range flags {
		env.ControlPlane.GetAPIServer().Configure().Set(flag, value)
	}
	apiServer.kubectl = filepath.Join(filepath.Dir(env.ControlPlane.GetAPIServer().Path), "kubectl")
	if _, err := os.Stat(apiServer.kubectl); err != nil {
		return 0, fmt.Errorf("kubectl beside $KUBE_APISERVER: %w", err)
	}
	defer func() { // also when the start failed, which may be after the API server began
		if stop := env.Stop(); stop != nil && err == nil {
			err = fmt.Errorf("stop the API server: %w", stop)
		}
	}()
	if apiServer.config, err = env.Start(); err != nil {
		return 0, fmt.Errorf("start the API server: %w", err)
	}
	apiServer.kubeconfig = filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(apiServer.kubeconfig, env.KubeConfig, 0o600); err != nil {
		return 0, err
	}
	if apiServer.client, err = client.New(apiServer.config, client.Options{Scheme: scheme()}); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

func binary(variable string) (string, error) {
	path := os.Getenv(variable)
	if path == "" {
		return "", fmt.Errorf("$%s is empty: it must be the path of the binary (make integration sets it)", variable)
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("$%s: %w", variable, err)
	}
	return path, nil
}

func scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			panic(err)
		}
	}
	return s
}

// kubectl runs it against the API server and returns what it printed.
func kubectl(t *testing.T, stdin []byte, args ...string) (string, error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), apiServer.kubectl, append([]string{"--kubeconfig", apiServer.kubeconfig}, args...)...)
	if stdin != nil {
		in, err := command.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			_, _ = in.Write(stdin)
			_ = in.Close()
		}()
	}
	out, err := command.CombinedOutput()
	return string(out), err
}

// eventually asks until the answer is "", for as long as a real API server may need; the last answer says what was missing.
func eventually(t *testing.T, missing func(context.Context) string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	last := "no answer"
	for tick := time.NewTicker(100 * time.Millisecond); ; {
		answer := missing(ctx)
		if answer == "" {
			tick.Stop()
			return
		}
		if ctx.Err() == nil {
			last = answer // the answer that was cut off says nothing
		}
		select {
		case <-ctx.Done():
			tick.Stop()
			t.Fatalf("still after 30 s: %s", last)
		case <-tick.C:
		}
	}
}
