//go:build engines

package query

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// promtool of Debian's package prometheus must be installed.
func TestPromtoolQueries(t *testing.T) {
	server := serve(t, shared(t, history(t), nil))
	at, from := strconv.FormatInt(end.Unix(), 10), strconv.FormatInt(start.Unix(), 10)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"instant", "--time", at, server, "avg by (namespace) (foretide_pod_utilization_ratio)"},
			"{namespace=\"blue\"} => 0.05 @[1772442600]\n{namespace=\"green\"} => 0.25 @[1772442600]"},
		{[]string{"range", "--start", from, "--end", at, "--step", "5m", server, "sum(foretide_pod_utilization_ratio)"},
			"{} =>\n0.6 @[1772442000]\n0.6 @[1772442300]\n0.6 @[1772442600]"},
		{[]string{"series", "--match", `foretide_pod_utilization_ratio{pod="web-3"}`, "--start", from, "--end", at, server},
			`{__name__="foretide_pod_utilization_ratio", container="main", namespace="green", node="node-a", pod="web-3", uuid="GPU-3"}`},
		{[]string{"labels", "--start", from, "--end", at, server, "pod"}, "web-0\nweb-1\nweb-2\nweb-3"},
	} {
		out, err := exec.CommandContext(t.Context(), "promtool", append([]string{"query"}, c.args...)...).CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != c.want {
			t.Errorf("promtool query %q: %v\n%s\nwant\n%s", c.args, err, got, c.want)
		}
	}
}
