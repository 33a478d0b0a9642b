package ingest

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/pkg/telemetry/telemetrypb"
)

func TestBatchIsLiveAtOnceAndAcknowledgedWhenDurable(t *testing.T) {
	f := serve(t)
	s := f.welcomed(t, "of-node-a", "node-a")
	for i := uint64(1); i <= 2; i++ {
		if got, want := exchange(t, s, batch(i, start)), fmt.Sprintf("ack %d, report every 1500 ms", i); got != want {
			t.Errorf("answer %q, want %q", got, want)
		}
	}
	want := []string{"put 1 at 09:00:00", "append node-a/s1/1", "put 2 at 09:00:00", "append node-a/s1/2"}
	if diff := cmp.Diff(want, f.calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	for name, want := range map[string]float64{
		"foretide_aggregator_ingest_batches_total":           2,
		"foretide_aggregator_ingest_samples_total":           6,
		"foretide_aggregator_ingest_streams":                 1,
		"foretide_aggregator_ingest_append_duration_seconds": 2,
	} {
		if got := f.counter(t, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("after the agent hung up: %v, want the stream's clean end", err)
	}
}

func TestWrongBatchIsRefusedAndTheStreamGoesOn(t *testing.T) {
	f := serve(t)
	f.fail = func(f telemetry.Frame) error {
		if f.Sequence == 99 {
			return fmt.Errorf("wrapped: %w", never{"too_old", "an hour too old"})
		}
		return nil
	}
	s := f.welcomed(t, "of-node-a", "node-a")
	change := func(sequence uint64, f func(*telemetry.Batch)) *telemetrypb.Frame {
		b := node(sequence, start)
		f(&b)
		return encode(b)
	}
	cut := batch(12, start)
	cut.Values = cut.Values[:1]
	later := batch(13, start)
	later.Key, later.Identities, later.Columns = false, nil, nil
	for _, c := range []struct {
		name string
		b    *telemetrypb.Frame
		want string
	}{
		{"no sequence", batch(0, start), "refusal 0: sequence is 0"},
		{"window upside down", change(2, func(b *telemetry.Batch) { b.Start = b.End }), "refusal 2: window begins at"},
		{"not a number", change(3, func(b *telemetry.Batch) { b.Readings[0].Values[1] = math.NaN() }), "refusal 3: metric 1 of devices[0] is NaN"},
		{"a ratio of 200 %", change(4, func(b *telemetry.Batch) { b.Usages[0].Values[1] = 2 }), "refusal 4: metric 1 of uses[0] is 2: foretide_device_utilization_ratio is a ratio of 0 to 1"},
		{"no pod", change(5, func(b *telemetry.Batch) { b.Usages[0].Owner.Pod = "" }), `refusal 5: uses[0] is of namespace "default", pod ""`},
		{"far future", batch(6, start.AddDate(1, 0, 0)), "refusal 6: window ends at 2027-03-02T09:00:00Z"},
		{"a long window", change(7, func(b *telemetry.Batch) { b.Start = b.Start.Add(-2 * time.Hour) }), "refusal 7: window is 2h0m1s long"},
		{"a device twice", change(8, func(b *telemetry.Batch) { b.Readings = append(b.Readings, b.Readings[0]) }), `refusal 8: devices[1].uuid "GPU-0" is there twice`},
		{"owners unknown but used", change(9, func(b *telemetry.Batch) { b.OwnersKnown = false }), "refusal 9: owners_known is false, yet there are 1 uses"},
		{"a long name", change(10, func(b *telemetry.Batch) { b.Usages[0].Owner.Pod = strings.Repeat("é", 127) }), "uses[0].pod"},
		{"refused by the store", batch(99, start), "refusal 99: an hour too old"},
		{"cut off", cut, "refusal 12: values"},
		{"one that builds on that", later, "deferral 13 for 0 ms, report every 1500 ms, key true: frame 13 builds on one that could not be read"},
		{"a good one after all that", batch(11, start.Add(5*time.Minute)), "ack 11"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := exchange(t, s, c.b); !strings.Contains(got, c.want) {
				t.Errorf("answer %q, want …%s…", got, c.want)
			}
		})
	}
	if got := f.counter(t, "foretide_aggregator_ingest_refused_batches_total"); got != 12 {
		t.Errorf("%v refused batches counted, want 12", got)
	}
	want := []string{"put 99 at 09:00:00", "put 11 at 09:00:00", "append node-a/s1/11"}
	if diff := cmp.Diff(want, f.calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestWhatCannotBeStoredNowIsDeferredAndTheStreamGoesOn(t *testing.T) {
	f := serve(t)
	full := true
	f.fail = func(telemetry.Frame) error {
		if full {
			return errors.New("no space left on device")
		}
		return nil
	}
	s := f.welcomed(t, "of-any", "node-b")
	if got, want := exchange(t, s, batch(1, start)), "deferral 1 for 5000 ms, report every 1500 ms, key false: no space left on device"; got != want {
		t.Errorf("answer %q, want %q", got, want)
	}
	full = false
	if got, want := exchange(t, s, batch(2, start)), "ack 2, report every 1500 ms"; got != want {
		t.Errorf("answer %q, want %q", got, want)
	}
	if diff := cmp.Diff([]string{"put 1 at 09:00:00", "put 2 at 09:00:00", "append node-b/s1/2"}, f.calls); diff != "" {
		t.Errorf("a full disk must not blind the live view: calls (-want +got):\n%s", diff)
	}
	if got := f.counter(t, "foretide_aggregator_ingest_append_failures_total"); got != 1 {
		t.Errorf("%v failures counted, want 1", got)
	}
}

func TestAnswersComeInTheOrderOfTheFrames(t *testing.T) {
	f := serve(t)
	enter, leave := make(chan struct{}, 100), make(chan struct{})
	f.fail = func(telemetry.Frame) error {
		enter <- struct{}{}
		<-leave
		return nil
	}
	s := f.welcomed(t, "of-any", "n")
	wrong := node(2, start)
	wrong.Usages[0].Values[1] = 7
	for _, b := range []*telemetrypb.Frame{batch(1, start), encode(wrong), batch(3, start)} {
		if err := s.Send(frameOf(b)); err != nil {
			t.Fatal(err)
		}
	}
	<-enter // frame 1 is being stored; the refusal of 2 is known
	close(leave)
	var got []string
	for range 3 {
		m, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(m.GetAck().GetSequence(), m.GetRefusal().GetSequence()))
	}
	if diff := cmp.Diff([]string{"1 0", "0 2", "3 0"}, got); diff != "" {
		t.Errorf("acknowledged and refused (-want +got):\n%s", diff)
	}
}

func TestAgentIsToldThatItsNodeIsBeingDrained(t *testing.T) {
	f := serve(t)
	for node, want := range map[string]bool{"cordoned": true, "node-1": false} {
		s := f.welcomed(t, "of-any", node)
		if err := s.Send(frameOf(batch(1, start))); err != nil {
			t.Fatal(err)
		}
		answer, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if got := answer.GetAck().GetNodeDraining(); got != want {
			t.Errorf("%s is being drained: %v; want %v", node, got, want)
		}
	}
}
