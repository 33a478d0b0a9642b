package storage

import (
	"fmt"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// maxReserve is how much room is left free at most. Beside the logs the TSDB writes the full chunks of its head, up to some
	// 200 MB at a time with half a million series, and dies when it cannot; appends must have stopped well before.
	maxReserve = 256 << 20
	// reserveShare is the part of a small file system that is left free: small ones hold small heads.
	reserveShare = 20
	// spaceEvery is how often the file system is asked. At what one machine can take in, a second is worth some 20 MB.
	spaceEvery = time.Second
)

// space is how much room there is on a file system, in bytes.
type space struct{ free, total uint64 }

// reserve is what must stay free: 256 MiB, or a twentieth of a file system smaller than 5 GiB.
func (s space) reserve() uint64 { return min(maxReserve, s.total/reserveShare) }

func spaceOf(dir string) (space, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return space{}, fmt.Errorf("ask for the room on the file system of %q: %w", dir, err)
	}
	return space{free: fs.Bavail * uint64(fs.Bsize), total: fs.Blocks * uint64(fs.Bsize)}, nil
}

// guard stops appends before the disk is full.
type guard struct {
	measure func() (space, error)
	every   time.Duration
	logger  *slog.Logger
	gauge   prometheus.Gauge

	mu    sync.Mutex
	asked time.Time
	// full says that less than the reserve was free, and not yet a quarter more than that again.
	full error
	// blind says that the file system gives no answer; logged once.
	blind bool
}

// check returns an error that is ErrDiskFull while there is too little room.
func (g *guard) check() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := time.Now(); g.asked.IsZero() || now.Sub(g.asked) >= g.every {
		g.asked = now
		g.look()
	}
	return g.full
}

func (g *guard) look() {
	s, err := g.measure()
	if err != nil {
		// Without an answer appends go on: a log that cannot be written is noticed at its commit.
		if !g.blind {
			g.logger.Warn("the room on the file system is not known: a full disk will be noticed late", "err", err)
		}
		g.blind = true
		return
	}
	g.blind = false
	reserve := s.reserve()
	switch {
	case s.free < reserve:
		if g.full == nil {
			g.logger.Error("the file system of the history is full: nothing more is taken until there is room, agents keep what they measure",
				"free_bytes", s.free, "needed_bytes", reserve)
			g.gauge.Set(1)
		}
		g.full = fmt.Errorf("%w: %d MiB are free, at least %d are left free", ErrDiskFull, s.free>>20, reserve>>20)
	case g.full != nil && s.free >= reserve+reserve/4:
		g.logger.Info("there is room on the file system again: the history goes on", "free_bytes", s.free)
		g.gauge.Set(0)
		g.full = nil
	}
}

// room says whether so many more bytes can be written without touching the reserve.
func (g *guard) room(bytes uint64) error {
	return g.need(func(s space) uint64 { return s.reserve() + bytes })
}

// halfReserve says whether half of what is left free is still there.
func (g *guard) halfReserve() error {
	return g.need(func(s space) uint64 { return s.reserve() / 2 })
}

func (g *guard) need(bytes func(space) uint64) error {
	s, err := g.measure()
	if needed := bytes(s); err == nil && s.free < needed {
		return fmt.Errorf("%w: %d MiB are free, %d are needed", ErrDiskFull, s.free>>20, needed>>20)
	}
	return nil
}
