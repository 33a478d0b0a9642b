package app

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"time"
)

// ErrAgain says that the agent ended so that it is begun anew by its caller: the driver was upgraded, and a process keeps the
// library it has loaded.
var ErrAgain = errors.New("another version of the NVIDIA driver's library is there: the agent begins anew to load it")

// againAfter is how old a process must be to be begun anew: whatever is wrong with the library, the agent does nothing else meanwhile.
const againAfter = 30 * time.Second

// watchEvery is how often the watch looks at the release file and at whether the library was replaced.
const watchEvery = time.Second

// driverWatch gives the driver back when it is to be unloaded, and notices when there is another.
//
//	the release file exists                                   | given back
//	the node is being drained, and no container holds a GPU   | given back, until the drain is over or one does
//	otherwise                                                 | in use
//
// A node that is cordoned counts as being drained. Whether containers hold GPUs must be known to give the driver back, and to take it again:
// a kubelet that does not answer for a moment changes nothing. What the aggregator said last holds while it does not answer.
type driverWatch struct {
	releaseFile string
	draining    atomic.Bool // the aggregator says so
	drained     bool        // given back for that reason
	holders     func() (containers int, known bool)
	release     func(bool)
	replaced    func() bool
}

// released says whether the driver is to be given back, and why.
func (w *driverWatch) released() (yes bool, why string) {
	if w.releaseFile != "" {
		if _, err := os.Stat(w.releaseFile); err == nil {
			return true, "the file " + w.releaseFile + " exists"
		}
	}
	if n, known := w.holders(); known || !w.draining.Load() {
		w.drained = w.draining.Load() && n == 0
	}
	if w.drained {
		return true, "the node is being drained, and no container holds a GPU"
	}
	return false, ""
}

// run watches until ctx ends, or until the library was replaced while the driver is in use: then it returns ErrAgain.
func (w *driverWatch) run(ctx context.Context, log func(released bool, why string)) error {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	begun := time.Now()
	was := false
	for {
		yes, why := w.released()
		if yes != was {
			log(yes, why)
			was = yes
		}
		w.release(yes)
		if !yes && w.replaced() && time.Since(begun) >= againAfter {
			return ErrAgain
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
