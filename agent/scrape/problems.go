package scrape

import (
	"log/slog"
	"time"
)

// quiet is how long a problem must have been away to count as over, so that one that comes and goes is logged once.
const quiet = time.Minute

// problemLog logs each problem when it comes and when it is over.
type problemLog struct {
	logger *slog.Logger
	seen   map[string]time.Time // when last
}

func (l *problemLog) update(problems []string, now time.Time) {
	for _, p := range problems {
		if _, known := l.seen[p]; !known {
			l.logger.Warn("problem", "problem", p)
		}
		l.seen[p] = now
	}
	for p, last := range l.seen {
		if now.Sub(last) >= quiet {
			l.logger.Info("problem is over", "problem", p)
			delete(l.seen, p)
		}
	}
}
