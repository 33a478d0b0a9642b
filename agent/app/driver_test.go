package app

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDriverIsGivenBackOnRequestAndWhenADrainIsDone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "release-driver")
	for name, c := range map[string]struct {
		file, draining bool
		holders        int
		known, want    bool
	}{
		"in use":                                 {false, false, 3, true, false},
		"asked for":                              {true, false, 3, true, true},
		"drained":                                {false, true, 0, true, true},
		"a pod still holds a GPU":                {false, true, 1, true, false},
		"nobody knows whether a pod holds a GPU": {false, true, 0, false, false},
		"no pod holds a GPU":                     {false, false, 0, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.RemoveAll(file); err != nil {
				t.Fatal(err)
			}
			if c.file {
				if err := os.WriteFile(file, nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			w := &driverWatch{releaseFile: file, holders: func() (int, bool) { return c.holders, c.known }}
			w.draining.Store(c.draining)
			if got, why := w.released(); got != c.want || got != (why != "") {
				t.Errorf("released = %v, %q; want %v", got, why, c.want)
			}
		})
	}
}

func TestDriverStaysGivenBackWhenTheKubeletDoesNotAnswer(t *testing.T) {
	n, known := 0, true
	w := &driverWatch{holders: func() (int, bool) { return n, known }}
	w.draining.Store(true)
	for i, c := range []struct {
		n           int
		known, want bool
	}{{0, true, true}, {0, false, true}, {0, true, true}, {1, true, false}, {0, false, false}, {0, true, true}} {
		n, known = c.n, c.known
		if got, _ := w.released(); got != c.want {
			t.Errorf("step %d: released = %v; want %v", i, got, c.want)
		}
	}
	w.draining.Store(false)
	if got, _ := w.released(); got {
		t.Error("given back after the drain was over")
	}
}

func TestReplacedLibraryAsksToBeginAnewButNotWhileTheDriverIsGivenBack(t *testing.T) {
	synctest.Test(t, testReplacedLibrary)
}

func testReplacedLibrary(t *testing.T) {
	released := false
	var told []bool
	w := &driverWatch{holders: func() (int, bool) { return 0, true }, release: func(yes bool) { told = append(told, yes) },
		replaced: func() bool { return true }}
	began := time.Now()
	if err := w.run(t.Context(), func(yes bool, _ string) { released = yes }); !errors.Is(err, ErrAgain) {
		t.Errorf("error = %v; want ErrAgain", err)
	}
	if d := time.Since(began); d < againAfter {
		t.Errorf("began anew after %v: it would do nothing else if that did not help", d)
	}
	told = nil
	w.draining.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.run(ctx, func(yes bool, _ string) { released = yes }); err != nil || !released {
		t.Errorf("error %v, released %v; want it given back and no new beginning", err, released)
	}
	if d := cmp.Diff([]bool{true}, told); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestProgramsOwnPagesAreFound(t *testing.T) {
	maps := "00400000-00500000 r-xp 00000000 fe:00 12 /bin/agent\n00500000-00600000 rw-p 00100000 fe:00 12 /bin/agent\n" +
		"00600000-00700000 r--p 00200000 fe:00 12 /bin/agent\n7f00-7f01 r-xp 0 fe:00 13 /lib/libc.so.6\n7f02-7f03 rw-p 0 00:00 0\nnonsense\n"
	want := []mapping{{0x400000, 0x500000}, {0x600000, 0x700000}}
	if d := cmp.Diff(want, readOnlyMappings(maps, "/bin/agent"), cmp.AllowUnexported(mapping{})); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	trim() // what is needed again comes again
}
