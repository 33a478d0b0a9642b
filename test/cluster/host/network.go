package host

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// EnsureVeth makes sure that a veth pair exists, is up, and that its first end carries the address.
// Kernels without dummy interfaces have veth, and loopback may not be a Service endpoint.
func EnsureVeth(name, peer string, address netip.Prefix) error {
	if !LinkExists(name) {
		if err := run("ip", "link", "add", name, "type", "veth", "peer", "name", peer); err != nil {
			return err
		}
	}
	steps := [][]string{
		{"ip", "address", "replace", address.String(), "dev", name},
		{"ip", "link", "set", name, "up"},
		{"ip", "link", "set", peer, "up"},
	}
	for _, step := range steps {
		if err := run(step...); err != nil {
			return err
		}
	}
	return nil
}

// LinkExists says whether this network namespace has an interface of that name.
func LinkExists(name string) bool {
	_, err := os.Stat(filepath.Join("/sys/class/net", name))
	return err == nil
}

// DeleteLink deletes an interface (and the other end of a veth pair) if it exists.
func DeleteLink(name string) error {
	if !LinkExists(name) {
		return nil
	}
	err := run("ip", "link", "delete", name)
	if err != nil && !LinkExists(name) {
		return nil // it went with its network namespace meanwhile
	}
	return err
}

// PodLinks lists the interfaces that routes into the pod network point at: the host ends of the pods' veth pairs.
func PodLinks(pods netip.Prefix) ([]string, error) {
	out, err := exec.Command("ip", "-4", "route", "show").Output()
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	return podLinks(string(out), pods), nil
}

// podLinks reads the output of `ip -4 route show`: the ptp plugin adds "<pod address> dev <veth> scope host" per pod.
func podLinks(routes string, pods netip.Prefix) []string {
	var links []string
	for _, line := range strings.Split(routes, "\n") {
		fields := strings.Fields(line)
		if len(fields) < 3 || fields[1] != "dev" {
			continue
		}
		address, err := netip.ParseAddr(fields[0])
		if err == nil && pods.Contains(address) {
			links = append(links, fields[2])
		}
	}
	return links
}

// kubeProxyTables are the nftables tables that kube-proxy keeps in nftables mode
// (kubernetes pkg/proxy/nftables/proxier.go, kubeProxyTable).
func kubeProxyTables() [][2]string {
	return [][2]string{{"ip", "kube-proxy"}, {"ip6", "kube-proxy"}}
}

// KubeProxyTables lists which of kube-proxy's nftables tables exist, as "family name".
func KubeProxyTables() ([]string, error) {
	out, err := exec.Command("nft", "list", "tables").Output()
	if err != nil {
		return nil, fmt.Errorf("list nftables tables: %w", err)
	}
	var found []string
	for _, table := range kubeProxyTables() {
		if strings.Contains(string(out), "table "+table[0]+" "+table[1]+"\n") {
			found = append(found, table[0]+" "+table[1])
		}
	}
	return found, nil
}

// DeleteKubeProxyTables deletes kube-proxy's nftables tables and returns how many there were.
func DeleteKubeProxyTables() (int, error) {
	tables, err := KubeProxyTables()
	if err != nil {
		return 0, err
	}
	for _, table := range tables {
		family, name, _ := strings.Cut(table, " ")
		if err := run("nft", "delete", "table", family, name); err != nil {
			return 0, err
		}
	}
	return len(tables), nil
}

// Sysctls reads the values of those kernel settings that exist, by their path under /proc/sys.
func Sysctls(names []string) (map[string]string, error) {
	values := make(map[string]string, len(names))
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join("/proc/sys", name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read sysctl %s: %w", name, err)
		}
		values[name] = strings.TrimSpace(string(text))
	}
	return values, nil
}

// SetSysctl writes one kernel setting if it differs.
func SetSysctl(name, value string) error {
	path := filepath.Join("/proc/sys", name)
	text, err := os.ReadFile(path)
	if err == nil && strings.TrimSpace(string(text)) == value {
		return nil
	}
	if err := os.WriteFile(path, []byte(value), 0o644); err != nil {
		return fmt.Errorf("set sysctl %s to %s: %w", name, value, err)
	}
	return nil
}

func run(argv ...string) error {
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
