//go:build chaos

package chaos

import "testing"

func TestComparisonFindsWhatIsLostChangedAndTooMuch(t *testing.T) {
	acknowledged := []point{{3, 30}, {1, 10}, {2, 20}}
	for want, stored := range map[findings][]point{
		{compared: 3}:                         {{1, 10}, {2, 20}, {3, 30}},
		{compared: 3, lost: 1}:                {{1, 10}, {3, 30}},
		{compared: 3, lost: 2}:                {{1, 10}, {2, 21}},
		{compared: 3, lost: 3}:                nil,
		{compared: 3, duplicated: 1}:          {{1, 10}, {2, 20}, {2, 20}, {3, 30}},
		{compared: 3, lost: 1, duplicated: 2}: {{0, 0}, {1, 10}, {2, 20}, {4, 40}},
	} {
		var got findings
		got.compare("s", acknowledged, stored)
		if (got.example == "") != (got.lost+got.duplicated == 0) {
			t.Errorf("stored %v: example %q", stored, got.example)
		}
		if got.example = ""; got != want {
			t.Errorf("stored %v: found %+v, want %+v", stored, got, want)
		}
	}
}
