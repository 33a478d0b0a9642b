package scaling

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestCeilingHoldsGrowthAndNothingElse(t *testing.T) {
	for _, c := range []struct {
		name                                 string
		wanted, ceiling, current, least, get int32
	}{
		{"growth is cut", 8, 5, 3, 1, 5},
		{"growth is within", 4, 5, 3, 1, 4},
		{"what runs stays", 8, 2, 3, 1, 3},
		{"fewer is as decided", 2, 1, 3, 1, 2},
		{"minReplicas stay", 4, 1, 2, 4, 4},
		{"even where more is wanted", 8, 1, 2, 4, 4},
		{"and are nobody's wish by themselves", 0, 0, 0, 4, 0},
	} {
		got := Decision{Replicas: c.wanted, Message: "m"}.Under(Ceiling{c.ceiling, NoFreeGPUs, "no GPU is free"}, c.current, c.least)
		if got.Replicas != c.get {
			t.Errorf("%s: %d, want %d", c.name, got.Replicas, c.get)
		}
		if cut := c.get < c.wanted; cut != (got.Limited == NoFreeGPUs) || cut != strings.Contains(got.Message, "because no GPU is free") {
			t.Errorf("%s: limited %q, %q", c.name, got.Limited, got.Message)
		}
	}
}

func TestBudgetIsDividedFairly(t *testing.T) {
	for _, c := range []struct {
		name   string
		budget int64
		shares []Share
		want   string
	}{
		{"enough for all", 10, []Share{{"a", 1, 1, 4}, {"b", 1, 1, 5}}, "[4 5]"},
		{"small wants are met, the rest is shared", 10, []Share{{"a", 1, 1, 2}, {"b", 1, 1, 20}, {"c", 1, 1, 20}}, "[2 4 4]"},
		{"the odd one goes to the first name", 5, []Share{{"b", 1, 1, 9}, {"a", 1, 1, 9}}, "[2 3]"},
		{"what runs stays, beyond the budget too", 4, []Share{{"a", 1, 5, 9}, {"b", 1, 1, 2}}, "[5 1]"},
		{"what is wanted no more is given back", 4, []Share{{"a", 1, 5, 1}, {"b", 1, 1, 4}}, "[1 3]"},
		{"who has more waits", 8, []Share{{"a", 1, 5, 9}, {"b", 1, 1, 9}}, "[5 3]"},
		{"GPUs count, not replicas", 12, []Share{{"a", 4, 1, 9}, {"b", 1, 1, 9}}, "[2 4]"},
		{"one of several GPUs gets them together", 9, []Share{{"a", 4, 1, 9}, {"b", 1, 1, 2}}, "[1 2]"},
		{"whom the rest is too little for is passed over", 6, []Share{{"a", 4, 0, 1}, {"b", 1, 3, 9}}, "[0 6]"},
		{"no replica holds no GPU", 2, []Share{{"a", 0, 0, 9}}, "[2]"},
		{"nobody", 2, nil, "[]"},
	} {
		if got := fmt.Sprint(Divide(c.budget, c.shares)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestBudgetHoldsWhateverIsWanted(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 3000 {
		sizes := []int64{1, 1 + random.Int64N(4)}
		alike := random.IntN(2) == 0
		var shares []Share
		held, wanted := int64(0), int64(0)
		for i := range random.IntN(8) {
			s := Share{Name: fmt.Sprint(i), GPUs: sizes[random.IntN(2)], Held: random.Int32N(6), Wanted: random.Int32N(20)}
			if alike {
				s.GPUs = sizes[1]
			}
			shares = append(shares, s)
			held, wanted = held+int64(min(s.Held, s.Wanted))*s.GPUs, wanted+int64(s.Wanted)*s.GPUs
		}
		budget := random.Int64N(60)
		got := Divide(budget, shares)
		sum := gpusOf(shares, got)
		if sum > max(budget, held) {
			t.Fatalf("%d GPUs of %d (%d held): %v of %v", sum, budget, held, got, shares)
		}
		for i, s := range shares {
			if got[i] < min(s.Held, s.Wanted) || got[i] > s.Wanted {
				t.Fatalf("%d granted to %+v", got[i], s)
			}
		}
		// Nothing that somebody wants is left lying.
		for i, s := range shares {
			if got[i] < s.Wanted && budget-sum >= s.GPUs {
				t.Fatalf("%d GPUs are left and %+v got %d", budget-sum, s, got[i])
			}
		}
		more := Divide(budget+1, shares)
		if gpusOf(shares, more) < sum {
			t.Fatalf("a larger budget is used less: %v, then %v of %v", got, more, shares)
		}
		for i := range shares {
			if alike && more[i] < got[i] {
				t.Fatalf("a larger budget takes from %d: %v, then %v of %v", i, got, more, shares)
			}
		}
		if len(shares) > 0 {
			i := random.IntN(len(shares))
			greedy := slices.Clone(shares)
			greedy[i].Wanted++
			if after := Divide(budget, greedy); after[i] < got[i] {
				t.Fatalf("who wants more gets less: %d, then %d of %v", got[i], after[i], shares)
			}
		}
		order := random.Perm(len(shares))
		mixed := make([]Share, len(shares))
		for i, j := range order {
			mixed[i] = shares[j]
		}
		for i, n := range Divide(budget, mixed) {
			if n != got[order[i]] {
				t.Fatalf("another order gives %v something else: %d, then %d", mixed[i], got[order[i]], n)
			}
		}
	}
}

func gpusOf(shares []Share, granted []int32) (sum int64) {
	for i, s := range shares {
		sum += int64(granted[i]) * s.GPUs
	}
	return sum
}
