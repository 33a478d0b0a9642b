package telemetry

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
)

// How the values of a column are written; two bits of the frame's head.
const (
	asPredicted byte = iota
	onGrid
	exact
	unknownMode
)

const columnsPerByte = 4

// appendValues writes the values of a frame as Frame.values of the wire says. The prediction is the frame before; where that
// is nil, because the columns are new, the value before in the column.
func appendValues(out []byte, columns []Column, values, before []float64) []byte {
	head := len(out)
	out = append(out, make([]byte, (len(columns)+columnsPerByte-1)/columnsPerByte)...)
	at := 0
	for i := range columns {
		n := len(columns[i].Slots)
		p := predictor{}
		if before != nil {
			p.before = before[at : at+n]
		}
		var mode byte
		mode, out = appendColumn(out, columns[i].Grid, values[at:at+n], p)
		out[head+i/columnsPerByte] |= mode << (2 * (i % columnsPerByte))
		at += n
	}
	return out
}

// predictor says what the next value of a column will be, as far as both ends can tell.
type predictor struct {
	before []float64 // nil: the value before in the column
	last   float64
}

func (p *predictor) next(i int) float64 {
	if p.before != nil {
		return p.before[i]
	}
	return p.last
}

func appendColumn(out []byte, g Grid, values []float64, p predictor) (byte, []byte) {
	mode := asPredicted
	for i, v := range values {
		if math.Float64bits(v) != math.Float64bits(p.next(i)) {
			mode = onGrid
		}
		p.last = v
	}
	if mode == asPredicted {
		return mode, out
	}
	start := len(out)
	p.last = 0
	for i, v := range values {
		k, ok := g.step(v)
		if !ok {
			return exact, appendExact(out[:start], values, p)
		}
		out = binary.AppendVarint(out, k-g.base(p.next(i)))
		p.last = v
	}
	return mode, out
}

func appendExact(out []byte, values []float64, p predictor) []byte {
	p.last = 0
	for i, v := range values {
		out = binary.AppendUvarint(out, bits.ReverseBytes64(math.Float64bits(v)^math.Float64bits(p.next(i))))
		p.last = v
	}
	return out
}

// base is the step that differences to a prediction are counted from; 0 where the prediction is on none that counts.
func (g Grid) base(v float64) int64 {
	k, ok := g.nearest(v)
	if !ok {
		return 0
	}
	return k
}

// readValues is the inverse of appendValues.
func readValues(in []byte, columns []Column, length int, before []float64) ([]float64, error) {
	head := (len(columns) + columnsPerByte - 1) / columnsPerByte
	if len(in) < head {
		return nil, fmt.Errorf("values has %d bytes: %d columns need at least %d", len(in), len(columns), head)
	}
	modes, in := in[:head], in[head:]
	values := make([]float64, length)
	at := 0
	for i := range columns {
		n := len(columns[i].Slots)
		p := predictor{}
		if before != nil {
			p.before = before[at : at+n]
		}
		var err error
		mode := modes[i/columnsPerByte] >> (2 * (i % columnsPerByte)) & unknownMode
		if in, err = readColumn(in, mode, columns[i].Grid, values[at:at+n], p); err != nil {
			return nil, fmt.Errorf("values of columns[%d]: %w", i, err)
		}
		at += n
	}
	if len(in) > 0 {
		return nil, fmt.Errorf("values has %d bytes more than its %d numbers", len(in), length)
	}
	return values, nil
}

func readColumn(in []byte, mode byte, g Grid, into []float64, p predictor) ([]byte, error) {
	for i := range into {
		switch mode {
		case asPredicted:
			into[i] = p.next(i)
		case onGrid:
			d, n := binary.Varint(in)
			if n <= 0 {
				return nil, fmt.Errorf("number %d is cut off or longer than 64 bits", i)
			}
			in = in[n:]
			into[i] = g.value(g.base(p.next(i)) + d)
		case exact:
			x, n := binary.Uvarint(in)
			if n <= 0 {
				return nil, fmt.Errorf("number %d is cut off or longer than 64 bits", i)
			}
			in = in[n:]
			into[i] = math.Float64frombits(bits.ReverseBytes64(x) ^ math.Float64bits(p.next(i)))
		default:
			return nil, fmt.Errorf("mode is %d: it must be 0 to %d", mode, exact)
		}
		p.last = into[i]
	}
	return in, nil
}
