package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/foretide/foretide/pkg/telemetry/telemetrypb"
)

// A segment ends when it has this many batches, or bytes. Its first frame has all names and those after it have differences, so
// that a longer one is smaller; but it is dropped, read and removed as a whole.
const (
	segmentBatches = 16
	segmentBytes   = 256 << 10
)

// segment is batches that follow each other, as records; see [appendRecord]. The first is a key frame, so it can be read alone.
type segment struct {
	first, last uint64
	// began and put are when its first and its last batch came.
	began, put time.Time
	// data is nil when the records are in the file only.
	data []byte
	// size is what the records are together, and written how much of that the file has.
	size, written int
	// sealed means that nothing is added any more.
	sealed bool
	// tries is how often the file could not be read, and again when it is to be tried next.
	tries int
	again time.Time
}

func (g *segment) len() int { return int(g.last - g.first + 1) }

func (g *segment) full() bool { return g.len() >= segmentBatches || g.size >= segmentBytes }

// cameAt is about when a batch came, taking them as evenly spaced.
func (g *segment) cameAt(sequence uint64) time.Time {
	if g.len() == 1 {
		return g.put
	}
	return g.began.Add(g.put.Sub(g.began) * time.Duration(sequence-g.first) / time.Duration(g.last-g.first))
}

// recordHead is the length of the frame and its CRC-32C, four bytes each, little-endian.
const recordHead = 8

// maxRecord is more than any batch is; a longer one in a file is no record.
const maxRecord = 64 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errTorn says that the data ends within a record, or goes on with something else.
var errTorn = errors.New("a record is not whole")

// appendRecord adds a frame. The one thing that cannot be written is text that is not UTF-8.
func appendRecord(data []byte, frame *telemetrypb.Frame) ([]byte, error) {
	head := len(data)
	out, err := proto.MarshalOptions{}.MarshalAppend(append(data, make([]byte, recordHead)...), frame)
	if err != nil {
		return data, fmt.Errorf("write batch %d: %w", frame.GetSequence(), err)
	}
	payload := out[head+recordHead:]
	binary.LittleEndian.PutUint32(out[head:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(out[head+4:], crc32.Checksum(payload, castagnoli))
	return out, nil
}

// cutRecord returns the first frame's bytes and what comes after it.
func cutRecord(data []byte) (payload, rest []byte, err error) {
	payload, rest, err = cutByLength(data)
	if err == nil && crc32.Checksum(payload, castagnoli) != binary.LittleEndian.Uint32(data[4:]) {
		return nil, nil, errTorn
	}
	return payload, rest, err
}

// cutByLength believes what a record says of its length. An empty frame is none: a file that lost its content with the power
// reads as zeros.
func cutByLength(data []byte) (payload, rest []byte, err error) {
	if len(data) < recordHead {
		return nil, nil, errTorn
	}
	n := binary.LittleEndian.Uint32(data)
	if n == 0 || n > maxRecord || int(n) > len(data)-recordHead {
		return nil, nil, errTorn
	}
	return data[recordHead : recordHead+n], data[recordHead+n:], nil
}

// countRecords is how many records there are, or were before they were damaged: as many as their lengths tell.
func countRecords(data []byte) (n uint64) {
	for len(data) > 0 {
		n++
		_, data, _ = cutByLength(data) // nothing is left where a length makes no sense
	}
	return n
}

// scanSegment takes what a file holds for as far as it is whole. An error says why there is nothing to take.
func scanSegment(data []byte, now time.Time) (*segment, error) {
	g := &segment{sealed: true}
	var newest []byte
	rest := data
	for len(rest) > 0 {
		payload, after, err := cutRecord(rest)
		if err != nil {
			break
		}
		if g.size == 0 {
			var frame telemetrypb.Frame
			if err := proto.Unmarshal(payload, &frame); err != nil {
				return nil, fmt.Errorf("first frame: %w", err)
			}
			g.first, g.last = frame.GetSequence(), frame.GetSequence()-1
		}
		newest, rest = payload, after
		g.last++
		g.size = len(data) - len(rest)
	}
	if g.size == 0 {
		return nil, fmt.Errorf("none of its %d bytes are a whole batch", len(data))
	}
	var frame telemetrypb.Frame
	if err := proto.Unmarshal(newest, &frame); err != nil {
		return nil, fmt.Errorf("last frame: %w", err)
	}
	if frame.GetSequence() != g.last || g.first == 0 {
		return nil, fmt.Errorf("frames %d to %d are %d: they must follow each other", g.first, frame.GetSequence(), g.len())
	}
	// A wall clock that was set back must not make batches live longer.
	end := time.UnixMilli(frame.GetStartUnixMilliseconds() + int64(frame.GetLengthMilliseconds()))
	g.put = now.Add(-max(0, now.Sub(end)))
	g.began, g.written = g.put, g.size
	return g, nil
}
