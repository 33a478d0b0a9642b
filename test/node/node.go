// Package node is everything around the shipped agent on one machine: a scripted libnvidia-ml.so.1, the kubelet's two sockets, a /proc with
// the processes of pods, and an aggregator that takes its batches. The agent itself is the real binary.
//
//	Scenario, Holders, Process → bin/agent → Metrics (its /metrics), batches
package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/pkg/telemetry/telemetrypb"
	"github.com/foretide/foretide/test/fakenvml"
	"github.com/foretide/foretide/test/podresources"
)

// Node is the machine.
type Node struct {
	// Dir holds all its files.
	Dir      string
	Scenario fakenvml.Scenario
	Kubelet  *podresources.Server
	Pods     *PodsAPI // nil until ServePods
	receiver *Receiver
	metrics  string // host:port of the agent's /metrics
	probes   string
	agent    *exec.Cmd
}

// New makes a node in folder dir with the library at path, which is copied there. Batches are given to take, which answers with the
// acknowledgement; a nil one is a plain one.
func New(dir, library string, take func(telemetry.Batch) *telemetrypb.Ack) (*Node, error) {
	n := &Node{Dir: dir}
	text, err := os.ReadFile(library)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(n.Path(fakenvml.LibraryName), text, 0o700); err != nil {
		return nil, err
	}
	if n.Kubelet, err = podresources.Serve(n.Path("kubelet.sock")); err != nil {
		return nil, err
	}
	answer := func(b telemetry.Batch) *telemetrypb.Ack {
		if ack := take(b); ack != nil {
			return ack
		}
		return &telemetrypb.Ack{}
	}
	if n.receiver, err = Receive("127.0.0.1:0", n.Path("ca.crt"), answer); err != nil {
		return nil, err
	}
	for _, address := range []*string{&n.metrics, &n.probes} {
		if *address, err = freeAddress(); err != nil {
			return nil, err
		}
	}
	return n, errors.Join(os.MkdirAll(n.Path("proc"), 0o755), os.MkdirAll(n.Path("pods"), 0o755), os.MkdirAll(n.Path("containers"), 0o755))
}

// Path of a file of the node.
func (n *Node) Path(name string) string { return filepath.Join(n.Dir, name) }

// Play writes the scenario for the library to read.
func (n *Node) Play() error { return n.Scenario.Write(n.Path(fakenvml.ScenarioName)) }

// ServePods begins to serve the kubelet's Pods API.
func (n *Node) ServePods() (err error) {
	n.Pods, err = ServePods(n.Path("pods.sock"))
	return err
}

// Process puts a process into the node's /proc. cgroup is the text of its cgroup file.
func (n *Node) Process(pid int, cgroup string) error {
	folder := filepath.Join(n.Path("proc"), strconv.Itoa(pid))
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	stat := fmt.Sprintf("%d (server (x)) S %s%d", pid, strings.Repeat("0 ", 18), 1000+pid)
	return errors.Join(os.WriteFile(filepath.Join(folder, "stat"), []byte(stat), 0o600), os.WriteFile(filepath.Join(folder, "cgroup"), []byte(cgroup), 0o600))
}

// Logs makes the kubelet's log folders of a container, by which its processes are known.
func (n *Node) Logs(namespace, pod, uid, container, id string) error {
	link := fmt.Sprintf("%s_%s_%s-%s.log", pod, namespace, container, id)
	err := os.Symlink("nowhere", filepath.Join(n.Path("containers"), link))
	if errors.Is(err, os.ErrExist) {
		err = nil
	}
	return errors.Join(err, os.MkdirAll(filepath.Join(n.Path("pods"), fmt.Sprintf("%s_%s_%s", namespace, pod, uid), container), 0o755))
}

// Start runs the agent with the flags added to those the node needs.
func (n *Node) Start(binary string, flags ...string) error {
	log, err := os.OpenFile(n.Path("agent.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	n.agent = exec.Command(binary, append([]string{"--node-name=node-1", "--nvml.library-path=" + n.Path(fakenvml.LibraryName),
		"--kubelet.socket-path=" + n.Path("kubelet.sock"), "--kubelet.pods-socket-path=" + n.Path("pods.sock"), "--host.proc-path=" + n.Path("proc"),
		"--host.pod-logs-path=" + n.Path("pods"), "--host.container-logs-path=" + n.Path("containers"), "--nvml.release-file=" + n.Path("release-driver"),
		"--web.listen-address=" + n.metrics, "--health.listen-address=" + n.probes,
		"--aggregator.address=" + n.receiver.Address, "--aggregator.ca-file=" + n.receiver.CAFile}, flags...)...)
	n.agent.Stdout, n.agent.Stderr = log, log
	n.agent.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	return n.agent.Start()
}

// PID of the agent.
func (n *Node) PID() int { return n.agent.Process.Pid }

// Stop ends the agent and everything around it.
func (n *Node) Stop() error {
	var err error
	if n.agent != nil && n.agent.Process != nil {
		_ = n.agent.Process.Signal(syscall.SIGTERM)
		err = n.agent.Wait()
	}
	n.Kubelet.Stop()
	n.receiver.Stop()
	if n.Pods != nil {
		n.Pods.Stop()
	}
	return err
}

// Log returns what the agent has logged.
func (n *Node) Log() string {
	text, _ := os.ReadFile(n.Path("agent.log"))
	return string(text)
}

// Get asks the agent for a path: /metrics, /healthz or /readyz. accept may be empty.
func (n *Node) Get(ctx context.Context, path, accept string) (status int, body string, err error) {
	address := n.probes
	if path == "/metrics" {
		address = n.metrics
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return 0, "", err
	}
	if accept != "" {
		request.Header.Set("Accept", accept)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

// MetricsAddress is the host:port of the agent's /metrics.
func (n *Node) MetricsAddress() string { return n.metrics }

func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}
