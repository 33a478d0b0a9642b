package forecast

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/foretide/foretide/pkg/trees"
)

// up moves every quantile by one unit of the scale, whatever it sees.
func up() *trees.Forest {
	t := trees.Tree{Values: make([]float32, len(correctedLevels))}
	for l := range t.Values {
		t.Values[l] = 1
	}
	return &trees.Forest{Features: featureCount, Outputs: len(correctedLevels), Trees: []trees.Tree{t}}
}

func TestCorrectionMovesMeanAndQuantiles(t *testing.T) {
	s := series(10*time.Minute, 10*144, daily(1))
	asked := []float64{0.05, 0.5, 0.93, 0.999}
	plain, err := PredictWith(nil, s, 150, asked)
	if err != nil {
		t.Fatal(err)
	}
	moved, err := PredictWith(up(), s, 150, asked)
	if err != nil {
		t.Fatal(err)
	}
	sane(t, moved, 150)
	for i := range plain.Mean {
		by := moved.Mean[i] - plain.Mean[i]
		if by <= 0 {
			t.Fatalf("the mean of step %d moved by %g", i, by)
		}
		for l := range asked {
			if got := moved.Quantiles[l][i] - plain.Quantiles[l][i]; !near(got, by, 1e-6) {
				t.Fatalf("quantile %g of step %d moved by %g, the mean by %g", asked[l], i, got, by)
			}
		}
	}
}

func TestWhereThereIsNoDoubtNothingIsCorrected(t *testing.T) {
	f, err := PredictWith(up(), series(10*time.Minute, 1000, func(int) float64 { return 7 }), 10, levels)
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range f.Mean {
		if !near(m, 7, 1e-9) {
			t.Fatalf("step %d is %g, want 7", i, m)
		}
	}
}

func TestLevelBetweenTwoCorrectedOnesMovesByWhatLiesBetween(t *testing.T) {
	for level, want := range map[float64]float64{0.001: 0, 0.1: 0, 0.15: 0.5, 0.9: 8, 0.925: 8.5, 0.97: 9.5, 0.99: 10, 0.9999: 10} {
		if p := placeOf(level); !near(float64(p.below)+float64(p.share), want, 1e-6) {
			t.Errorf("level %g is at %d + %g, want %g", level, p.below, p.share, want)
		}
	}
}

func TestBeyondTheStepsThatTheForestWasAskedAboutTheLastMoveHolds(t *testing.T) {
	a := advice{stride: 15, horizon: 17, moves: make([]moves, 3)} // of steps 0, 15 and 16
	a.moves[2][medianLevel] = 1
	for i, want := range map[int]float32{15: 0, 16: 1, 17: 1, 29: 1, 30: 1, 45: 1} {
		var m moves
		if a.at(i, &m); m[medianLevel] != want {
			t.Errorf("step %d is moved by %g, want %g", i, m[medianLevel], want)
		}
	}
}

func TestEmbeddedCorrectionFitsAndIsNotEmpty(t *testing.T) {
	if f := correction(); len(f.Trees) == 0 {
		t.Error("the embedded correction has no trees: run go run ./hack/forecast-train")
	}
}

func TestEvidenceIsFiniteAndInItsLimits(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 1))
	for name, f := range map[string]func(i int) float64{
		"daily":        daily(1),
		"mostly none":  func(int) float64 { return pick(r.IntN(30) == 0, r.Float64(), 0) },
		"huge":         func(i int) float64 { return 1e12 * float64(i&1) },
		"tiny":         func(i int) float64 { return 1e-9 * float64(i&3) },
		"with a gap":   func(i int) float64 { return pick(i > -300 && i < -100, nan, r.Float64()) },
		"just changed": func(i int) float64 { return pick(i > -100, 50, 1) + r.Float64() },
	} {
		for _, days := range []int{1, 2, 8, 28} {
			all, err := Gather(series(10*time.Minute, days*144, f), 144, []int{0, 5, 143})
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range all {
				if len(e.Features) != featureCount || len(e.Quantiles) != len(EvidenceLevels()) {
					t.Fatalf("%s: %d features, %d quantiles", name, len(e.Features), len(e.Quantiles))
				}
				for k, v := range slices.Concat(e.Features, e.Quantiles) {
					if v != v || k < featureCount && math.Abs(float64(v)) > 12 {
						t.Errorf("%s, %d days, step %d: value %d is %g", name, days, e.Step, k, v)
					}
				}
			}
		}
	}
}

func TestNothingIsAllocatedPerStep(t *testing.T) {
	s := series(10*time.Minute, 10*144, daily(1))
	allocations := func(horizon int) float64 {
		return testing.AllocsPerRun(5, func() {
			if _, err := Predict(s, horizon, levels); err != nil {
				t.Fatal(err)
			}
		})
	}
	if day, fortnight := allocations(144), allocations(14*144); fortnight > day+5 {
		t.Errorf("%g allocations for a day, %g for two weeks", day, fortnight)
	}
}
