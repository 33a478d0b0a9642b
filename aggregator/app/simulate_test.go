package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/foretide/foretide/aggregator/simulate"
	"github.com/foretide/foretide/aggregator/storage"
	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
	"github.com/foretide/foretide/pkg/trace"
)

const flownPolicy = `apiVersion: autoscaling.foretide.dev/v1alpha1
kind: AdvancedHorizontalPodAutoscaler
metadata: {name: chat}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: chat}
  metrics:
  - type: Resource
    resource: {name: gpu, target: {type: Utilization, averageUtilization: 90}}
  maxReplicas: 40
`

// tides is a trace of days whose evenings rise from 3 to 27 in an hour, by the minute; without the minutes that are missing.
func tides(t *testing.T, days int, missing ...int) string {
	t.Helper()
	lost := map[int]bool{}
	for _, i := range missing {
		lost[i] = true
	}
	var all []trace.Point
	at := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	for i := range days * 1440 {
		if !lost[i] {
			all = append(all, trace.Point{Time: at.Add(time.Duration(i) * time.Minute), Value: 15 + 12*math.Tanh(3*math.Sin(2*math.Pi*float64(i)/1440))})
		}
	}
	return writeFile(t, "tides.csv", csv("tides", all))
}

// simulated runs the command and returns what it prints.
func simulateCommand(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	if err := Simulate(t.Context(), append(args, "--policy="+writeFile(t, "policy.yaml", flownPolicy)), &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestASimulationSaysWhatAPolicyAndItsPeersWouldHaveDone(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.html")
	var out, log bytes.Buffer
	if err := Simulate(t.Context(), []string{"--trace=" + tides(t, 6), "--policy=" + writeFile(t, "policy.yaml", flownPolicy), "--step=30s", "--startup=5m", "--html=" + page}, &out, &log); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"tides: 2026-03-05T00:00:00Z to 2026-03-07T23:59:30Z in steps of 30s, with 3.0 days of history before\n",
		"1 to 40 pods of 1 GPU, held to 90 %, which start in 5m0s; what is seen is 15s old\n",
		"over oracle", "At as many GPU-hours a HorizontalPodAutoscaler is short for", "page: " + page,
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
	for _, name := range []string{"chat", "hpa", "kpa", "fixed", "cron", "oracle", "ahpa-like", "crane-like"} {
		if !regexp.MustCompile(`(?m)^ *` + name + `  +[0-9.]+ min  `).MatchString(out.String()) {
			t.Errorf("no row for %s in\n%s", name, out.String())
		}
	}
	if !strings.Contains(log.String(), "100 %  24.0 of 24.0 days, crane-like\n") {
		t.Errorf("progress: %q", log.String())
	}
	html, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, never := range []string{"NaN", "Inf", "<script", "src=", "href=", "ZgotmplZ"} {
		if bytes.Contains(html, []byte(never)) {
			t.Errorf("the page has %s", never)
		}
	}
	total := map[string]int{}
	for rest := html; ; {
		from := bytes.Index(rest, []byte("<svg"))
		if from < 0 {
			break
		}
		to := bytes.Index(rest, []byte("</svg>")) + 6
		for class, n := range classes(t, rest[from:to]) {
			total[class] += n
		}
		rest = rest[to:]
	}
	// Four charts, each wide and narrow: demand in two, both policies in three, the curve and the policy's point in one.
	if total["wide"] != 4 || total["narrow"] != 4 || total["demand"] != 4 || total["policy"] != 6+2 || total["other"] != 6+2 || total["peer"] != 2*6 || total["oracle"] != 2 || total["label"] != 2*8 {
		t.Errorf("the page has %v", total)
	}
}

func TestASimulationIsTheSameEachTime(t *testing.T) {
	file := tides(t, 4)
	play := func(seed string) string {
		return simulateCommand(t, "--trace="+file, "--output=json", "--startup=1m,4m,9m", "--seed="+seed, "--against=hpa")
	}
	if once := play("7"); once != play("7") {
		t.Error("the same seed gives another result")
	} else if once == play("8") {
		t.Error("another seed gives the same result: nothing is random")
	}
}

func TestJSONHasWhatTheTableHas(t *testing.T) {
	var got struct {
		Recording, From          string
		HistoryMinutes           int
		Policies, Hpas           []outcomeJSON
		Oracle                   outcomeJSON
		StepSeconds, BridgedStep float64
	}
	out := simulateCommand(t, "--trace="+tides(t, 4), "--output=json", "--against=hpa,oracle", "--history=72h", "--startup=10m")
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	own, hpa, oracle := got.Policies[0], got.Policies[1], got.Policies[2]
	if got.Recording != "tides" || got.From != "2026-03-05T00:00:00Z" || got.HistoryMinutes != 3*1440 || got.StepSeconds != 15 || len(got.Hpas) != 8 || own.Policy != "chat" {
		t.Errorf("%s", out)
	}
	if d := cmp.Diff(oracle, got.Oracle); d != "" || oracle.OverOracleRatio != 0 {
		t.Errorf("the oracle is compared with itself: %s", d)
	}
	if math.Abs(own.OverOracleRatio-(own.GPUHours/oracle.GPUHours-1)) > 1e-4 || own.TargetPercent != 90 {
		t.Errorf("%+v over %+v", own, oracle)
	}
	if !(hpa.ShortMinutes > 20 && own.ShortMinutes < hpa.ShortMinutes/2) {
		t.Errorf("a rise in the time that a pod starts: hpa short for %v min, the policy for %v", hpa.ShortMinutes, own.ShortMinutes)
	}
}

func TestTheHistoryOfAWorkloadIsPlayed(t *testing.T) {
	dir, day := t.TempDir(), time.Now().Add(-5*24*time.Hour).Truncate(24*time.Hour)
	store, err := storage.Open(storage.Options{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() }) // it is read while it is open
	var points []storage.Point
	for i := range 4 * 1440 {
		points = append(points, storage.Point{Time: day.Add(time.Duration(i) * time.Minute), Value: 5 + 3*math.Sin(2*math.Pi*float64(i)/1440)})
	}
	if _, err := store.AppendDemandHistory(t.Context(), storage.Workload{Namespace: "default", Kind: "Deployment", Name: "chat"}, points); err != nil {
		t.Fatal(err)
	}
	out := simulateCommand(t, "--from-store=default/chat", "--storage.path="+dir, "--against=hpa")
	if want := fmt.Sprintf("default/Deployment/chat: %s to", stamp(day.Add(48*time.Hour))); !strings.HasPrefix(out, want) {
		t.Errorf("it begins with %q, want %q", out[:80], want)
	}
	var log bytes.Buffer
	err = Simulate(t.Context(), []string{"--from-store=default/StatefulSet/chat", "--storage.path=" + dir, "--policy=" + writeFile(t, "policy.yaml", flownPolicy)}, io.Discard, &log)
	if err == nil || err.Error() != `--from-store is "default/StatefulSet/chat": the history has default/Deployment/chat` {
		t.Errorf("another kind: %v", err)
	}
}

func TestWhatIsNotRecordedIsBridgedAndTold(t *testing.T) {
	var gap []int
	for i := 3 * 1440; i < 3*1440+60; i++ {
		gap = append(gap, i)
	}
	out := simulateCommand(t, "--trace="+tides(t, 4, gap...), "--step=1m", "--against=")
	if !strings.Contains(out, "60 of 2880 steps were not recorded; a straight line stands for them\n") {
		t.Errorf("got\n%s", out)
	}
}

func TestARecordingIsPutOnTheGridOfTheStep(t *testing.T) {
	nan := math.NaN()
	at := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	series := func(step time.Duration, values ...float64) (points []trace.Point) {
		for i, v := range values {
			if !math.IsNaN(v) {
				points = append(points, trace.Point{Time: at.Add(time.Duration(i) * step), Value: v})
			}
		}
		return points
	}
	for name, c := range map[string]struct {
		points []trace.Point
		want   []float64
	}{
		"as it is":                   {series(30*time.Second, 1, 2, 3), []float64{2, 4, 6}},
		"the mean of finer ones":     {series(10*time.Second, 1, 2, 3, 4, 5, 6), []float64{4, 10}},
		"lines between coarser ones": {series(time.Minute, 1, 2, 4), []float64{2, 3, 4, 6, 8}},
		"a gap stays one":            {series(30*time.Second, 1, 2, nan, nan, 5, 6, 7), []float64{2, 4, nan, nan, 10, 12, 14}},
	} {
		start, got := resample(c.points, 2, 30*time.Second)
		if d := cmp.Diff(c.want, got, cmpopts.EquateNaNs()); d != "" || !start.Equal(at) {
			t.Errorf("%s: from %v (-want +got):\n%s", name, start, d)
		}
	}
}

func TestWhatOfAPolicyIsNotSimulatedIsTold(t *testing.T) {
	policy := strings.Replace(flownPolicy, "  maxReplicas", `  - type: Pods
    pods: {metric: {name: "vllm:num_requests_waiting"}, target: {type: AverageValue, averageValue: "5"}}
  replicaBudget: {name: all, maxGPUs: 20}
  paused: true
  instanceBounds: [{bounds: [{cron: "* 8-20 ? * *", minReplicas: 4, maxReplicas: 15}]}]
  prediction: {scaleUpForward: auto}
  maxReplicas`, 1)
	var out bytes.Buffer
	if err := Simulate(t.Context(), []string{"--trace=" + tides(t, 3), "--against=", "--startup=1m,2m,3m,4m,5m,6m,7m,8m,9m,30m", "--step=1m",
		"--policy=" + writeFile(t, "policy.yaml", policy)}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"the metric vllm:num_requests_waiting", "replicaBudget is left out", "paused is left out", "instanceBounds hold for the policy alone", "scaleUpForward: auto is 9m0s, what nine in ten pods take to start",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}

func TestNamesCoverNeitherEachOtherNorPoints(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		p := plot{Width: 960, Left: 52, Top: 10, Floor: 238}
		var all []outcome
		at := map[string][2]float64{}
		for _, name := range []string{"chat", "hpa", "kpa", "fixed: 8224 →", "oracle", "ahpa-like"} {
			all = append(all, outcome{name: name})
			at[name] = [2]float64{52 + 908*r.Float64(), 10 + 228*min(1, 2*r.Float64())} // half of them on the floor
		}
		p.name(all, func(o outcome) float64 { return at[o.name][0] }, func(o outcome) float64 { return at[o.name][1] })
		var taken []box
		for _, d := range p.Points {
			length := letterWidth * float64(len([]rune(d.Name)))
			label := box{d.LabelX, d.LabelX + length, d.LabelY - lineHeight, d.LabelY}
			if d.Anchor == "end" {
				label.left, label.right = d.LabelX-length, d.LabelX
			}
			taken = append(taken, label)
		}
		for i, label := range taken {
			if label.left < 52 || label.right > 960 || slices.ContainsFunc(taken[:i], label.meets) {
				t.Fatalf("the name of %s is covered, or outside: %+v", p.Points[i].Name, p.Points)
			}
			for _, d := range p.Points {
				if label.meets(box{d.X - 5, d.X + 5, d.Y - 5, d.Y + 5}) {
					t.Fatalf("the name of %s covers the point of %s: %+v", p.Points[i].Name, d.Name, p.Points)
				}
			}
		}
	}
}

func TestSimulateSaysWhatIsWrong(t *testing.T) {
	file, policy := "--trace="+tides(t, 1), "--policy="+writeFile(t, "policy.yaml", flownPolicy)
	memory := writeFile(t, "memory.yaml", strings.Replace(flownPolicy, "name: gpu", "name: gpu-memory", 1))
	two := writeFile(t, "two.yaml", flownPolicy+"---\n"+strings.Replace(flownPolicy, "name: chat}", "name: other}", 1))
	for want, args := range map[string][]string{
		`--trace is "" and --from-store "": one of them must be given`:                       {policy},
		`--trace is "a" and --from-store "b/c": one of them must be given, and not both`:     {policy, "--trace=a", "--from-store=b/c"},
		`--policy is "": it must be a YAML file`:                                             {file},
		`--policy: stat none.yaml: no such file`:                                             {file, "--policy=none.yaml"},
		`has no metric of the type Resource, named gpu, with a target of the type`:           {file, "--policy=" + memory},
		`holds 2 policies: it must hold one`:                                                 {file, "--policy=" + two},
		`--against has "vpa": each must be one of hpa, kpa, fixed, cron, oracle`:             {file, policy, "--against=hpa,vpa"},
		`--against has "hpa": each must be one of`:                                           {file, policy, "--against=hpa,hpa"},
		`--output is "xml": it must be table or json`:                                        {file, policy, "--output=xml"},
		`--scale is 0: it must be a number above 0`:                                          {file, policy, "--scale=0"},
		`--gpus is -1: it must be a number of 0 or more`:                                     {file, policy, "--gpus=-1"},
		`--gpus is 1: it must be 0, or enough for one pod (--gpus-per-pod is 2)`:             {file, policy, "--gpus=1", "--gpus-per-pod=2"},
		`--gpus-per-pod is 0.5: it must be a whole number from 1 to 1024`:                    {file, policy, "--gpus-per-pod=0.5"},
		`--provisioning is 5m0s and --gpus 0: there is nothing to bring`:                     {file, policy, "--provisioning=5m"},
		`--noise is 2: it must be 0 to 1`:                                                    {file, policy, "--noise=2"},
		`flag -outages: it must be a time and a duration such as`:                            {file, policy, "--outages=2026-03-02T20:00:00Z"},
		`--outages has 2026-03-02T01:00:00Z: the flight is from 2026-03-02T12:00:00Z to`:     {file, policy, "--outages=2026-03-02T01:00:00Z/5m"},
		`flag -rollouts: it must be a time such as 2026-03-05T10:00:00Z, or several`:         {file, policy, "--rollouts=2026-03-02T20:00:00Z,2026-03-02T19:00:00Z"},
		`--rollouts has 2026-03-03T00:00:00Z: the flight is from 2026-03-02T12:00:00Z to`:    {file, policy, "--rollouts=2026-03-03T00:00:00Z"},
		`"tides" is 1.5e+09 busy GPUs at 2026-03-02T00:00:00Z, with a --scale of 1e+08`:      {file, policy, "--scale=1e8"},
		`--against: policy "cron" needs the load before the trace`:                           {file, policy, "--history=0s", "--against=cron"},
		`--step is 7s: it must divide a minute`:                                              {file, policy, "--step=7s"},
		`--lag is 2h0m0s: it must be 0s to 1h0m0s`:                                           {file, policy, "--lag=2h"},
		`--drain is -1s: it must be 0s to 24h0m0s`:                                           {file, policy, "--drain=-1s"},
		`invalid value "3" for flag -startup: it must be a duration of 0s to 24h such as 3m`: {file, policy, "--startup=3"},
		`--history is "7d": it must be a duration such as 168h`:                              {file, policy, "--history=7d"},
		`"tides" is 23h59m15s long and 24h0m0s of it history (--history): at least 1h must`:  {file, policy, "--history=24h"},
		`--from-store is "chat": it must be namespace/name or namespace/Kind/name`:           {policy, "--from-store=chat"},
		`--storage.path: read "/none"`:                                                       {policy, "--from-store=a/b", "--storage.path=/none"},
		`--html: open /none/page.html: no such file`:                                         {file, policy, "--html=/none/page.html"},
	} {
		if err := Simulate(t.Context(), args, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error is %v, want %s", args, err, want)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := Simulate(ctx, []string{file, policy}, io.Discard, io.Discard); err == nil || err.Error() != "stopped: context canceled" {
		t.Errorf("stopped: error is %v", err)
	}
}

func TestWithoutHistoryWhatIsMadeFromItIsLeftOut(t *testing.T) {
	out := simulateCommand(t, "--trace="+tides(t, 1), "--history=0s", "--step=1m")
	if !strings.Contains(out, "fixed and cron are left out: they are made from history, and there is none\n") || regexp.MustCompile(`(?m)^ *(fixed|cron)  `).MatchString(out) {
		t.Errorf("got\n%s", out)
	}
}

func TestWhatHappensInAFlightIsScripted(t *testing.T) {
	file := "--trace=" + tides(t, 3) // the second half is flown
	plain := simulateCommand(t, file, "--against=", "--step=1m")
	for _, script := range []string{"--noise=0.2", "--outages=2026-03-03T14:00:00Z/3h,2026-03-04T06:00:00Z/3h", "--rollouts=2026-03-03T14:00:00Z,2026-03-04T14:00:00Z"} {
		if simulateCommand(t, file, "--against=", "--step=1m", script) == plain {
			t.Errorf("%s changes nothing", script)
		}
	}
}

func TestAPolicyThatIsHeldBackByMaxReplicasIsTold(t *testing.T) {
	s := &simulation{flown: []outcome{{name: "chat", Result: simulate.Result{Most: 40}}}, leg: leg{bounds: simulate.Bounds{Max: 40}}}
	if got := s.findings(); !slices.Contains(got, "chat came to maxReplicas, 40, which kept it from more.") {
		t.Errorf("findings: %q", got)
	}
}

func TestAFlightBeginsWithEnoughPodsAsFarAsThereMayBe(t *testing.T) {
	f := &flight{offered: []float64{8e8, 8e8}, target: 0.1, place: simulate.World{Step: time.Minute, GPUsPerPod: 1}, policy: simulatedPolicy(v1alpha1.StrategyAuto)}
	if got := f.part(0, 2).world.Replicas; got != 50 {
		t.Errorf("it begins with %d pods, want maxReplicas", got)
	}
	f.place.Rollouts = []time.Time{f.time(0), f.time(1)}
	if got := f.part(1, 2).world.Rollouts; len(got) != 1 || !got[0].Equal(f.time(1)) {
		t.Errorf("rollouts of the second step: %v", got)
	}
	f.offered[0] = 1.05
	if got := f.part(0, 2).world.Replicas; got != 11 {
		t.Errorf("it begins with %d pods, want 11", got)
	}
}

func TestEachFindingCanBeReadWithoutTheOthers(t *testing.T) {
	result := func(short time.Duration, gpuHours float64) outcome {
		return outcome{name: "chat", Result: simulate.Result{Short: short, GPUHours: gpuHours}}
	}
	s := &simulation{flown: []outcome{result(15*time.Minute, 90)}, hpas: []outcome{result(10*time.Minute, 130), result(20*time.Minute, 110)}, oracle: result(0, 80), leg: leg{bounds: simulate.Bounds{Max: 9}}}
	want := []string{
		"A HorizontalPodAutoscaler that is short as long takes 120.0 GPU-hours; chat 90.0.",
		"Who knows the future takes 80.0 GPU-hours and is short for 0.0 min.",
	}
	if d := cmp.Diff(want, s.findings()); d != "" {
		t.Errorf("cheaper than all that were tried (-want +got):\n%s", d)
	}
}

func TestGPUsThatWereBroughtGoAgain(t *testing.T) {
	file, policy := tides(t, 1), writeFile(t, "policy.yaml", flownPolicy)
	o := flightFlags{trace: file, policy: policy, scale: 1, gpus: 2, gpusPerPod: 1, startup: durations{0}, provisioning: 30 * time.Minute, step: time.Minute}
	f, err := o.read(t.Context(), func(time.Duration) time.Duration { return 0 })
	if err != nil {
		t.Fatal(err)
	}
	load := make([]float64, 4*60) // five GPUs in the first and in the last hour
	for i := range load {
		if i < 60 || i >= 180 {
			load[i] = 5
		}
	}
	w := f.place
	w.Replicas = 2
	ready := map[int32]int{}
	if _, err := simulate.Run(w, simulate.Trace{Start: f.start, Offered: load}, simulate.Oracle{Bounds: simulate.Bounds{Min: 1, Max: 9}, Target: 1, GPUsPerPod: 1,
		Trace: simulate.Trace{Start: f.start, Offered: load}, Step: w.Step, Ahead: w.Sync}, func(v simulate.View) { ready[v.Ready]++ }); err != nil {
		t.Fatal(err)
	}
	if ready[5] < 50 || ready[5] > 62 { // the other half of each hour they are on their way
		t.Errorf("pods are ready for so many minutes: %v", ready)
	}
}
