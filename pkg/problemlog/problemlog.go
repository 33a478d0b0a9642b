// Package problemlog logs a problem once when it comes and once when it is over, however often it is said in between.
package problemlog

import (
	"log/slog"
	"time"
)

// quiet is how long a problem must have been away to count as over, so that one that comes and goes is logged once.
const quiet = time.Minute

// Log remembers the problems there are. Texts must stay the same while a problem lasts.
type Log struct {
	logger *slog.Logger
	seen   map[string]time.Duration // when last
}

// New returns a log without problems.
func New(logger *slog.Logger) *Log { return &Log{logger, map[string]time.Duration{}} }

// Update is told all problems of now, on a clock that only goes on.
func (l *Log) Update(problems []string, now time.Duration) {
	for _, p := range problems {
		if _, known := l.seen[p]; !known {
			l.logger.Warn("problem", "problem", p)
		}
		l.seen[p] = now
	}
	for p, last := range l.seen {
		if now-last >= quiet {
			l.logger.Info("problem is over", "problem", p)
			delete(l.seen, p)
		}
	}
}
