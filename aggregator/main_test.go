package main

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// update rewrites FLAGS.txt: go test ./aggregator -update
var update = flag.Bool("update", false, "write FLAGS.txt anew")

func TestHelpIsTheFlagReference(t *testing.T) {
	t.Setenv("POD_NAMESPACE", "")
	var texts []string
	for _, args := range [][]string{{"--help"}, {"serve", "--help"}, {"forecast", "--help"}, {"explain", "--help"}, {"adopt", "--help"}, {"report", "--help"}, {"backtest", "--help"}, {"simulate", "--help"}, {"tune", "--help"}, {"import", "--help"},
		{"import", "--prometheus.url=http://prometheus:9090", "--help"}, {"inspect", "--help"}, {"restore", "--help"}} {
		var out, log bytes.Buffer
		if err := run(t.Context(), args, &out, &log); err != nil || log.Len() > 0 {
			t.Fatalf("%q: %v, %q", args, err, log.String())
		}
		texts = append(texts, out.String())
	}
	got := strings.Join(texts, "\n\n")
	if *update {
		if err := os.WriteFile("FLAGS.txt", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("FLAGS.txt")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("FLAGS.txt (-want +got); run with -update if this is meant\n%s", d)
	}
}

func TestHelpIsAskedForInManyWays(t *testing.T) {
	for _, arg := range []string{"help", "-h", "-help", "--help"} {
		var out, log bytes.Buffer
		if err := run(t.Context(), []string{arg}, &out, &log); err != nil || out.String() != usage || log.Len() > 0 {
			t.Errorf("%s: %v, %q, %q", arg, err, out.String(), log.String())
		}
	}
}

func TestVersionIsPrinted(t *testing.T) {
	var out, log bytes.Buffer
	if err := run(t.Context(), []string{"version"}, &out, &log); err != nil || out.String() != "dev\n" || log.Len() > 0 {
		t.Errorf("%v, %q, %q", err, out.String(), log.String())
	}
}

func TestWrongArgumentsAreNamed(t *testing.T) {
	for want, args := range map[string][]string{
		`command is "scale": it must be serve, forecast, explain, adopt, report, backtest, simulate, tune, import, inspect, restore or version`: {"scale"},
		`flag provided but not defined: -fake (aggregator serve --help lists the flags)`:                                                        {"--fake"},
		`flag provided but not defined: -trace (aggregator serve --help lists the flags)`:                                                       {"serve", "--trace=a.csv"},
		`argument "now": there are only flags (aggregator inspect --help lists the flags)`:                                                      {"inspect", "now"},
		`invalid value "loud" for flag -log.level: it must be debug, info, warn or error`:                                                       {"--log.level=loud"},
		`--live.window is "5m0s": it must be 1s to 2m`:                                                                                          {"--live.window=5m"},
		`--snapshot is "": it must be the folder of a snapshot`:                                                                                 {"restore"},
		`--workload is "": it must be namespace/Kind/name, such as default/Deployment/llama`:                                                    {"import"},
		`--policies.path is "": it must be a file or directory when --kubernetes.enabled=false`:                                                 {"serve", "--kubernetes.enabled=false"},
	} {
		var out, log bytes.Buffer
		if err := run(t.Context(), args, &out, &log); err == nil || !strings.Contains(err.Error(), want) || out.Len() > 0 {
			t.Errorf("%q: error %v, output %q; want %s", args, err, out.String(), want)
		}
	}
}

func TestAsAPluginOfKubectlItServesNothing(t *testing.T) {
	for got, want := range map[string]string{
		strings.Join(arguments([]string{"/usr/local/bin/kubectl-foretide"}), " "):       "help",
		strings.Join(arguments([]string{"kubectl-foretide", "explain", "ahpa/x"}), " "): "explain ahpa/x",
		strings.Join(arguments([]string{"/aggregator", "--log.level=debug"}), " "):      "--log.level=debug",
		strings.Join(arguments([]string{"/aggregator"}), " "):                           "",
	} {
		if got != want {
			t.Errorf("arguments %q, want %q", got, want)
		}
	}
}
