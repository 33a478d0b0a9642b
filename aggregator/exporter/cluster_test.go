package exporter

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
)

func TestClustersGPUsAreShownByType(t *testing.T) {
	noon := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	c := NewCluster(ClusterOptions{
		Now:  func() time.Time { return noon },
		GPUs: func() []GPUs { return []GPUs{{Type: "A100", Allocatable: 16, Requested: 12, Free: 2}} },
		Needed: func(now time.Time) []Needed {
			if !now.Equal(noon) {
				t.Errorf("asked for %v", now)
			}
			return []Needed{{Type: "A100", Now: 9, Ever: []Horizon{{"1h", 9.5, 11}, {"24h", 14, 20.5}}}}
		},
	})
	const want = `
foretide_cluster_forecast_gpus{horizon="1h",type="A100"} 9.5
foretide_cluster_forecast_gpus{horizon="24h",type="A100"} 14
foretide_cluster_forecast_upper_gpus{horizon="1h",type="A100"} 11
foretide_cluster_forecast_upper_gpus{horizon="24h",type="A100"} 20.5
foretide_cluster_gpus{state="allocatable",type="A100"} 16
foretide_cluster_gpus{state="free",type="A100"} 2
foretide_cluster_gpus{state="requested",type="A100"} 12
foretide_cluster_needed_gpus{type="A100"} 9
`
	problems, err := testutil.CollectAndLint(c)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	text, err := testutil.CollectAndFormat(c, expfmt.TypeTextPlain,
		"foretide_cluster_forecast_gpus", "foretide_cluster_forecast_upper_gpus", "foretide_cluster_gpus", "foretide_cluster_needed_gpus")
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			got.WriteString(line)
		}
	}
	if got.String() != strings.TrimLeft(want, "\n") {
		t.Errorf("shown:\n%s\nwant:%s", got.String(), want)
	}
}
