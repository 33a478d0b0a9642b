package replay

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestPlayerPlaysAStretchAndHoldsItsEnd(t *testing.T) {
	p, err := NewPlayer(strings.NewReader("series,timestamp_unix,value\nx,0,10\nx,600,20\nx,1200,40\n"), "x", 0.1)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Unix(5000, 0)
	p.Play(time.Unix(0, 0), time.Unix(900, 0), 60, begin)
	for after, want := range map[time.Duration]float64{-time.Second: 1, 0: 1, 5 * time.Second: 1.5, 10 * time.Second: 2, 15 * time.Second: 3, time.Hour: 3} {
		if got := p.Offered(begin.Add(after)); math.Abs(got-want) > 1e-9 {
			t.Errorf("offered after %v = %v, want %v", after, got, want)
		}
	}
}
