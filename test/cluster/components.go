package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/foretide/foretide/test/cluster/gpu"
)

// component is one background process of the cluster.
type component struct {
	name string
	argv []string
	// ready is nil once the component does its work; since is when it was started (zero: long ago).
	ready func(ctx context.Context, since time.Time) error
}

// components lists all of them in the order they start. bin is the folder of the built binaries.
func components(l layout, bin string) []component {
	return []component{
		{"etcd", etcdArgs(l), etcdReady(l)},
		{"containerd", []string{"/usr/bin/containerd", "--config", l.conf("containerd.toml")}, containerdReady(l)},
		{"kube-apiserver", apiserverArgs(l, bin), apiserverReady(l)},
		{"kube-controller-manager", controllerArgs(l, bin), healthy(fmt.Sprintf("https://127.0.0.1:%d/healthz", controllerPort))},
		{"kube-scheduler", schedulerArgs(l, bin), healthy(fmt.Sprintf("https://127.0.0.1:%d/healthz", schedulerPort))},
		{"kubelet", kubeletArgs(l, bin), kubeletReady(l)},
		{"gpu-plugin", []string{l.self(), "device-plugin", "--dir", l.dir}, pluginReady(l)},
		{"dra-driver", draDriverArgs(l), draDriverReady(l)},
		{"kube-proxy", []string{filepath.Join(bin, "kube-proxy"), "--config=" + l.conf("kube-proxy.yaml")},
			healthy(fmt.Sprintf("http://127.0.0.1:%d/healthz", proxyHealthPort))},
		{"coredns", []string{filepath.Join(bin, "coredns"), "-conf", l.conf("Corefile")}, corednsReady},
	}
}

// executables are the base names of every program the cluster runs; with the state folder in their command line
// they are ours.
func executables() []string {
	return []string{"etcd", "containerd", "containerd-shim-runc-v2", "runc", "ctr", "kube-apiserver", "kube-controller-manager",
		"kube-scheduler", "kubelet", "kube-proxy", "coredns", "foretide-cluster", "foretide-dra-driver"}
}

func etcdArgs(l layout) []string {
	return []string{"/usr/bin/etcd", "--name=foretide", "--data-dir=" + l.path("etcd"),
		"--listen-client-urls=" + etcdURL(), "--advertise-client-urls=" + etcdURL(),
		fmt.Sprintf("--listen-peer-urls=http://127.0.0.1:%d", etcdPeerPort),
		fmt.Sprintf("--initial-advertise-peer-urls=http://127.0.0.1:%d", etcdPeerPort),
		fmt.Sprintf("--initial-cluster=foretide=http://127.0.0.1:%d", etcdPeerPort),
		"--client-cert-auth", "--trusted-ca-file=" + l.crt("ca"),
		"--cert-file=" + l.crt("etcd"), "--key-file=" + l.key("etcd"),
		"--logger=zap", "--log-level=warn",
	}
}

func apiserverArgs(l layout, bin string) []string {
	return []string{filepath.Join(bin, "kube-apiserver"),
		"--bind-address=" + nodeAddress, "--advertise-address=" + nodeAddress, "--secure-port=" + strconv.Itoa(apiPort),
		"--tls-cert-file=" + l.crt("apiserver"), "--tls-private-key-file=" + l.key("apiserver"),
		"--client-ca-file=" + l.crt("ca"),
		"--etcd-servers=" + etcdURL(), "--etcd-cafile=" + l.crt("ca"),
		"--etcd-certfile=" + l.crt("etcd"), "--etcd-keyfile=" + l.key("etcd"),
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
		"--service-cluster-ip-range=" + serviceRange,
		"--service-account-issuer=https://kubernetes.default.svc." + clusterDomain,
		"--service-account-key-file=" + l.path("pki", "service-account.pub"),
		"--service-account-signing-key-file=" + l.key("service-account"),
		"--kubelet-certificate-authority=" + l.crt("ca"),
		"--kubelet-client-certificate=" + l.crt("apiserver-kubelet-client"),
		"--kubelet-client-key=" + l.key("apiserver-kubelet-client"),
		"--kubelet-preferred-address-types=InternalIP",
		// Aggregated APIs.
		"--requestheader-client-ca-file=" + l.crt("front-proxy-ca"),
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + l.crt("front-proxy-client"),
		"--proxy-client-key-file=" + l.key("front-proxy-client"),
		"--enable-aggregator-routing=true",
		"--profiling=false",
	}
}

func controllerArgs(l layout, bin string) []string {
	config := l.userConfig("kube-controller-manager")
	return []string{filepath.Join(bin, "kube-controller-manager"),
		"--kubeconfig=" + config, "--authentication-kubeconfig=" + config, "--authorization-kubeconfig=" + config,
		"--bind-address=127.0.0.1", "--secure-port=" + strconv.Itoa(controllerPort),
		"--leader-elect=false", "--use-service-account-credentials=true",
		"--root-ca-file=" + l.crt("ca"),
		"--service-account-private-key-file=" + l.key("service-account"),
		"--flex-volume-plugin-dir=" + l.path("kubelet", "volume-plugins"),
		"--cluster-signing-cert-file=" + l.crt("ca"), "--cluster-signing-key-file=" + l.key("ca"),
		"--profiling=false",
	}
}

func schedulerArgs(l layout, bin string) []string {
	config := l.userConfig("kube-scheduler")
	return []string{filepath.Join(bin, "kube-scheduler"),
		"--kubeconfig=" + config, "--authentication-kubeconfig=" + config, "--authorization-kubeconfig=" + config,
		"--bind-address=127.0.0.1", "--secure-port=" + strconv.Itoa(schedulerPort),
		"--leader-elect=false", "--profiling=false",
	}
}

func kubeletArgs(l layout, bin string) []string {
	return []string{filepath.Join(bin, "kubelet"),
		"--config=" + l.conf("kubelet.yaml"), "--kubeconfig=" + l.userConfig("kubelet"),
		"--root-dir=" + l.path("kubelet"), "--cert-dir=" + l.path("kubelet", "pki"),
		"--hostname-override=" + nodeName, "--node-ip=" + nodeAddress,
	}
}

// draDriverArgs let the driver act as the node: the Node authorizer lets a node keep its own ResourceSlices and read the
// claims of its own pods, and nothing else.
func draDriverArgs(l layout) []string {
	return []string{l.draDriver(), "--kubeconfig=" + l.userConfig("kubelet"), "--node=" + nodeName,
		"--scenario=" + l.scenario(), "--offers=" + l.offers(),
		"--kubelet-dir=" + l.path("kubelet"), "--device-plugin-folder=" + devicePluginFolder,
		"--registered-file=" + l.registered("dra-driver"),
	}
}

type readyFunc = func(ctx context.Context, since time.Time) error

// healthy asks a health endpoint; the controller-manager and the scheduler sign their own loopback certificate.
func healthy(url string) readyFunc {
	return func(ctx context.Context, _ time.Time) error {
		client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		}}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answers %s", url, resp.Status)
		}
		return nil
	}
}

func etcdReady(l layout) readyFunc {
	return func(ctx context.Context, _ time.Time) error {
		client, err := newAPI(l, etcdURL(), "etcd")
		if err != nil {
			return err
		}
		return client.get(ctx, "/health", nil)
	}
}

func containerdReady(l layout) readyFunc {
	return func(ctx context.Context, _ time.Time) error {
		out, err := exec.CommandContext(ctx, "ctr", "--address", l.containerdSocket(), "version").CombinedOutput()
		if err != nil {
			return fmt.Errorf("ctr version: %w: %s", err, out)
		}
		return nil
	}
}

func apiserverReady(l layout) readyFunc {
	return func(ctx context.Context, _ time.Time) error {
		client, err := newAPI(l, apiURL(), "admin")
		if err != nil {
			return err
		}
		return client.get(ctx, "/readyz", nil)
	}
}

func getNode(ctx context.Context, l layout) (node, error) {
	client, err := newAPI(l, apiURL(), "admin")
	if err != nil {
		return node{}, err
	}
	var n node
	err = client.get(ctx, "/api/v1/nodes/"+nodeName, &n)
	return n, err
}

func kubeletReady(l layout) readyFunc {
	health := healthy(fmt.Sprintf("http://127.0.0.1:%d/healthz", kubeletHealthPort))
	return func(ctx context.Context, since time.Time) error {
		if err := health(ctx, since); err != nil {
			return err
		}
		n, err := getNode(ctx, l)
		if err != nil {
			return err
		}
		return n.ready(since)
	}
}

// pluginReady holds once the plugin is registered with the kubelet that runs now and the node offers as many devices of
// each resource as the files say. The node's figures alone may still be those of the kubelet before.
func pluginReady(l layout) readyFunc {
	return func(ctx context.Context, _ time.Time) error {
		if !gpu.Registered(l.registered("gpu-plugin"), devicePluginFolder) {
			return errors.New("the device plugin is not registered with the kubelet")
		}
		fleet, offers, err := readFleet(l)
		if err != nil {
			return err
		}
		resources, err := gpu.Resources(offers, fleet)
		if err != nil {
			return err
		}
		n, err := getNode(ctx, l)
		if err != nil {
			return err
		}
		for name, ids := range resources {
			if got := n.Status.Allocatable[name]; got != strconv.Itoa(len(ids)) {
				return fmt.Errorf("node offers %s=%q, of %d devices", name, got, len(ids))
			}
		}
		return nil
	}
}

// draDriverReady holds once the driver is registered with the kubelet that runs now and the node's ResourceSlices hold
// the devices that the files name.
func draDriverReady(l layout) readyFunc {
	return func(ctx context.Context, _ time.Time) error {
		if !gpu.Registered(l.registered("dra-driver"), devicePluginFolder) {
			return errors.New("the DRA driver is not registered with the kubelet")
		}
		fleet, offers, err := readFleet(l)
		if err != nil {
			return err
		}
		devices, err := gpu.DRADevices(offers, fleet)
		if err != nil {
			return err
		}
		published, err := publishedDevices(ctx, l)
		if err != nil {
			return err
		}
		var want []string
		for _, device := range devices {
			want = append(want, device.Name)
		}
		slices.Sort(want)
		if !slices.Equal(published, want) {
			return fmt.Errorf("the ResourceSlices hold %q, want %q", published, want)
		}
		return nil
	}
}

func readFleet(l layout) ([]gpu.Device, []gpu.Offer, error) {
	fleet, err := gpu.ReadScenario(l.scenario())
	if err != nil {
		return nil, nil, err
	}
	offers, err := gpu.ReadOffers(l.offers())
	return fleet, offers, err
}

// corednsReady resolves the API server's Service name as a pod would.
func corednsReady(ctx context.Context, _ time.Time) error {
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, net.JoinHostPort(nodeAddress, "53"))
	}}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	name := "kubernetes.default.svc." + clusterDomain + "."
	addresses, err := resolver.LookupHost(ctx, name)
	if err != nil {
		return err
	}
	for _, address := range addresses {
		if address == apiServiceAddress {
			return nil
		}
	}
	return fmt.Errorf("%s is %v, want %s", name, addresses, apiServiceAddress)
}
