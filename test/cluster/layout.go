package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

const (
	defaultDir = "/var/lib/foretide-cluster"
	nodeName   = "foretide-node"

	// The node's address sits on a veth pair made for it: pods and Services reach it, the outside does not.
	vethName    = "foretide0"
	vethPeer    = "foretide1"
	nodeAddress = "10.250.0.1"
	nodePrefix  = nodeAddress + "/30"

	podRange     = "10.244.0.0/24"
	serviceRange = "10.96.0.0/16"
	// The first address of the Service range is the API server's own Service.
	apiServiceAddress = "10.96.0.1"
	clusterDomain     = "cluster.local"

	apiPort            = 6443
	etcdClientPort     = 23790
	etcdPeerPort       = 23800
	kubeletPort        = 10250
	kubeletHealthPort  = 10248
	proxyHealthPort    = 10256
	proxyMetricsPort   = 10249
	controllerPort     = 10257
	schedulerPort      = 10259
	corednsHealthPort  = 18080
	corednsReadyPort   = 18181
	corednsMetricsPort = 19153

	pauseImage = "localhost/foretide/pause:1"
	idleImage  = "localhost/foretide/idle:1"

	// The kubelet's device-plugin folder is this one whatever its --root-dir
	// (kubernetes pkg/apis/deviceplugin/v1beta1/constants.go).
	devicePluginFolder = "/var/lib/kubelet/device-plugins"
	// The kubelet links container logs here whatever its podLogsDir
	// (kubernetes pkg/kubelet/kuberuntime/legacy.go).
	containerLogLinks = "/var/log/containers"
	// libcni keeps the result of each attachment here; containerd 1.6 offers no setting for it.
	cniResults = "/var/lib/cni/results"
	cniNetwork = "foretide"
	cniPlugins = "/usr/lib/cni"
)

// layout names every path under the state folder.
type layout struct {
	dir string
}

// newLayout checks the state folder's name: absolute, clean and deep enough that removing it cannot hit a system folder.
func newLayout(dir string) (layout, error) {
	if !filepath.IsAbs(dir) || filepath.Clean(dir) != dir || strings.Count(dir, "/") < 2 {
		return layout{}, fmt.Errorf("--dir %q: want a clean absolute path at least two folders deep, such as %s", dir, defaultDir)
	}
	if len(dir) > 60 {
		return layout{}, fmt.Errorf("--dir %q: want at most 60 characters, sockets below it may have 107", dir)
	}
	if strings.ContainsAny(dir, " \t\n\"'\\:,") {
		return layout{}, fmt.Errorf("--dir %q: blanks, quotes, colons, commas and backslashes are not allowed", dir)
	}
	return layout{dir: dir}, nil
}

func (l layout) path(elem ...string) string {
	return filepath.Join(append([]string{l.dir}, elem...)...)
}

func (l layout) marker() string               { return l.path("foretide-cluster") }
func (l layout) kubeconfig() string           { return l.path("kubeconfig") }
func (l layout) logs() string                 { return l.path("logs") }
func (l layout) log(name string) string       { return l.path("logs", name+".log") }
func (l layout) pidFile(name string) string   { return l.path("run", name+".pid") }
func (l layout) conf(name string) string      { return l.path("conf", name) }
func (l layout) crt(name string) string       { return l.path("pki", name+".crt") }
func (l layout) key(name string) string       { return l.path("pki", name+".key") }
func (l layout) containerdSocket() string     { return l.path("run", "containerd.sock") }
func (l layout) scenario() string             { return l.path("gpu", "scenario.ini") }
func (l layout) offers() string               { return l.path("gpu", "offer.ini") }
func (l layout) registered(n string) string   { return l.path("run", n+".registered") }
func (l layout) volume() string               { return l.path("pv", "foretide") }
func (l layout) savedSysctls() string         { return l.path("sysctls.json") }
func (l layout) self() string                 { return l.path("bin", "foretide-cluster") }
func (l layout) draDriver() string            { return l.path("bin", "foretide-dra-driver") }
func (l layout) userConfig(n string) string   { return l.path("conf", n+".kubeconfig") }
func (l layout) imageArchive(n string) string { return l.path("images", n+".tar") }

// makeFolders makes the folders of the layout. Keys and kubeconfigs are for root alone; the rest may be read by pods
// that mount parts of it.
func (l layout) makeFolders() error {
	for _, name := range []string{"", "logs", "run", "conf", "gpu", "pv", "images", "bin", "kubelet", "pod-logs", "cni"} {
		if err := os.MkdirAll(l.path(name), 0o755); err != nil {
			return err
		}
	}
	if err := os.Chmod(l.path("conf"), 0o700); err != nil {
		return err
	}
	// A hostPath volume does not follow fsGroup, so the folder itself lets every user in.
	if err := os.MkdirAll(l.volume(), 0o777); err != nil {
		return err
	}
	return os.Chmod(l.volume(), 0o777)
}

func nodeVeth() netip.Prefix { return netip.MustParsePrefix(nodePrefix) }
func podNet() netip.Prefix   { return netip.MustParsePrefix(podRange) }
func apiURL() string         { return fmt.Sprintf("https://%s:%d", nodeAddress, apiPort) }
func etcdURL() string        { return fmt.Sprintf("https://127.0.0.1:%d", etcdClientPort) }
