package ingest

import (
	"context"
	"errors"
	"hash/fnv"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/foretide/foretide/pkg/telemetry"
)

const (
	// groupFrames and groupValues bound what is stored in one transaction; a group is what waits, so a frame that comes alone is
	// stored alone.
	groupFrames, groupValues = 128, 32_000
	// waitingFrames is how many frames may wait for a writer, and waitingValues how many values (32 MB) for all of them, before
	// streams are read no further.
	waitingFrames, waitingValues = 1024, 4 << 20
)

// job is one frame on its way into the store.
type job struct {
	frame telemetry.Frame
	// stored gets what became of it, once.
	stored chan error
}

// writers store the frames of all streams, in groups. The frames of a node go through the same writer, in order.
type writers struct {
	store  appender
	pace   *pace
	metric *metrics
	log    *slog.Logger
	lanes  []chan job
	room   *semaphore.Weighted // for values
	done   sync.WaitGroup

	mu      sync.Mutex
	trouble bool // it was logged that frames cannot be stored
}

func startWriters(store appender, p *pace, m *metrics, log *slog.Logger) *writers {
	w := &writers{store: store, pace: p, metric: m, log: log, lanes: make([]chan job, runtime.GOMAXPROCS(0)),
		room: semaphore.NewWeighted(waitingValues)}
	for i := range w.lanes {
		w.lanes[i] = make(chan job, waitingFrames)
		w.done.Go(func() { w.run(w.lanes[i]) })
	}
	return w
}

// stop returns when all that was put in is stored or not. Nothing may be put in after it.
func (w *writers) stop() {
	for _, lane := range w.lanes {
		close(lane)
	}
	w.done.Wait()
}

// put waits for room and returns where the result will come.
func (w *writers) put(ctx context.Context, lane int, f telemetry.Frame) (<-chan error, error) {
	if err := w.room.Acquire(ctx, roomOf(f)); err != nil {
		return nil, err
	}
	j := job{f, make(chan error, 1)}
	select {
	case w.lanes[lane] <- j:
		return j.stored, nil
	case <-ctx.Done():
		w.room.Release(roomOf(f))
		return nil, ctx.Err()
	}
}

// roomOf is what a frame takes; one that is larger than the room has it alone.
func roomOf(f telemetry.Frame) int64 { return int64(min(len(f.Values), waitingValues)) }

// laneOf is the lane of a node.
func (w *writers) laneOf(node string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(node))
	return int(h.Sum32() % uint32(len(w.lanes)))
}

func (w *writers) run(lane <-chan job) {
	jobs, frames := make([]job, 0, groupFrames), make([]telemetry.Frame, 0, groupFrames)
	for first := range lane {
		jobs, frames = append(jobs[:0], first), append(frames[:0], first.frame)
		for values := len(first.frame.Values); len(jobs) < groupFrames && values < groupValues; {
			select {
			case next, open := <-lane:
				if open {
					jobs, frames = append(jobs, next), append(frames, next.frame)
					values += len(next.frame.Values)
					continue
				}
			default:
			}
			break
		}
		began := time.Now()
		errs := w.store.AppendFrames(context.Background(), frames)
		took := time.Since(began)
		w.pace.worked(took)
		w.metric.appendSeconds.Observe(took.Seconds())
		w.report(frames, errs)
		for i, j := range jobs {
			j.stored <- errs[i]
			w.room.Release(roomOf(j.frame))
		}
		clear(jobs)
		clear(frames)
	}
}

// report counts, and logs once that frames cannot be stored, and once that they can be again.
func (w *writers) report(frames []telemetry.Frame, errs []error) {
	stored, values := 0, 0
	var failure error
	for i, err := range errs {
		switch {
		case err == nil:
			stored++
			values += len(frames[i].Values)
		case !isRefusal(err):
			failure = err
			w.metric.appendFailures.Inc()
		}
	}
	w.metric.batches.Add(float64(stored))
	w.metric.samples.Add(float64(values))
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case failure != nil && !w.trouble:
		w.trouble = true
		w.log.Warn("frames cannot be stored now; agents keep them and send them again", "err", failure)
	case failure == nil && stored > 0 && w.trouble:
		w.trouble = false
		w.log.Info("frames are stored again")
	}
}

// refusal is an error of the store that says: never.
type refusal interface{ Refusal() (class, reason string) }

func isRefusal(err error) bool {
	var r refusal
	return errors.As(err, &r)
}
