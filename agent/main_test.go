package main

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// update rewrites FLAGS.txt: go test ./agent -update
var update = flag.Bool("update", false, "write FLAGS.txt anew")

func TestHelpIsTheFlagReference(t *testing.T) {
	var out bytes.Buffer
	if code := run([]string{"--help"}, &out, &out); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	if *update {
		if err := os.WriteFile("FLAGS.txt", out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("FLAGS.txt")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), out.String()); d != "" {
		t.Errorf("FLAGS.txt (-want +got); run with -update if this is meant\n%s", d)
	}
}

func TestVersionIsPrinted(t *testing.T) {
	var out, errOut bytes.Buffer
	if code := run([]string{"--version"}, &out, &errOut); code != 0 || out.String() != "dev\n" || errOut.Len() != 0 {
		t.Errorf("exit code %d, %q, %q", code, out.String(), errOut.String())
	}
}

func TestWrongFlagsEndWithCodeTwoAndSayWhatIsAllowed(t *testing.T) {
	cases := map[string][]string{
		"--log.level is \"loud\": it must be debug, info, warn or error":  {"--log.level=loud"},
		"flag provided but not defined: -fake":                            {"--fake"},
		"argument \"now\": there are only flags":                          {"now"},
		"--sampler.interval is \"1ms\": it must be from 100ms to 1m0s":    {"--sampler.interval=1ms"},
		"--aggregator.address is \"nowhere\": it must be host:port":       {"--aggregator.address=nowhere"},
		"--kubelet.resource-names is \"[a ]\": it must be at least one":   {"--kubelet.resource-names=a,"},
		"--spool.max-disk-bytes is \"0\": it must be 1048576 or more":     {"--spool.max-disk-bytes=0"},
		"--web.listen-address is \"9400\": it must be host:port or :port": {"--web.listen-address=9400"},
		"--node-name is \"\": it must be the name":                        {"--node-name="},
	}
	for want, args := range cases {
		var out, errOut bytes.Buffer
		if code := run(args, &out, &errOut); code != 2 || !strings.Contains(errOut.String(), want) || out.Len() != 0 {
			t.Errorf("%q: exit code %d, %q; want 2 and %q", args, code, errOut.String(), want)
		}
	}
}
