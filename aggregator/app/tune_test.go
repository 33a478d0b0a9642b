package app

import (
	"bytes"
	"context"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/foretide/foretide/aggregator/simulate"
	"github.com/foretide/foretide/pkg/trace"
)

// tunedPolicy has all that tune turns, and what it must leave alone.
const tunedPolicy = `apiVersion: autoscaling.foretide.dev/v1alpha1
kind: AdvancedHorizontalPodAutoscaler
metadata: {name: chat, namespace: llm, labels: {team: a}}
spec:
  scaleStrategy: auto
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: chat}
  metrics:
  - type: Pods
    pods: {metric: {name: waiting}, target: {type: AverageValue, averageValue: "5"}}
  - type: Resource
    resource: {name: gpu, target: {type: Utilization, averageUtilization: 37}}
  maxReplicas: 90
  behavior: {scaleDown: {stabilizationWindowSeconds: 240}}
  prediction: {quantile: 0.97, scaleUpForward: 75}
`

func TestTuneFindsACheaperPolicyThatHoldsTheLimitAndPrintsIt(t *testing.T) {
	args := []string{"--trace=" + tides(t, 3), "--history=46h", "--policy=" + writeFile(t, "policy.yaml", tunedPolicy), "--step=1m", "--startup=5m", "--most-short=10", "--tries=15"}
	var out, log bytes.Buffer
	if err := Tune(t.Context(), args, &out, &log); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	for _, want := range []string{
		"# Found by aggregator tune on tides: target ", "settings the cheapest that was short for at most 10 min a day from 2026-03-03T22:00:00Z to 2026-03-04T11:00:00Z",
		"which the search did not see, it was short for", "#    chat as found", "#   chat as it was", "#      hpa at 37 %", "# the metric waiting is left out",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	cost := func(row string) string {
		return regexp.MustCompile(row + `\s+\S+ min\s+\S+ s\s+\S+\s+(\S+)`).FindStringSubmatch(text)[1]
	}
	if found, was := cost("as found"), cost("as it was"); len(found) > len(was) || len(found) == len(was) && found >= was {
		t.Errorf("%s GPU-hours as found, %s as it was", found, was)
	}
	all, err := readPolicies(writeFile(t, "tuned.yaml", text))
	if err != nil {
		t.Fatalf("what it prints is no policy: %v\n%s", err, text)
	}
	given, err := readPolicies(writeFile(t, "given.yaml", tunedPolicy))
	if err != nil {
		t.Fatal(err)
	}
	tuned := all[0]
	if len(tuned.Spec.Metrics) != 2 || tuned.Labels["team"] != "a" || tuned.Spec.MaxReplicas != 90 || tuned.UID != given[0].UID {
		t.Errorf("it printed another policy:\n%s", text)
	}
	if down := tuned.Spec.Behavior.ScaleDown.StabilizationWindowSeconds; *down != *tuned.Spec.StabilizationWindowSeconds {
		t.Errorf("stabilization is %d, and %d in behavior, which counts", *tuned.Spec.StabilizationWindowSeconds, *down)
	}
	if strings.Contains(text, "status") || strings.Contains(text, "creationTimestamp") || strings.Contains(text, "uid") {
		t.Errorf("nobody writes that:\n%s", text)
	}
	if !strings.Contains(log.String(), "quantile 50, scaleUpForward 75, stabilization 240 s\n") {
		t.Errorf("progress: %s", log.String())
	}
	var again bytes.Buffer
	if err := Tune(t.Context(), args, &again, io.Discard); err != nil || again.String() != text {
		t.Errorf("once more it finds another: %v\n%s", err, again.String())
	}
}

func TestTuneWarnsOfAPolicyThatDoesNotHoldOnTheOtherHalf(t *testing.T) {
	var calm, bursts []trace.Point
	for i := range 4 * 288 {
		at, load := time.Unix(int64(i)*300, 0), 8.0
		calm = append(calm, trace.Point{Time: at, Value: load})
		if i >= 3*288 && i%36 < 6 { // not before the half that is not searched
			load = 40
		}
		bursts = append(bursts, trace.Point{Time: at, Value: load})
	}
	for series, warned := range map[string]bool{csv("load", calm): false, csv("load", bursts): true} {
		args := []string{"--trace=" + writeFile(t, "trace.csv", series), "--history=48h", "--policy=" + writeFile(t, "policy.yaml", flownPolicy), "--step=1m", "--startup=5m", "--tries=2"}
		var out, log bytes.Buffer
		if err := Tune(t.Context(), args, &out, &log); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(log.String(), "Do not apply it as it is"); got != warned || strings.Contains(out.String(), "longer than is allowed") != warned {
			t.Errorf("warned: %v, want %v\n%s\n%s", got, warned, log.String(), out.String())
		}
	}
}

func TestTheSearchPrefersTheCheapestOfWhatIsAllowed(t *testing.T) {
	s := search{most: 10 * time.Minute}
	result := func(short time.Duration, gpuHours float64) simulate.Result {
		return simulate.Result{Short: short, GPUHours: gpuHours}
	}
	for _, c := range []struct {
		a, b simulate.Result
		want bool
	}{
		{result(9*time.Minute, 5), result(0, 6), true},                // both are allowed: the cheaper
		{result(11*time.Minute, 1), result(10*time.Minute, 9), false}, // one is not
		{result(11*time.Minute, 9), result(12*time.Minute, 1), true},  // none is: the less short
		{result(12*time.Minute, 1), result(12*time.Minute, 2), true},
		{result(0, 5), result(0, 5), false},
	} {
		if got := s.better(c.a, c.b); got != c.want {
			t.Errorf("%+v better than %+v: %v", c.a, c.b, got)
		}
	}
}

func TestASettingIsPutIntoAPolicyAndReadOutOfIt(t *testing.T) {
	all, err := readPolicies(writeFile(t, "policy.yaml", tunedPolicy))
	if err != nil {
		t.Fatal(err)
	}
	p := all[0]
	p.Spec.Metrics = p.Spec.Metrics[1:]
	if got := settingOf(p); got != (setting{37, 97, 75, 240}) {
		t.Errorf("the policy's own is %v", got)
	}
	want := setting{80, 60, 420, 900}
	if got := settingOf(want.with(p)); got != want {
		t.Errorf("put in %v, out comes %v", want, got)
	}
	if got := settingOf(p); got != (setting{37, 97, 75, 240}) {
		t.Errorf("the policy that was given is now %v", got)
	}
}

func TestTuneSaysWhatIsWrong(t *testing.T) {
	file, policy := "--trace="+tides(t, 3), "--policy="+writeFile(t, "policy.yaml", flownPolicy)
	small := writeFile(t, "small.yaml", strings.Replace(flownPolicy, "maxReplicas: 40", "maxReplicas: 8", 1))
	for want, args := range map[string][]string{
		`--trace is "" and --from-store ""`:                            {policy},
		`--most-short is -1: it must be 0 to 1440, minutes a day`:      {file, policy, "--most-short=-1"},
		`--tries is 0: it must be 1 to 10000`:                          {file, policy, "--tries=0"},
		`--most-short is 5: of 2 settings none was so good; the least`: {file, "--policy=" + small, "--tries=2", "--step=1m", "--history=50h"},
	} {
		if err := Tune(t.Context(), args, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error is %v, want %s", args, err, want)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := Tune(ctx, []string{file, policy}, io.Discard, io.Discard); err == nil || err.Error() != "stopped: context canceled" {
		t.Errorf("stopped: error is %v", err)
	}
}
