package storage

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/foretide/foretide/pkg/telemetry"
)

// The helper process appends batches for ever and prints the sequence of each one whose append returned.
const helperDir = "FORETIDE_STORAGE_HELPER_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperDir); dir != "" {
		fmt.Println(appendForEver(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func appendForEver(dir string) error {
	s, err := Open(Options{Dir: dir, Now: func() time.Time { return start }})
	if err != nil {
		return err
	}
	if err := s.WaitRaw(context.Background()); err != nil {
		return err
	}
	var framer telemetry.Framer
	for i := uint64(1); ; i++ {
		// Every fifth batch comes late, through the TSDB's separate log for such samples.
		end := start.Add(-20*time.Minute + time.Duration(i)*10*time.Millisecond)
		if i%5 == 0 {
			end = end.Add(-20 * time.Minute)
		}
		if err := s.AppendFrames(context.Background(), []telemetry.Frame{framer.Frame(batch(i, end))})[0]; err != nil {
			return err
		}
		if err := s.AppendDemand(context.Background(), bert, end, float64(i), 1); err != nil {
			return err
		}
		if _, err := fmt.Println(i); err != nil {
			return err
		}
	}
}

func TestAcknowledgedSamplesSurviveSIGKILL(t *testing.T) {
	t.Parallel()
	for _, kills := range []int{1, 700, 2000} {
		t.Run(fmt.Sprintf("after %d", kills), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			acknowledged := runHelperAndKill(t, dir, kills)
			s := open(t, dir, start)
			got := map[uint64]bool{}
			count := 0
			for _, points := range raw(t, s, "foretide_pod_utilization_ratio") {
				for _, p := range points {
					count++
					late := p.Time.Before(start.Add(-20 * time.Minute))
					offset := p.Time.Sub(start.Add(-20 * time.Minute))
					if late {
						offset += 20 * time.Minute
					}
					got[uint64(offset/(10*time.Millisecond))] = true
				}
			}
			for _, sequence := range acknowledged {
				if !got[sequence] {
					t.Errorf("batch %d was acknowledged and is gone", sequence)
				}
			}
			if count != len(got) {
				t.Errorf("%d samples for %d batches: some are doubled", count, len(got))
			}
			demands := 0
			db, err := s.workload.use()
			if err != nil {
				t.Fatal(err)
			}
			defer db.release()
			if err := db.each(t.Context(), 0, start.UnixMilli(), func(int64, float64) { demands++ }, bert.matchers(demandSeries)...); err != nil {
				t.Fatal(err)
			}
			if demands < len(acknowledged) {
				t.Errorf("%d demands for %d acknowledged", demands, len(acknowledged))
			}
			t.Logf("%d acknowledged, %d found", len(acknowledged), len(got))
		})
	}
}

// runHelperAndKill returns the sequences acknowledged before the kill, which comes after so many.
func runHelperAndKill(t *testing.T, dir string, after int) []uint64 {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var acknowledged []uint64
	for lines := bufio.NewScanner(out); lines.Scan(); {
		n, err := strconv.ParseUint(lines.Text(), 10, 64)
		if err != nil {
			_ = cmd.Process.Kill()
			t.Fatalf("helper says %q", lines.Text())
		}
		acknowledged = append(acknowledged, n)
		if len(acknowledged) == after {
			if err := cmd.Process.Kill(); err != nil { // SIGKILL
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("helper ended by itself")
	}
	return acknowledged
}

func TestDamagedEndOfTheLogIsRepairedAndReported(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	acknowledged := runHelperAndKill(t, dir, 500)
	segments, err := filepath.Glob(filepath.Join(dir, "raw", "wal", "0*"))
	if err != nil || len(segments) == 0 {
		t.Fatalf("segments %v, %v", segments, err)
	}
	last := slices.Max(segments)
	content, err := os.ReadFile(last)
	if err != nil {
		t.Fatal(err)
	}
	end := len(bytes.TrimRight(content, "\x00"))
	for i := end - 40; i < end; i++ { // what a lost page cache leaves of the last record
		content[i] ^= 0xff
	}
	if err := os.WriteFile(last, content, 0o600); err != nil {
		t.Fatal(err)
	}

	var log bytes.Buffer
	registry := prometheus.NewRegistry()
	s := openWith(t, Options{Dir: dir, Logger: slog.New(slog.NewTextHandler(&log, nil)), Registerer: registry,
		Now: func() time.Time { return start }})
	found, late := 0, 0
	for _, points := range raw(t, s, "foretide_pod_utilization_ratio") {
		for _, p := range points {
			found++
			if p.Time.Before(start.Add(-20 * time.Minute)) {
				late++
			}
		}
	}
	if found < 300 {
		t.Errorf("%d samples found: only the end of 500 was damaged", found)
	}
	// The log of late samples was not damaged.
	if want := len(acknowledged) / 5; late < want {
		t.Errorf("%d late samples found, want %d", late, want)
	}
	if !strings.Contains(log.String(), `msg="a log was damaged`) {
		t.Errorf("log does not report the repair:\n%s", log.String())
	}
	if got := repaired(t, registry); got["raw"] != 1 || got["workload"] != 0 {
		t.Errorf("foretide_aggregator_storage_repaired is %v, want raw 1, workload 0", got)
	}
	appendBatch(t, s, batch(1, start))
}

func TestLateSamplesSurviveSeveralKills(t *testing.T) {
	t.Parallel()
	o := Options{Dir: filepath.Join(t.TempDir(), "store"), Now: func() time.Time { return start.Add(2 * time.Hour) },
		tune: func(o *tsdb.Options) {
			small(o)
			o.HeadChunksWriteBufferSize = chunks.MinWriteBufferSize
		}}
	s := openWith(t, o)
	f := frame(full(1, start))
	random := rand.New(rand.NewPCG(1, 2))
	sent := 0
	send := func(n int, from time.Time) {
		for i := range n {
			for j := range f.Values {
				f.Values[j] = random.Float64()
			}
			f.End = from.Add(time.Duration(i) * time.Second)
			mustAppend(t, s, f)
			sent++
		}
	}
	kill := func() {
		o.Dir = copyOf(t, o.Dir)
		s = openWith(t, o)
		for name, want := range fullSeries {
			got := raw(t, s, name)
			if len(got) != len(want) {
				t.Fatalf("%s has %d series of %d", name, len(got), len(want))
			}
			for series, samples := range got {
				if len(samples) != sent {
					t.Fatalf("%s has %d samples of %d", series, len(samples), sent)
				}
			}
		}
	}
	send(1500, start) // more chunks than are gathered in memory before they are written
	// A chunk of each series is full and still in memory, and the log says that it is on the disk.
	send(130, start.Add(500*time.Millisecond))
	kill()
	// When the log was read the chunks of the other samples went to the disk, behind the place that the log names.
	kill()
	send(10, start.Add(700*time.Millisecond))
	kill()
}

func TestInterruptedRepairOfTheLogBeginsAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	acknowledged := runHelperAndKill(t, dir, 200)
	segment := filepath.Join(dir, "raw", "wal", "00000000")
	// The process died while it wrote the damaged segment anew: there is a beginning, and the whole under another name.
	content, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Rename(segment, segment+".repair"), os.WriteFile(segment, content[:len(content)/2], 0o600)); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	s := openWith(t, Options{Dir: dir, Logger: slog.New(slog.NewTextHandler(&log, nil)), Now: func() time.Time { return start }})
	for series, points := range raw(t, s, "foretide_pod_utilization_ratio") {
		if len(points) < len(acknowledged) {
			t.Errorf("%s has %d samples, %d were acknowledged", series, len(points), len(acknowledged))
		}
	}
	if !strings.Contains(log.String(), "a repair of the log was interrupted and begins again") {
		t.Errorf("log does not report it:\n%s", log.String())
	}
}

func repaired(t *testing.T, g prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		if f.GetName() == "foretide_aggregator_storage_repaired" {
			for _, m := range f.GetMetric() {
				out[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
			}
		}
	}
	return out
}
