package main

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func testLayout(t *testing.T) layout {
	t.Helper()
	return layout{dir: t.TempDir()}
}

func TestLayoutRefusesFoldersThatAreNotItsOwn(t *testing.T) {
	for _, dir := range []string{"", "relative", "/", "/var", "/var/", "/var/lib/../x", "/var/lib/a b", "/var/" + strings.Repeat("x", 60)} {
		if _, err := newLayout(dir); err == nil || !strings.Contains(err.Error(), "--dir") {
			t.Errorf("%q: error %v, want one that names --dir", dir, err)
		}
	}
	if l, err := newLayout(defaultDir); err != nil || l.scenario() != "/var/lib/foretide-cluster/gpu/scenario.ini" {
		t.Errorf("got %q, %v", l.scenario(), err)
	}
}

func TestConfigsAreWrittenOnceAndPointBelowTheStateFolder(t *testing.T) {
	l := testLayout(t)
	if err := l.makeFolders(); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for range 2 {
		if err := ensurePKI(l, now); err != nil {
			t.Fatal(err)
		}
		if err := writeConfigs(l); err != nil {
			t.Fatal(err)
		}
	}
	before, err := os.Stat(l.conf("kube-proxy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := writeConfigs(l); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(l.conf("kube-proxy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(before, after) || !before.ModTime().Equal(after.ModTime()) {
		t.Error("an unchanged configuration was written again; kube-proxy ends on that")
	}
	info, err := os.Stat(l.kubeconfig())
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("kubeconfig: mode %v, %v, want 0600", info.Mode(), err)
	}
	for name, parts := range map[string][]string{
		"kubelet.yaml":    {"containerRuntimeEndpoint: unix://" + l.containerdSocket(), "cgroupDriver: cgroupfs", "memory.available: 0%\n", "clusterDNS: [10.250.0.1]"},
		"kube-proxy.yaml": {"mode: nftables", l.userConfig("kube-proxy")},
		"containerd.toml": {`sandbox_image = "` + pauseImage + `"`, `root = "` + l.dir + `/containerd"`, `snapshotter = "native"`},
		"Corefile":        {"bind 10.250.0.1", "kubernetes cluster.local", l.userConfig("coredns")},
	} {
		text, err := os.ReadFile(l.conf(name))
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range parts {
			if !strings.Contains(string(text), part) {
				t.Errorf("%s: no %q in\n%s", name, part, text)
			}
		}
		if strings.Contains(string(text), "%!") {
			t.Errorf("%s: a value is missing in\n%s", name, text)
		}
	}
	var cni map[string]any
	if err := json.Unmarshal([]byte(cniConfig(l)), &cni); err != nil {
		t.Errorf("CNI configuration: %v", err)
	}
}

func TestCertificatesAnswerForTheAddressesInUse(t *testing.T) {
	l := testLayout(t)
	now := time.Now()
	if err := ensurePKI(l, now); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(certificate(t, l.crt("ca")))
	for name, hosts := range map[string][]string{
		"apiserver": {nodeAddress, apiServiceAddress, "kubernetes.default.svc", "127.0.0.1"},
		"kubelet":   {nodeAddress, nodeName},
		"etcd":      {"127.0.0.1"},
	} {
		cert := certificate(t, l.crt(name))
		for _, host := range hosts {
			if _, err := cert.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, CurrentTime: now}); err != nil {
				t.Errorf("%s for %s: %v", name, host, err)
			}
		}
	}
	kubelet := certificate(t, l.crt("kubelet")).Subject
	if kubelet.CommonName != "system:node:"+nodeName || !slices.Equal(kubelet.Organization, []string{"system:nodes"}) {
		t.Errorf("kubelet is %v: the Node authorizer would not know it", kubelet)
	}
	front := certificate(t, l.crt("front-proxy-client"))
	if _, err := front.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err == nil {
		t.Error("the front proxy's certificate is signed by the authority for users")
	}
}

func certificate(t *testing.T, path string) *x509.Certificate {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestEveryComponentMentionsTheStateFolderAndIsAKnownExecutable(t *testing.T) {
	// This is what down finds processes by.
	l := testLayout(t)
	for _, c := range components(l, "/cache") {
		if !slices.Contains(executables(), filepath.Base(c.argv[0])) {
			t.Errorf("%s: down would not look for %s", c.name, c.argv[0])
		}
		line := strings.Join(c.argv, "\x00") + "\x00"
		if !strings.Contains(line, l.dir+"/") && !strings.Contains(line, l.dir+"\x00") {
			t.Errorf("%s: command line does not mention the state folder: %q", c.name, c.argv)
		}
	}
}

func TestVersionsComeFromGoMod(t *testing.T) {
	text, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	v, err := parseVersions(string(text))
	if err != nil {
		t.Fatal(err)
	}
	flags, err := v.linkFlags()
	if err != nil || !strings.Contains(flags, "version.gitVersion="+v.kubernetes+" ") {
		t.Errorf("link flags %q, %v", flags, err)
	}
	want := []string{"coredns", "kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubectl", "kubelet"}
	if got := names(toolPackages(string(text))); !slices.Equal(got, want) {
		t.Errorf("tools %v, want %v", got, want)
	}
	if _, err := parseVersions("module x\n"); err == nil {
		t.Error("no error for a go.mod without them")
	}
}

func TestMissingListsAbsentToolsAndAnotherCoreDNS(t *testing.T) {
	cache := t.TempDir()
	text, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	v, err := parseVersions(string(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names(toolPackages(string(text))) {
		if name == "kubelet" {
			continue
		}
		if err := os.WriteFile(filepath.Join(cache, name), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := missing(cache, v); err != nil || !slices.Equal(names(got), []string{"kubelet"}) {
		t.Errorf("got %v, %v, want kubelet", got, err)
	}
	if err := os.WriteFile(filepath.Join(cache, "coredns.version"), []byte("v0.0.1"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := missing(cache, v); err != nil || !slices.Equal(names(got), []string{"coredns", "kubelet"}) {
		t.Errorf("got %v, %v, want coredns and kubelet", got, err)
	}
}

func TestNodeIsReadyOnlyByItsOwnKubeletsReport(t *testing.T) {
	started := time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC)
	text := `{"status": {"conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-02T03:04:05Z"}]}}`
	var n node
	if err := json.Unmarshal([]byte(text), &n); err != nil {
		t.Fatal(err)
	}
	if err := n.ready(started); err != nil {
		t.Errorf("a report in the second of the start: %v", err)
	}
	if err := n.ready(started.Add(time.Minute)); err == nil {
		t.Error("a report from before the start counts")
	}
	if err := (node{}).ready(time.Time{}); err == nil {
		t.Error("a node without conditions is ready")
	}
}
