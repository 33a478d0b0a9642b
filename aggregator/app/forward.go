package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/foretide/foretide/aggregator/remotewrite"
	"github.com/foretide/foretide/aggregator/storage"
)

// keepHistory ends the aggregator when a part of the history cannot be opened.
func (a *aggregator) keepHistory(ctx context.Context) error {
	select {
	case err := <-a.store.Failed():
		return err
	case <-ctx.Done():
		return nil
	}
}

// forwarder sends on what the history takes.
type forwarder struct {
	*remotewrite.Writer
	notified map[string]remotewrite.Notified // by tier
}

// forward begins to follow the history's logs, where the user wants them sent on; it is nil where not. It comes before the history
// is opened, so that nothing is passed over that comes meanwhile.
func (a *aggregator) forward() (*forwarder, error) {
	o := a.options
	instance, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("name of this host: %w", err)
	}
	var config *remotewrite.Config
	switch {
	case o.RemoteWriteFile != "":
		if config, err = remotewrite.Load(o.RemoteWriteFile, instance); err != nil {
			return nil, fmt.Errorf("--remote-write.config-file: %w", err)
		}
	case o.RemoteWriteURL != "":
		if config, err = remotewrite.ForURL(o.RemoteWriteURL, instance); err != nil {
			return nil, fmt.Errorf("--remote-write.url: %w", err)
		}
	default:
		return nil, nil
	}
	f := &forwarder{remotewrite.New(remotewrite.Options{Config: config, Logger: a.log, Registerer: a.registry}), map[string]remotewrite.Notified{}}
	for _, tier := range storage.Tiers() {
		if f.notified[tier], err = f.Follow(tier, filepath.Join(o.StoragePath, tier)); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return f, nil
}

// opened has the writes to a tier's log told.
func (f *forwarder) opened(t storage.Tier) { t.SetWriteNotified(f.notified[t.Name]) }
