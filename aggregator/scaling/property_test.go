package scaling

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// odd returns a number that is often not a sane one.
func odd(r *rand.Rand, scale float64) float64 {
	switch r.IntN(12) {
	case 0:
		return math.NaN()
	case 1:
		return math.Inf(1)
	case 2:
		return -1
	case 3:
		return 1e300
	case 4:
		return 0
	}
	return r.Float64() * scale
}

func rules(r *rand.Rand) Rules {
	out := Rules{Tolerance: r.Float64() / 2, Stabilization: time.Duration(r.IntN(2)) * time.Minute, Select: []Select{"", SelectMax, SelectMin, SelectDisabled}[r.IntN(4)]}
	for range r.IntN(3) {
		out.Limits = append(out.Limits, Limit{Percent: r.IntN(2) == 0, Value: 1 + r.Int32N(150), Period: time.Duration(1+r.IntN(1800)) * time.Second})
	}
	return out
}

func TestAnyInputGivesADecisionWithinBoundsAndNeverLowersOnUnknownLoad(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 40_000 {
		p := gpuPolicy{Policy{MinReplicas: 1 + r.Int32N(5), Up: rules(r), Down: rules(r), Only: []Half{Both, Both, ReactiveHalf, ProactiveHalf}[r.IntN(4)]}, 1 + r.Int32N(120)}
		p.MaxReplicas = p.MinReplicas + r.Int32N(20)
		if r.IntN(50) == 0 {
			p.MaxReplicas = math.MaxInt32
		}
		in := gpu{Current: r.Int32N(30), GPUsPerPod: odd(r, 4), Forecast: Demand{Peak: odd(r, 20), OK: r.IntN(2) == 0, Lost: r.IntN(8) == 0}, Settling: r.IntN(8) == 0}
		unknown := false
		for range r.IntN(8) {
			pod := Pod{State: PodState(r.IntN(3)), Holds: odd(r, 4), Uses: odd(r, 4), Known: r.IntN(4) > 0}
			unknown = unknown || pod.State == Ready && !(pod.Known && pod.Uses >= 0 && pod.Uses <= MostAmount)
			in.Pods = append(in.Pods, pod)
		}
		w := &Window{}
		now := start
		for range 3 {
			d := decide(p, in, w, now)
			if in.Current == 0 {
				if d.Replicas != 0 {
					t.Fatalf("a target that is switched off gets %d replicas", d.Replicas)
				}
				continue
			}
			if d.Replicas < p.MinReplicas || d.Replicas > p.MaxReplicas {
				t.Fatalf("%d replicas outside [%d, %d]: %+v %+v", d.Replicas, p.MinReplicas, p.MaxReplicas, in, d)
			}
			lost := in.Forecast.Lost && p.Only != ReactiveHalf
			if (unknown || in.Settling && p.Only != ProactiveHalf || lost) && d.Replicas < in.Current && in.Current <= p.MaxReplicas {
				t.Fatalf("unknown load lowered %d to %d: %+v %+v", in.Current, d.Replicas, in, d)
			}
			if d.Message == "" || d.Reason == "" {
				t.Fatalf("a decision without words: %+v", d)
			}
			now = now.Add(time.Hour) // the window is empty: what it held back is let go
		}
	}
}

func TestMoreLoadNeverGivesFewerReplicas(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		p := gpuPolicy{Policy{MinReplicas: 1, MaxReplicas: 1000, Up: Rules{Tolerance: 0.1}, Down: Rules{Tolerance: 0.1}}, 1 + r.Int32N(99)}
		in := gpu{Current: 1 + r.Int32N(12), GPUsPerPod: 1, Forecast: Demand{Peak: 5 * r.Float64(), OK: r.IntN(2) == 0}}
		for range 1 + r.IntN(12) {
			in.Pods = append(in.Pods, Pod{State: PodState(r.IntN(3)), Holds: 1, Uses: r.Float64(), Known: r.IntN(5) > 0})
		}
		before := decide(p, in, &Window{}, start)
		more := in
		more.Pods = append([]Pod(nil), in.Pods...)
		for i := range more.Pods {
			more.Pods[i].Uses += r.Float64()
		}
		more.Forecast.Peak += r.Float64()
		if after := decide(p, more, &Window{}, start); after.Replicas < before.Replicas {
			t.Fatalf("more load gives %d after %d:\n%s\n%s", after.Replicas, before.Replicas, before.Message, after.Message)
		}
	}
}

// While a stabilization keeps the replicas and what is asked for stays the same, they stay until the moment it names and change
// with the next look.
func TestAStabilizedDecisionStandsUntilItSays(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	held := 0
	for range 300 {
		p := gpuPolicy{Policy{MinReplicas: 1, MaxReplicas: 20, Up: Rules{Stabilization: time.Minute}, Down: Rules{Stabilization: 5 * time.Minute}}, 50}
		w, now, current := &Window{}, start, int32(10)
		look := func(percent float64) Decision {
			return decide(p, gpu{Current: current, Pods: ready(slices.Repeat([]float64{percent}, int(current))...)}, w, now)
		}
		for range 1 + r.IntN(40) {
			current = look(float64(r.IntN(100))).Replicas
			now = now.Add(time.Duration(r.IntN(20)) * time.Second)
		}
		load := float64(r.IntN(100))
		d := look(load)
		if (d.Reason == Stabilized || d.Reason == UpStabilized) == d.Until.IsZero() {
			t.Fatalf("%s until %v", d.Reason, d.Until)
		}
		if d.Until.IsZero() || d.Replicas != current {
			continue
		}
		held++
		for now = now.Add(time.Second); !now.After(d.Until); now = now.Add(min(10*time.Second, max(time.Second, d.Until.Sub(now)))) {
			if got := look(load); got.Replicas != d.Replicas || !got.Until.Equal(d.Until) {
				t.Fatalf("%v before the end it is %+v, before %+v", d.Until.Sub(now), got, d)
			}
		}
		if got := look(load); got.Replicas == d.Replicas {
			t.Fatalf("after the end it is still %+v, before %+v", got, d)
		}
	}
	if held < 50 {
		t.Errorf("%d of 300 were held: too few to tell", held)
	}
}
