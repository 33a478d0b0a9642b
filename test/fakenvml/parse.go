package fakenvml

import (
	"fmt"
	"strconv"
	"strings"
)

// read takes the value of one line.
func (k key) read(value string) (err error) {
	switch at := k.at.(type) {
	case *string:
		*at = value
	case *int:
		*at, err = number[int](k.name, value)
	case *int64:
		*at, err = number[int64](k.name, value)
	case *uint64:
		*at, err = number[uint64](k.name, value)
	case *bool:
		*at, err = flag(k.name, value)
	case *[]string:
		*at = append(*at, value)
	case *map[string]int:
		return k.readCall(at, value)
	case *map[int]uint64:
		return readPair(at, k, value, number[uint64])
	case *map[int]float64:
		if value == "" {
			*at = map[int]float64{}
			return nil
		}
		return readPair(at, k, value, decimal)
	case *[]Burst:
		return k.readBurst(at, value)
	case *[]XID:
		return k.readXID(at, value)
	case *[]Process:
		return k.readProcess(at, value)
	default:
		panic(fmt.Sprintf("key %s is kept in a %T", k.name, k.at))
	}
	return err
}

func (k key) readCall(at *map[string]int, value string) error {
	function, text, ok := strings.Cut(value, ":")
	if !ok || function == "" {
		return fmt.Errorf("%s %q: it is function:%s", k.name, value, map[string]string{"error": "code", "delay": "milliseconds"}[k.name])
	}
	n, err := number[int](k.name+" of "+function, text)
	if err != nil {
		return err
	}
	if *at == nil {
		*at = map[string]int{}
	}
	(*at)[function] = n
	return nil
}

func readPair[V any](at *map[int]V, k key, value string, parse func(name, value string) (V, error)) error {
	id, text, ok := strings.Cut(value, ":")
	if !ok {
		return fmt.Errorf("%s %q: it is id:value", k.name, value)
	}
	n, err := number[int](k.name, id)
	if err != nil {
		return err
	}
	v, err := parse(k.name+" "+id, text)
	if err != nil {
		return err
	}
	if *at == nil {
		*at = map[int]V{}
	}
	(*at)[n] = v
	return nil
}

func (k key) readBurst(at *[]Burst, value string) error {
	var b Burst
	if err := k.readParts(value, part{"start_microseconds", &b.StartMicroseconds}, part{"length_microseconds", &b.LengthMicroseconds},
		part{"percent", &b.Percent}); err != nil {
		return err
	}
	*at = append(*at, b)
	return nil
}

func (k key) readXID(at *[]XID, value string) error {
	var x XID
	if err := k.readParts(value, part{"sequence", &x.Sequence}, part{"code", &x.Code}); err != nil {
		return err
	}
	*at = append(*at, x)
	return nil
}

func (k key) readProcess(at *[]Process, value string) error {
	var p Process
	parts := []part{{"pid", &p.PID}, {"used_bytes", &p.UsedBytes}, {"sm_percent", &p.SMPercent}}
	if strings.Count(value, ":") >= len(parts) {
		parts = append(parts, part{"memory_percent", &p.MemoryPercent}, part{"encoder_percent", &p.EncoderPercent},
			part{"decoder_percent", &p.DecoderPercent}, part{"kind", &p.Kind}, part{"gpu_instance", &p.GPUInstance},
			part{"compute_instance", &p.ComputeInstance})
	}
	if err := k.readParts(value, parts...); err != nil {
		return err
	}
	*at = append(*at, p)
	return nil
}

// part is one of several values with colons between them.
type part struct {
	name string
	at   any
}

func (k key) readParts(value string, parts ...part) error {
	texts := strings.Split(value, ":")
	if len(texts) != len(parts) {
		var names []string
		for _, p := range parts {
			names = append(names, p.name)
		}
		return fmt.Errorf("%s %q: it is %s", k.name, value, strings.Join(names, ":"))
	}
	for i, p := range parts {
		if err := p.read(texts[i]); err != nil {
			return fmt.Errorf("%s %q: %w", k.name, value, err)
		}
	}
	return nil
}

func (p part) read(text string) (err error) {
	switch at := p.at.(type) {
	case *int:
		*at, err = number[int](p.name, text)
	case *int64:
		*at, err = number[int64](p.name, text)
	case *uint64:
		*at, err = number[uint64](p.name, text)
	case **int:
		if text == "-" {
			return nil
		}
		*at = new(int)
		**at, err = number[int](p.name, text)
	case *ProcessKind:
		*at = ProcessKind(text)
		switch *at {
		case "", Compute, Graphics, MPS:
		default:
			err = fmt.Errorf("%s is %q: it must be %s, %s, %s or empty", p.name, text, Compute, Graphics, MPS)
		}
	default:
		panic(fmt.Sprintf("part %s is kept in a %T", p.name, p.at))
	}
	return err
}

// number reads a whole number of 0 or more.
func number[T int | int64 | uint64](name, value string) (T, error) {
	bits := 63
	if _, unsigned := any(T(0)).(uint64); unsigned {
		bits = 64
	}
	n, err := strconv.ParseUint(value, 10, bits)
	if err != nil {
		return 0, fmt.Errorf("%s is %q: it must be a whole number of 0 or more", name, value)
	}
	return T(n), nil
}

func decimal(name, value string) (float64, error) {
	v, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return 0, fmt.Errorf("%s is %q: it must be a number", name, value)
	}
	return v, nil
}

func flag(name, value string) (bool, error) {
	if value != "0" && value != "1" {
		return false, fmt.Errorf("%s is %q: it must be 0 or 1", name, value)
	}
	return value == "1", nil
}
