package host

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

const mountinfo = `22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw
50 27 0:40 / /var/lib/c rw,relatime - tmpfs tmpfs rw
51 50 0:41 / /var/lib/c/a\040b\134 rw,relatime shared:1 master:2 - tmpfs tmpfs rw
52 27 0:42 / /var/lib/cc rw,relatime - tmpfs tmpfs rw
53 50 0:4 net:[4026532] /var/lib/c/run/netns/cni-1 rw - nsfs nsfs rw
`

func TestBelowKeepsTheFoldersMountsLastFirst(t *testing.T) {
	points, err := ParseMountPoints(mountinfo)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"/var/lib/c/run/netns/cni-1", `/var/lib/c/a b\`, "/var/lib/c"}
	if got := Below(points, "/var/lib/c"); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := Below(points, "/srv"); len(got) != 0 {
		t.Errorf("got %q, want none", got)
	}
}

func TestParseMountPointsRefusesAShortLine(t *testing.T) {
	if _, err := ParseMountPoints("22 27 0:21\n"); err == nil {
		t.Error("no error")
	}
}

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{`/plain`: "/plain", `/a\011b\012c`: "/a\tb\nc", `/end\04`: `/end\04`, `/x\999y`: `/x\999y`} {
		if got := unescape(in); got != want {
			t.Errorf("unescape(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestCgroupMountsAreThoseOfBothVersions(t *testing.T) {
	want := []string{"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/unified"}
	if got := cgroupMounts(mountinfo); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCgroupPidsAreListedOnceAndRemovalGoesDeepestFirst(t *testing.T) {
	tree := filepath.Join(t.TempDir(), "kubepods")
	for folder, pids := range map[string]string{"": "", "besteffort": "", "besteffort/pod1": "12\n7\n", "burstable/pod2": "7\n99\n"} {
		path := filepath.Join(tree, folder)
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(path, "cgroup.procs"), []byte(pids), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := CgroupPids([]string{tree, filepath.Join(tree, "gone")})
	if err != nil || !slices.Equal(got, []int{7, 12, 99}) {
		t.Errorf("got %v, %v, want 7, 12, 99", got, err)
	}

	empty := filepath.Join(t.TempDir(), "kubepods")
	if err := os.MkdirAll(filepath.Join(empty, "a", "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := RemoveCgroups([]string{empty}); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(empty); err == nil {
		t.Error("the tree is still there")
	}
}

func TestPodLinksAreThoseOfRoutesIntoThePodNetwork(t *testing.T) {
	routes := `default via 192.0.2.1 dev eth0
10.244.0.3 dev veth1a scope host
10.244.0.4 dev veth2b scope host
10.250.0.0/30 dev foretide0 proto kernel scope link src 10.250.0.1
10.9.0.4 dev other scope host
`
	got := podLinks(routes, netip.MustParsePrefix("10.244.0.0/24"))
	if want := []string{"veth1a", "veth2b"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
