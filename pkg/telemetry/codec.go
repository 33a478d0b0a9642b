package telemetry

import (
	"errors"
	"fmt"
	"time"

	"github.com/foretide/foretide/pkg/telemetry/telemetrypb"
)

// The newest and the oldest version of the wire that are spoken here.
const (
	Protocol       = 2
	OldestProtocol = 2
)

// MaxMessageBytes bounds a message of an agent: a longer one ends the stream. A frame of 8 GPUs has about a kilobyte.
const MaxMessageBytes = 4 << 20

// Encoder writes the frames of one stream, each as the difference to the one before. The zero value is ready.
type Encoder struct {
	layout *Layout
	values []float64
}

// Reset makes the next frame one that can be read without those before it.
func (e *Encoder) Reset() { *e = Encoder{} }

// Encode returns the frame as it travels. Node and Session travel in the Hello.
func (e *Encoder) Encode(f Frame) *telemetrypb.Frame {
	out := &telemetrypb.Frame{
		Sequence:              f.Sequence,
		StartUnixMilliseconds: f.Start.UnixMilli(),
		LengthMilliseconds:    uint64(max(0, f.End.UnixMilli()-f.Start.UnixMilli())),
		OwnersKnown:           f.OwnersKnown,
		Problems:              f.Problems,
		Key:                   e.layout == nil,
	}
	before := e.values
	if e.layout != f.Layout {
		if e.layout == nil || !f.Layout.sameIdentities(e.layout) {
			out.Identities = identitiesToProto(f.Layout)
		}
		if out.Identities != nil || !f.Layout.sameColumns(e.layout) {
			out.Columns = columnsToProto(f.Layout)
			before = nil
		}
	}
	out.Values = appendValues(make([]byte, 0, 2*len(f.Values)+len(f.Layout.Columns)/2+8), f.Layout.Columns, f.Values, before)
	e.layout, e.values = f.Layout, f.Values
	return out
}

// NeedsKeyError says that a frame could not be read because one before it on the stream was not.
type NeedsKeyError struct{ Sequence uint64 }

// Error says what to send.
func (e *NeedsKeyError) Error() string {
	return fmt.Sprintf("frame %d builds on one that could not be read: the next must be a key frame", e.Sequence)
}

// Decoder reads the frames of one stream.
type Decoder struct {
	node, session string
	// wire is the layout as it came, known the same without the metrics that are not known here, and values those of wire.
	wire, known *Layout
	values      []float64
}

// NewDecoder returns the decoder of a stream whose Hello had this node and session.
func NewDecoder(node, session string) *Decoder { return &Decoder{node: node, session: session} }

// Lost reports whether only a key frame can be read next.
func (d *Decoder) Lost() bool { return d.wire == nil }

// Decode returns the frame that came. Metrics this version does not know are left out. Anything that is wrong gives an error
// that names the field, the value and what is allowed; a *[NeedsKeyError] says that the fault is an earlier frame's. After an
// error ask [Decoder.Lost].
func (d *Decoder) Decode(in *telemetrypb.Frame) (Frame, error) {
	if err := d.read(in); err != nil {
		d.wire, d.known, d.values = nil, nil, nil
		return Frame{}, err
	}
	f := Frame{Node: d.node, Session: d.session, Sequence: in.GetSequence(),
		Start: time.UnixMilli(in.GetStartUnixMilliseconds()), End: time.UnixMilli(in.GetStartUnixMilliseconds() + int64(in.GetLengthMilliseconds())),
		OwnersKnown: in.GetOwnersKnown(), Problems: in.GetProblems(), Layout: d.known, Values: d.values}
	if d.known != d.wire {
		f.Values = d.wire.keep(d.values)
	}
	switch {
	case f.Sequence == 0:
		return Frame{}, errors.New("sequence is 0: counting begins at 1")
	case in.GetStartUnixMilliseconds() <= 0 || in.GetLengthMilliseconds() == 0 || in.GetLengthMilliseconds() > maxUnixMilliseconds ||
		in.GetStartUnixMilliseconds() > maxUnixMilliseconds:
		return Frame{}, fmt.Errorf("window begins at %d ms and is %d ms long: it must begin after 1970 and have a length",
			in.GetStartUnixMilliseconds(), in.GetLengthMilliseconds())
	}
	return f, nil
}

// maxUnixMilliseconds is in the year 10889: far enough, and sums of two do not overflow.
const maxUnixMilliseconds = 1 << 48

// read takes what the frame says of the layout and its values.
func (d *Decoder) read(in *telemetrypb.Frame) error {
	if in.GetKey() {
		d.wire, d.known, d.values = nil, nil, nil
	}
	if d.wire == nil && (in.GetIdentities() == nil || in.GetColumns() == nil) {
		if in.GetKey() {
			return errors.New("key is true, yet identities or columns are absent: a key frame has both")
		}
		return &NeedsKeyError{in.GetSequence()}
	}
	if in.GetIdentities() != nil && in.GetColumns() == nil {
		return errors.New("identities came without columns: columns must come with them")
	}
	before := d.values
	if in.GetColumns() != nil {
		if err := d.relayout(in); err != nil {
			return err
		}
		before = nil
	}
	values, err := readValues(in.GetValues(), d.wire.Columns, d.wire.Len(), before)
	if err != nil {
		return err
	}
	d.values = values
	return nil
}

func (d *Decoder) relayout(in *telemetrypb.Frame) error {
	var next Layout
	if d.wire != nil {
		next = *d.wire
	}
	if in.GetIdentities() != nil {
		var err error
		if next, err = identitiesFromProto(in.GetIdentities()); err != nil {
			return err
		}
	}
	columns, err := columnsFromProto(in.GetColumns(), &next)
	if err != nil {
		return err
	}
	next.Columns = columns
	if d.wire, err = NewLayout(next); err != nil {
		return err
	}
	d.known = d.wire.knownOnly()
	return nil
}

// isKnown tells of every column that there is a row in the catalogue for it, or a name.
func isKnown(c *Column) bool { return c.Kind == WorkloadColumn || c.Metric.Known() }

// knownOnly is the layout itself when every metric is known.
func (l *Layout) knownOnly() *Layout {
	out := *l
	out.Columns, out.length = nil, 0
	for i := range l.Columns {
		if c := &l.Columns[i]; isKnown(c) {
			out.Columns = append(out.Columns, *c)
			out.length += len(c.Slots)
		}
	}
	if out.length == l.length {
		return l
	}
	return &out
}

// keep returns the values of known columns.
func (l *Layout) keep(values []float64) []float64 {
	out := make([]float64, 0, len(values))
	Frame{Layout: l, Values: values}.Each(func(c *Column, v []float64) {
		if isKnown(c) {
			out = append(out, v...)
		}
	})
	return out
}
