package storage

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/prometheus/tsdb/fileutil"
	"github.com/prometheus/prometheus/tsdb/wlog"
)

const (
	// openAgainAfter is how long an opening waits for room on a full disk before it tries again.
	openAgainAfter = time.Second
	// A log longer than longLog takes every core for many seconds to read. It is left alone for firstMoments after the start: those
	// belong to the agents, which all come back at once, and to the decisions that wait for them.
	longLog      = 256 << 20
	firstMoments = 5 * time.Second
)

// tier is a TSDB through its life:
//
//	opening → open ⇄ unwritable → opening anew, after a write to its log has failed
//	   └──────── any of them → closed, or failed for good
type tier struct {
	databaseOptions
	metrics *metrics
	// failed gets the error after which the tier does not open any more.
	failed chan<- error
	stop   chan struct{}
	work   sync.WaitGroup
	notify notifier

	mu sync.Mutex
	// db is nil unless the tier is open, and err says why.
	db  *database
	err error
	// unwritable is why an open tier takes nothing; nil when it does.
	unwritable error
	// changed is closed when that changes, and replaced.
	changed chan struct{}
	onOpen  []func(Tier)
}

func newTier(o databaseOptions, m *metrics, failed chan<- error) *tier {
	m.open.WithLabelValues(o.name).Set(0)
	m.reopened.WithLabelValues(o.name)
	t := &tier{databaseOptions: o, metrics: m, failed: failed, stop: make(chan struct{}), changed: make(chan struct{})}
	t.err = fmt.Errorf("%s %w", o.name, ErrOpening)
	return t
}

// open opens the TSDB once.
func (t *tier) open() error {
	db, err := openDatabase(t.databaseOptions, &t.notify)
	t.metrics.damaged.WithLabelValues(t.name).Set(float64(damagedBlocks(t.dir)))
	if err != nil {
		return err
	}
	db.broken = t.reopen
	if !t.set(db, nil) {
		return errors.Join(ErrClosed, db.close())
	}
	return nil
}

// openInBackground opens the TSDB as soon as there is room for what that takes. Any other error is for good.
func (t *tier) openInBackground() {
	t.work.Go(func() {
		if size, err := fileutil.DirSize(filepath.Join(t.dir, "wal")); err == nil && size > longLog && !t.pause(firstMoments) {
			return
		}
		for told := false; t.waitForRoom(); told = true {
			err := t.open()
			if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
				if err != nil && t.set(nil, err) {
					t.failed <- err
				}
				return
			}
			if !told {
				t.logger.Error("no room on the file system to open a tier: trying again every second", "tier", t.name, "err", err)
			}
			if !t.pause(openAgainAfter) {
				return
			}
		}
	})
}

// reopen closes a TSDB whose log has missed a write and opens it anew: then again what it says is what is on the disk. Until there
// is room for that it can be read, and nothing is written.
func (t *tier) reopen(broken *database) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.db != broken || t.unwritable != nil {
		return
	}
	t.unwritable = fmt.Errorf("tier %s: %w", t.name, errBroken)
	t.metrics.reopened.WithLabelValues(t.name).Inc()
	t.logger.Error("a write to the log has failed: the tier takes nothing until there is room to open it anew", "tier", t.name)
	t.work.Go(func() {
		// Not at once, in case it fails again and again for another reason.
		if !t.pause(openAgainAfter) || !t.waitForRoom() || !t.set(nil, fmt.Errorf("%s %w", t.name, ErrOpening)) {
			return
		}
		if err := broken.close(); err != nil {
			t.logger.Warn("the tier did not close cleanly; its log is repaired when it is opened", "tier", t.name, "err", err)
		}
		t.openInBackground()
	})
}

// waitForRoom waits until half the reserve is free: a TSDB that opens or closes writes full chunks, and dies when it cannot.
// False means the tier is to be closed.
func (t *tier) waitForRoom() bool {
	for first := true; ; first = false {
		err := t.guard.halfReserve()
		if err == nil {
			return true
		}
		if first {
			t.logger.Error("a tier waits for room on the file system to be opened", "tier", t.name, "err", err)
		}
		if !t.pause(openAgainAfter) {
			return false
		}
	}
}

// pause returns false when the tier is to be closed.
func (t *tier) pause(d time.Duration) bool {
	select {
	case <-t.stop:
		return false
	case <-time.After(d):
		return true
	}
}

// set makes db, or the reason why there is none, what the tier is. False means the tier was closed meanwhile.
func (t *tier) set(db *database, err error) bool {
	t.mu.Lock()
	if errors.Is(t.err, ErrClosed) {
		t.mu.Unlock()
		return false
	}
	t.change(db, err)
	calls := slices.Clone(t.onOpen)
	t.mu.Unlock()
	if db != nil {
		for _, call := range calls {
			call(t.public())
		}
	}
	return true
}

// change is for holders of the lock.
func (t *tier) change(db *database, err error) {
	t.db, t.err, t.unwritable = db, err, nil
	open := 0.0
	if db != nil {
		open = 1
	}
	t.metrics.open.WithLabelValues(t.name).Set(open)
	close(t.changed)
	t.changed = make(chan struct{})
}

// use keeps the TSDB open until it is released.
func (t *tier) use() (*database, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.db == nil {
		return nil, t.err
	}
	t.db.users.Add(1)
	return t.db, nil
}

// useToWrite is use, if there is room on the disk and the log is whole.
func (t *tier) useToWrite() (*database, error) {
	if err := t.guard.check(); err != nil {
		return nil, err
	}
	t.mu.Lock()
	unwritable := t.unwritable
	t.mu.Unlock()
	if unwritable != nil {
		return nil, unwritable
	}
	return t.use()
}

// wait returns when the tier is open, or will not be.
func (t *tier) wait(ctx context.Context) error {
	for {
		t.mu.Lock()
		db, err, changed := t.db, t.err, t.changed
		t.mu.Unlock()
		if db != nil {
			return nil
		}
		if !errors.Is(err, ErrOpening) {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for tier %s to open: %w", t.name, ctx.Err())
		}
	}
}

// close waits for an opening to end and for all who use the TSDB, and closes it.
func (t *tier) close() error {
	t.mu.Lock()
	db := t.db
	t.change(nil, ErrClosed)
	t.mu.Unlock()
	close(t.stop)
	t.work.Wait()
	if db == nil {
		return nil
	}
	return db.close()
}

// Tiers are the names of the parts of the history, each of which has a folder of that name.
func Tiers() []string { return []string{"workload", "raw"} }

// Tier is one part of the history, for those who follow its write-ahead log.
type Tier struct {
	// Name is raw or workload; Dir has the log in its folder wal.
	Name, Dir string
	notify    *notifier
}

// SetWriteNotified says who is told of each write to the log; nil is nobody. It holds until it is called again.
func (t Tier) SetWriteNotified(w wlog.WriteNotified) {
	if w == nil {
		t.notify.to.Store(nil)
		return
	}
	t.notify.to.Store(&w)
}

func (t *tier) public() Tier { return Tier{Name: t.name, Dir: t.dir, notify: &t.notify} }

// follow calls f now if the tier is open, and whenever it opens.
func (t *tier) follow(f func(Tier)) {
	t.mu.Lock()
	t.onOpen = append(t.onOpen, f)
	open := t.db != nil
	t.mu.Unlock()
	if open {
		f(t.public())
	}
}

// notifier passes the TSDB's word of a write on, to whom may be set while writes go on.
type notifier struct {
	to atomic.Pointer[wlog.WriteNotified]
}

// Notify is called after each write to the log.
func (n *notifier) Notify() {
	if to := n.to.Load(); to != nil {
		(*to).Notify()
	}
}
