// Package shipped runs the shipped aggregator as a process of its own, on files and on free ports of the loopback, and asks it what it
// knows. The binary is the real one.
//
//	NewAggregator → Start → Ready → Metrics, Query, UsageOf → Kill or Stop → Start …
package shipped

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Token is what agents must show.
const Token = "the-token-of-all-agents"

// Policy is for the first workload of a swarm, whose pods are each busy for a part of the time.
const Policy = `apiVersion: autoscaling.foretide.dev/v1alpha1
kind: AdvancedHorizontalPodAutoscaler
metadata: {name: model-0, namespace: team-0}
spec:
  scaleStrategy: observer
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: model-0}
  metrics:
  - type: Resource
    resource: {name: gpu, target: {type: Utilization, averageUtilization: 50}}
  minReplicas: 1
  maxReplicas: 100
`

// Aggregator is one on a folder. It may be started, killed and started again.
type Aggregator struct {
	// Dir holds the token, the policy and the log, Store the history.
	Dir, Store string
	// Ingest is where agents connect, Web where /metrics and PromQL are served.
	Ingest, Web string
	binary      string
	health      string
	process     *exec.Cmd
	ended       chan error
}

// NewAggregator prepares the folder. An empty store is a folder in it.
func NewAggregator(binary, dir, store string) (*Aggregator, error) {
	if store == "" {
		store = filepath.Join(dir, "store")
	}
	a := &Aggregator{Dir: dir, Store: store, binary: binary}
	for _, address := range []*string{&a.Ingest, &a.Web, &a.health} {
		var err error
		if *address, err = freeAddress(); err != nil {
			return nil, err
		}
	}
	return a, errors.Join(os.WriteFile(a.path("token"), []byte(Token), 0o600), os.WriteFile(a.path("policy.yaml"), []byte(Policy), 0o600))
}

// freeAddress finds a port below those the kernel gives to connections, so that it is still free after a restart.
func freeAddress() (string, error) {
	taken.Lock()
	defer taken.Unlock()
	for port := 20000 + 37*os.Getpid()%11000; port < 32000; port++ { // apart from those of a process begun at the same time
		if taken.ports[port] {
			continue
		}
		taken.ports[port] = true
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return listener.Addr().String(), listener.Close()
		}
	}
	return "", errors.New("no free port between 20000 and 32000")
}

// taken are the ports this process has given away.
var taken = struct {
	sync.Mutex
	ports map[int]bool
}{ports: map[int]bool{}}

func (a *Aggregator) path(name string) string { return filepath.Join(a.Dir, name) }

// TokenFile and CAFile are what an agent is given; the second is there once the aggregator was ready.
func (a *Aggregator) TokenFile() string { return a.path("token") }

// CAFile holds the authority of the aggregator's certificate.
func (a *Aggregator) CAFile() string { return filepath.Join(a.Store, "tls", "ca.crt") }

// Start runs the aggregator, with the flags added to those it needs.
func (a *Aggregator) Start(flags ...string) error {
	log, err := os.OpenFile(a.path("aggregator.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	a.process = exec.Command(a.binary, append([]string{"serve", "--kubernetes.enabled=false", "--policies.path=" + a.path("policy.yaml"),
		"--ingest.token-file=" + a.TokenFile(), "--storage.path=" + a.Store, "--ingest.listen-address=" + a.Ingest,
		"--web.listen-address=" + a.Web, "--health.listen-address=" + a.health}, flags...)...)
	a.process.Stdout, a.process.Stderr = log, log
	a.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := a.process.Start(); err != nil {
		return err
	}
	process, ended := a.process, make(chan error, 1)
	a.ended = ended
	go func() { ended <- process.Wait() }()
	return nil
}

// Ready waits until agents are listened to. It is an error when the aggregator ends before, or ctx does.
func (a *Aggregator) Ready(ctx context.Context) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		if status, _, err := get(ctx, "http://"+a.health+"/readyz"); err == nil && status == http.StatusOK {
			return nil
		}
		select {
		case err := <-a.ended:
			a.ended <- err
			return fmt.Errorf("the aggregator ended by itself: %w; the end of its log:\n%s", err, a.LogTail(4000))
		case <-ctx.Done():
			return fmt.Errorf("the aggregator is not ready: %w; the end of its log:\n%s", ctx.Err(), a.LogTail(4000))
		case <-ticker.C:
		}
	}
}

// PID of the process.
func (a *Aggregator) PID() int { return a.process.Process.Pid }

// Kill ends the aggregator with SIGKILL.
func (a *Aggregator) Kill() error {
	if err := a.process.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	_ = a.gone() // of the signal
	return nil
}

// gone waits until the process is, and tells how it ended.
func (a *Aggregator) gone() error {
	a.process = nil
	return <-a.ended
}

// Stop asks the aggregator to end, and returns how it did. It may be called when none runs.
func (a *Aggregator) Stop() error {
	if a.process == nil {
		return nil
	}
	if err := a.process.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	if err := a.gone(); err != nil {
		return fmt.Errorf("the aggregator ended with %w; the end of its log:\n%s", err, a.LogTail(4000))
	}
	return nil
}

// Signal sends one that does not end it, such as SIGSTOP.
func (a *Aggregator) Signal(s os.Signal) error { return a.process.Process.Signal(s) }

// Roots are the authorities an agent trusts.
func (a *Aggregator) Roots() (*x509.CertPool, error) { return ReadRoots(a.CAFile()) }

// ReadRoots reads a file of authorities.
func ReadRoots(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%q holds no PEM certificate", file)
	}
	return roots, nil
}

// LogTail returns the end of what the aggregator has logged.
func (a *Aggregator) LogTail(bytes int) string {
	text, _ := os.ReadFile(a.path("aggregator.log"))
	return string(text[max(0, len(text)-bytes):])
}
