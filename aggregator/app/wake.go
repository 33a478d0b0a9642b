package app

import (
	"context"
	"sync/atomic"

	"github.com/foretide/foretide/aggregator/controller"
	"github.com/foretide/foretide/aggregator/workload"
)

// waker carries word of a surge from the live view to the policies of the pod's workload. Telemetry never waits for it: of more surges
// than are being looked into, the rest is left to the next sync.
type waker struct {
	surges chan surge
	// reconciler is nil while another replica decides.
	reconciler atomic.Pointer[controller.Reconciler]
}

// surge names a pod that does more than a moment ago.
type surge struct{ namespace, pod string }

const surgesWaiting = 1024

func newWaker() *waker { return &waker{surges: make(chan surge, surgesWaiting)} }

// surged is told by the live view.
func (w *waker) surged(namespace, pod string) {
	if w.reconciler.Load() == nil {
		return
	}
	select {
	case w.surges <- surge{namespace, pod}:
	default:
	}
}

// run wakes policies until ctx is done.
func (w *waker) run(ctx context.Context, owner func(namespace, pod string) (workload.ID, bool)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case s := <-w.surges:
			if id, known := owner(s.namespace, s.pod); known {
				if r := w.reconciler.Load(); r != nil {
					r.Wake(controller.Workload(id))
				}
			}
		}
	}
}
