package spool

import (
	"bufio"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"testing"
)

// killedEnv makes the test's own binary the process that is killed, in the folder it names.
const killedEnv = "SPOOL_TEST_FOLDER"

// TestMain is the other process when it is told so: it puts batches and says a sequence when everything up to it is written,
// until it is killed.
func TestMain(m *testing.M) {
	folder := os.Getenv(killedEnv)
	if folder == "" {
		os.Exit(m.Run())
	}
	s, err := Open(Options{Path: folder})
	if err != nil {
		panic(err)
	}
	for n := 1; ; n = n%20 + 1 {
		put(s, n)
		for stats := s.Stats(); stats.DiskBytes < stats.Bytes; stats = s.Stats() {
			runtime.Gosched()
		}
		_, _ = os.Stdout.WriteString(strconv.FormatUint(s.last, 10) + "\n")
	}
}

func TestWhatWasWrittenSurvivesAKillAndNoSequenceIsUsedTwice(t *testing.T) {
	folder := t.TempDir()
	said := map[uint64]uint64{} // run → the last batch that is written
	for round := range 8 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), killedEnv+"="+folder)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for i := 0; lines.Scan(); i++ {
			n, err := strconv.ParseUint(lines.Text(), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			said[n/runSequences] = n
			if i == 5+11*round {
				if err := child.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = child.Wait() // killed
	}
	if len(said) != 8 {
		t.Errorf("%d runs had sequences of their own; want 8", len(said))
	}
	s := open(t, Options{Path: folder})
	defer closed(t, s)
	left := drain(t, s.Receiver("a"))
	slices.Sort(left)
	found := map[uint64]uint64{}
	for _, n := range left {
		if run := n / runSequences; found[run] == 0 && n%runSequences == 1 || n == found[run]+1 {
			found[run] = n
		} else {
			t.Errorf("batch %d follows %d", n, found[run])
		}
	}
	for run, last := range said {
		if found[run] < last {
			t.Errorf("run %d wrote %d batches, %d are left", run, last%runSequences, found[run]%runSequences)
		}
	}
}
