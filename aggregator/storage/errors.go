package storage

import (
	"errors"
	"fmt"

	"github.com/prometheus/prometheus/tsdb"
)

// ErrRefused marks data that will never be taken, however often it is sent. Any other error of an append is transient.
var ErrRefused = errors.New("refused")

// ErrClosed is returned by every call after Close.
var ErrClosed = errors.New("storage is closed")

// ErrOpening is returned, behind the name of the tier, while a tier is not open yet: its log is being read. For those who know
// the TSDB and not this package it is also tsdb.ErrNotReady.
var ErrOpening error = notReady("history is still being read, try again in a moment")

type notReady string

func (e notReady) Error() string { return string(e) }

// Is makes errors.Is(err, tsdb.ErrNotReady) true.
func (e notReady) Is(target error) bool { return target == tsdb.ErrNotReady }

// ErrDiskFull is returned by every append while the file system has too little room left. Reading goes on.
var ErrDiskFull = errors.New("the file system of the history is full")

// errBroken is what a tier says to whoever writes after its log has missed a write, until it has been opened anew.
var errBroken = errors.New("an earlier write to the log has failed")

// Classes of refusals.
const (
	ClassTooOld  = "too_old"
	ClassFuture  = "future"
	ClassInvalid = "invalid"
)

// RefusedError says why data was refused. errors.Is(err, ErrRefused) holds for it.
type RefusedError struct {
	// Class is one of the Class constants: few and fixed, fit for a metric label.
	Class string
	// Reason names what was wrong, the value and what is allowed.
	Reason string
}

// Error returns the reason.
func (e *RefusedError) Error() string { return "refused: " + e.Reason }

// Is makes errors.Is(err, ErrRefused) true.
func (e *RefusedError) Is(target error) bool { return target == ErrRefused }

// Refusal returns class and reason. A caller that does not know this package can ask for this method with errors.As.
func (e *RefusedError) Refusal() (class, reason string) { return e.Class, e.Reason }

func refuse(class, format string, args ...any) error {
	return &RefusedError{Class: class, Reason: fmt.Sprintf(format, args...)}
}
