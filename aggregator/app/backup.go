package app

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"time"

	"github.com/foretide/foretide/aggregator/storage"
)

// snapshotsFolder is below --storage.path: a snapshot is hard links for the most part, and those need one file system.
const snapshotsFolder = "snapshots"

// snapshot answers POST /-/snapshot with the folder it has made.
func (a *aggregator) snapshot(w http.ResponseWriter, r *http.Request) {
	begin := time.Now()
	folder := filepath.Join(a.options.StoragePath, snapshotsFolder, begin.UTC().Format("20060102T150405.000Z"))
	if err := a.store.Snapshot(r.Context(), folder); err != nil {
		a.log.Error("no snapshot", "err", err)
		http.Error(w, fmt.Sprintf("no snapshot: %v", err), http.StatusServiceUnavailable)
		return
	}
	a.log.Info("snapshot made", "folder", folder, "took", time.Since(begin).Round(time.Millisecond))
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"folder": folder})
}

// Restore is `aggregator restore`: it copies a snapshot to where a history is to be.
func Restore(_ context.Context, args []string, out io.Writer) error {
	f := flag.NewFlagSet("aggregator restore", flag.ContinueOnError)
	from := f.String("snapshot", "", "`folder` of the snapshot, as POST /-/snapshot made it")
	to := f.String("storage.path", DefaultOptions().StoragePath, "`directory` of the history; it must be empty or missing")
	if err := Parse(f, "Copies a snapshot to an empty directory. The history that is opened there has a new identity: agents send it what they still keep.", args, out); err != nil {
		return err
	}
	if *from == "" {
		return fmt.Errorf(`--snapshot is "": it must be the folder of a snapshot`)
	}
	if err := storage.Restore(*from, *to); err != nil {
		return fmt.Errorf("restore into %q: %w", *to, err)
	}
	fmt.Fprintf(out, "restored %s into %s\n", *from, *to)
	return nil
}
