package main

import (
	"encoding/base64"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/foretide/foretide/test/cluster/pki"
)

// clientNames are the users that get a certificate and a kubeconfig of their own. Names and groups are those that
// Kubernetes' bootstrap RBAC and the Node authorizer know.
func clientNames() []pki.Leaf {
	return []pki.Leaf{
		{Name: "admin", User: "foretide-admin", Groups: []string{"system:masters"}},
		{Name: "kube-controller-manager", User: "system:kube-controller-manager"},
		{Name: "kube-scheduler", User: "system:kube-scheduler"},
		{Name: "kube-proxy", User: "system:kube-proxy"},
		{Name: "coredns", User: "system:coredns"},
		{Name: "kubelet", User: "system:node:" + nodeName, Groups: []string{"system:nodes"}, Hosts: []string{nodeName, nodeAddress}},
	}
}

// ensurePKI makes every key and certificate once. It works in a folder beside and renames, so a crash leaves all or none.
func ensurePKI(l layout, now time.Time) error {
	if _, err := os.Stat(l.path("pki")); err == nil {
		return nil
	}
	temp := l.path("pki.new")
	if err := os.RemoveAll(temp); err != nil {
		return err
	}
	if err := os.MkdirAll(temp, 0o700); err != nil {
		return err
	}
	ca, err := pki.NewAuthority(temp, "ca", now)
	if err != nil {
		return err
	}
	frontProxy, err := pki.NewAuthority(temp, "front-proxy-ca", now)
	if err != nil {
		return err
	}
	loopback := []string{"localhost", "127.0.0.1"}
	leaves := append(clientNames(),
		pki.Leaf{Name: "etcd", User: "etcd", Hosts: loopback},
		pki.Leaf{Name: "apiserver", User: "kube-apiserver", Hosts: append(loopback, nodeAddress, apiServiceAddress, "kubernetes",
			"kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc."+clusterDomain)},
		pki.Leaf{Name: "apiserver-kubelet-client", User: "kube-apiserver-kubelet-client", Groups: []string{"system:masters"}},
	)
	for _, leaf := range leaves {
		if err := ca.Issue(leaf, now); err != nil {
			return err
		}
	}
	if err := frontProxy.Issue(pki.Leaf{Name: "front-proxy-client", User: "front-proxy-client"}, now); err != nil {
		return err
	}
	if err := pki.WriteKeyPair(temp, "service-account"); err != nil {
		return err
	}
	return os.Rename(temp, l.path("pki"))
}

// writeConfigs writes every configuration file; the same layout gives the same text.
func writeConfigs(l layout) error {
	files := map[string]string{
		"kubelet.yaml":    kubeletConfig(l),
		"kube-proxy.yaml": proxyConfig(l),
		"containerd.toml": containerdConfig(l),
		"Corefile":        corefile(l, hasNameservers("/etc/resolv.conf")),
	}
	for name, text := range files {
		if err := writeIfChanged(l.conf(name), text, 0o600); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(l.path("cni", "net.d"), 0o755); err != nil {
		return err
	}
	if err := writeIfChanged(l.path("cni", "net.d", "10-foretide.conflist"), cniConfig(l), 0o644); err != nil {
		return err
	}
	for _, client := range clientNames() {
		text, err := kubeconfig(l, client.Name)
		if err != nil {
			return err
		}
		path := l.userConfig(client.Name)
		if client.Name == "admin" {
			path = l.kubeconfig()
		}
		if err := writeIfChanged(path, text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// writeIfChanged replaces a file in one step, and leaves one with the same text alone: kube-proxy ends when its
// configuration is written, whatever the text.
func writeIfChanged(path, text string, mode os.FileMode) error {
	if old, err := os.ReadFile(path); err == nil && string(old) == text {
		return nil
	}
	temp := path + ".new"
	if err := os.WriteFile(temp, []byte(text), mode); err != nil {
		return err
	}
	return os.Rename(temp, path)
}

// kubeconfig renders a kubeconfig that carries the client's certificate and key in itself.
func kubeconfig(l layout, name string) (string, error) {
	var data [3]string
	for i, path := range []string{l.crt("ca"), l.crt(name), l.key(name)} {
		text, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		data[i] = base64.StdEncoding.EncodeToString(text)
	}
	return fmt.Sprintf(`apiVersion: v1
kind: Config
clusters:
- name: foretide
  cluster:
    server: %s
    certificate-authority-data: %s
users:
- name: %s
  user:
    client-certificate-data: %s
    client-key-data: %s
contexts:
- name: foretide
  context: {cluster: foretide, user: %s}
current-context: foretide
`, apiURL(), data[0], name, data[1], data[2], name), nil
}

// kubeletConfig renders the kubelet's configuration for a machine with cgroup v1, v2 or both, without systemd and
// without CAP_SYS_RESOURCE.
func kubeletConfig(l layout) string {
	return fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: %[2]s
port: %[3]d
readOnlyPort: 0
healthzBindAddress: 127.0.0.1
healthzPort: %[4]d
tlsCertFile: %[5]s
tlsPrivateKeyFile: %[6]s
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: %[7]s}
authorization: {mode: Webhook}
containerRuntimeEndpoint: unix://%[8]s
podLogsDir: %[1]s/pod-logs
volumePluginDir: %[1]s/kubelet/volume-plugins
clusterDomain: %[9]s
clusterDNS: [%[2]s]
resolvConf: /etc/resolv.conf
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
# Lets the kubelet go on where it may not lower oom_score_adj or read /dev/kmsg.
featureGates: {KubeletInUserNamespace: true}
oomScoreAdj: 0
enforceNodeAllocatable: []
makeIPTablesUtilChains: false
localStorageCapacityIsolation: false
# A shared test machine may be nearly full; that must not evict pods or drop the images loaded by hand.
evictionHard:
  memory.available: 0%%
  nodefs.available: 0%%
  nodefs.inodesFree: 0%%
  imagefs.available: 0%%
  imagefs.inodesFree: 0%%
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
nodeStatusUpdateFrequency: 2s
nodeStatusReportFrequency: 10s
`, l.dir, nodeAddress, kubeletPort, kubeletHealthPort, l.crt("kubelet"), l.key("kubelet"), l.crt("ca"), l.containerdSocket(), clusterDomain)
}

// proxyConfig renders kube-proxy's configuration: nftables, and the machine's conntrack limits left as they are.
func proxyConfig(l layout) string {
	return fmt.Sprintf(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: %s}
hostnameOverride: %s
clusterCIDR: %s
healthzBindAddress: 127.0.0.1:%d
metricsBindAddress: 127.0.0.1:%d
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
`, l.userConfig("kube-proxy"), nodeName, podRange, proxyHealthPort, proxyMetricsPort)
}

// containerdConfig renders containerd's configuration: everything below the state folder, the native snapshotter,
// network namespaces too, so that unmounting what lies below the folder removes them.
func containerdConfig(l layout) string {
	return fmt.Sprintf(`version = 2
root = "%[1]s/containerd"
state = "%[1]s/run/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp",
]

[grpc]
  address = "%[2]s"

[plugins."io.containerd.internal.v1.opt"]
  path = "%[1]s/containerd/opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "%[3]s"
  restrict_oom_score_adj = true
  disable_apparmor = true
  disable_tcp_service = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "%[4]s"
    conf_dir = "%[1]s/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        Root = "%[1]s/run/runc"
        SystemdCgroup = false
`, l.dir, l.containerdSocket(), pauseImage, cniPlugins)
}

// cniConfig renders the pod network: one veth pair per pod, routed by the node, addresses kept under the state folder.
// There is no masquerading: pods talk with pods, Services and the node, never with the outside.
func cniConfig(l layout) string {
	return fmt.Sprintf(`{
  "cniVersion": "1.0.0",
  "name": "%s",
  "plugins": [
    {
      "type": "ptp",
      "ipam": {
        "type": "host-local",
        "dataDir": "%s",
        "ranges": [[{"subnet": "%s"}]],
        "routes": [{"dst": "0.0.0.0/0"}]
      }
    }
  ]
}
`, cniNetwork, l.path("cni", "ipam"), podRange)
}

// hasNameservers says whether a resolv.conf names a server that CoreDNS can forward to.
func hasNameservers(path string) bool {
	text, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	for _, line := range strings.Split(string(text), "\n") {
		if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == "nameserver" {
			return true
		}
	}
	return false
}

// corefile renders CoreDNS's configuration; names outside the cluster go to the machine's own resolver if it has one.
func corefile(l layout, forward bool) string {
	outside := ""
	if forward {
		outside = "    forward . /etc/resolv.conf\n"
	}
	return fmt.Sprintf(`.:53 {
    bind %s
    errors
    health 127.0.0.1:%d
    ready 127.0.0.1:%d
    prometheus 127.0.0.1:%d
    kubernetes %s in-addr.arpa ip6.arpa {
        kubeconfig %s
        pods insecure
        ttl 5
        fallthrough in-addr.arpa ip6.arpa
    }
%s}
`, nodeAddress, corednsHealthPort, corednsReadyPort, corednsMetricsPort, clusterDomain, l.userConfig("coredns"), outside)
}
