package workload

import (
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestOfANamespaceOnlyPodsThatShareALabelWithTheTargetAreLookedAt(t *testing.T) {
	var pods []*corev1.Pod
	for i := range 30 {
		pods = append(pods, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("p-%02d", i), Labels: map[string]string{
			"team": "a", "app": fmt.Sprint("web-", i/3), "pod-template-hash": "1", "tier": []string{"front", "back", "store"}[i%3],
		}}})
	}
	c := newCluster(t, pods)
	c.start(t)
	for selector, want := range map[string]struct{ looked, picked int }{
		"app=web-1":                      {3, 3},
		"team=a,app=web-1":               {3, 3},
		"app=web-1,tier=back":            {3, 1},
		"app in (web-1)":                 {3, 3},
		"app in (web-1,web-2)":           {30, 6},
		"app in (web-1,web-2),tier=back": {10, 2},
		"pod-template-hash=1":            {30, 30},
		"app=web-1,pod-template-hash=1":  {3, 3},
		"app!=web-1":                     {30, 27},
		"app=gone,team=a":                {0, 0},
		"team":                           {30, 30},
		"team=a,!app":                    {30, 0},
	} {
		id := ID{"default", "Deployment", selector}
		pick, err := c.picker(id, selector)
		if err != nil {
			t.Fatal(err)
		}
		looked, err := c.candidates(id, pick)
		if err != nil {
			t.Fatal(err)
		}
		picked, err := c.podsOf(id, pick)
		if err != nil || len(looked) != want.looked || len(picked) != want.picked {
			t.Errorf("%q looks at %d pods and picks %d (%v), want %d and %d", selector, len(looked), len(picked), err, want.looked, want.picked)
		}
		if !slices.IsSortedFunc(picked, func(a, b Pod) int { return map[bool]int{true: -1, false: 1}[a.Name < b.Name] }) {
			t.Errorf("%q: pods are not by name", selector)
		}
	}
}

func TestASelectorThatChangesIsReadAnew(t *testing.T) {
	c := newCluster(t, nil)
	id := ID{"default", "Deployment", "web"}
	for _, selector := range []string{"app=a", "app=b", "app=b"} {
		if pick, err := c.picker(id, selector); err != nil || pick.selector.String() != selector || len(c.read) != 1 {
			t.Errorf("%q: %v, %v, %d remembered", selector, pick.selector, err, len(c.read))
		}
	}
	if _, err := c.picker(id, "app=!"); err == nil {
		t.Error("no error of a selector that is none")
	}
}
