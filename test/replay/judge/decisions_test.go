package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foretide/foretide/aggregator/app"
	"github.com/foretide/foretide/aggregator/simulate"
	"github.com/foretide/foretide/test/replay"
)

var update = flag.Bool("update", false, "write the decisions that the code makes now")

// golden are recordings whose decisions of the first day are kept: a day that is like the days before, and one of bursts.
var golden = []string{"servegen_small/total", "servegen_large/c41"}

func TestDecisionsAreThoseThatWereReviewed(t *testing.T) {
	for _, name := range golden {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dataset, _, _ := strings.Cut(name, "/")
			flights, err := replay.Flights("../../data/forecast", dataset)
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(flights, func(f replay.Flight) bool { return f.Name == name })
			if i < 0 {
				t.Fatal("there is no such recording")
			}
			got, file := decisions(t, flights[i]), filepath.Join("testdata", strings.ReplaceAll(name, "/", "_")+".txt")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Errorf("other decisions; if that is meant, look at what make judge says and go test ./test/replay/judge -update (-want +got):\n%s", d)
			}
		})
	}
}

// decisions are the replicas of a day, every quarter of an hour, with what is offered and how many serve.
func decisions(t *testing.T, f replay.Flight) string {
	const delay, every = 3 * time.Minute, 15 * time.Minute
	f.Trace.Offered = f.Trace.Offered[:24*time.Hour/replay.Step]
	var b strings.Builder
	b.WriteString("time   offered  replicas  ready\n")
	_, err := app.Fly(world(f, delay), f.Trace, policy(delay), f.Before, func(v simulate.View) {
		if since := v.Now.Sub(f.Trace.Start); since%every == 0 {
			fmt.Fprintf(&b, "%s  %7.2f  %8d  %5d\n", v.Now.Format("15:04"), f.Trace.Offered[since/replay.Step], v.Replicas, v.Ready)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
