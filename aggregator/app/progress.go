package app

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// progress shows how much of a time is imported or played: a bar on a terminal, elsewhere a line for every tenth.
type progress struct {
	out         io.Writer
	terminal    bool
	total, done time.Duration
	told        int // tenths
}

// barWidth is how many characters the bar has.
const barWidth = 30

func newProgress(out io.Writer, total time.Duration) *progress {
	p := &progress{out: out, total: total}
	if file, ok := out.(*os.File); ok {
		info, err := file.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

// add says that so much more of the time is done, and what of.
func (p *progress) add(more time.Duration, what string) {
	p.done += more
	share := float64(p.done) / float64(p.total)
	text := fmt.Sprintf("%3.0f %%  %.1f of %.1f days, %s", 100*share, p.done.Hours()/24, p.total.Hours()/24, what)
	if p.terminal {
		full := int(share * barWidth)
		fmt.Fprintf(p.out, "\r[%s%s] %s\x1b[K", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), text)
		return
	}
	if tenths := int(10 * share); tenths > p.told {
		p.told = tenths
		fmt.Fprintln(p.out, text)
	}
}

// end leaves the bar's line.
func (p *progress) end() {
	if p.terminal && p.done > 0 {
		fmt.Fprintln(p.out)
	}
}
