package spool

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/pkg/telemetry/telemetrypb"
)

// reader reads the frames of one segment, one after the other: of each there is only one in memory at a time.
type reader struct {
	session string
	segment *segment
	data    []byte // the records of segment, for as far as they are known
	offset  int    // where the record of next begins
	next    uint64
	decoder *telemetry.Decoder
}

// frame returns a batch of a segment, of which data has the records. Going forward costs what lies between, going back starts anew.
func (r *reader) frame(g *segment, data []byte, sequence uint64) (telemetry.Frame, error) {
	if r.segment != g || sequence < r.next {
		*r = reader{session: r.session, segment: g, next: g.first, decoder: telemetry.NewDecoder("", r.session)}
	}
	r.data = data
	for {
		payload, rest, err := cutRecord(r.data[min(r.offset, len(r.data)):])
		if err != nil {
			return telemetry.Frame{}, err
		}
		at := r.next
		r.next, r.offset = at+1, len(r.data)-len(rest)
		var in telemetrypb.Frame
		if err := proto.Unmarshal(payload, &in); err != nil {
			return telemetry.Frame{}, err
		}
		if in.GetSequence() != at {
			return telemetry.Frame{}, fmt.Errorf("its record is of batch %d", in.GetSequence())
		}
		if frame, err := r.decoder.Decode(&in); at == sequence {
			return frame, err
		}
	}
}

// release lets go of what was read.
func (r *reader) release() { *r = reader{session: r.session} }
