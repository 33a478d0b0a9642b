// Package replay plays recorded load.
package replay

import (
	"fmt"
	"io"
	"sort"
	"sync"
	"time"

	"github.com/foretide/foretide/pkg/trace"
)

// Player offers the load of a recorded series: any stretch of it, at any speed.
type Player struct {
	points []trace.Point
	scale  float64

	mu       sync.Mutex
	from, to time.Time // the stretch of the recording
	begin    time.Time // when its first point is played
	speed    float64
}

// NewPlayer reads one series of a trace; its values times scale are busy GPUs.
func NewPlayer(r io.Reader, series string, scale float64) (*Player, error) {
	all, err := trace.Read(r)
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		if s.Name == series && len(s.Points) > 0 {
			return &Player{points: s.Points, scale: scale, speed: 1, from: s.Points[0].Time, to: s.Points[0].Time}, nil
		}
	}
	return nil, fmt.Errorf("series %q is not in the trace", series)
}

// Play begins the stretch [from, to] of the recording at begin, speed times as fast as it was, and then holds its end.
func (p *Player) Play(from, to time.Time, speed float64, begin time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.from, p.to, p.speed, p.begin = from, to, speed, begin
}

// Offered is the load at now in busy GPUs, linear between the recording's points.
func (p *Player) Offered(now time.Time) float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.from.Add(time.Duration(float64(now.Sub(p.begin)) * p.speed))
	if t.Before(p.from) {
		t = p.from
	}
	if t.After(p.to) {
		t = p.to
	}
	return p.scale * at(p.points, t)
}

func at(points []trace.Point, t time.Time) float64 {
	i := sort.Search(len(points), func(i int) bool { return points[i].Time.After(t) })
	if i == 0 {
		return points[0].Value
	}
	if i == len(points) {
		return points[len(points)-1].Value
	}
	a, b := points[i-1], points[i]
	share := float64(t.Sub(a.Time)) / float64(b.Time.Sub(a.Time))
	return a.Value + share*(b.Value-a.Value)
}
