package gpu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// pollInterval is how often the plugin looks for a new kubelet socket and a changed scenario or offer file.
const pollInterval = 500 * time.Millisecond

// Options wires a plugin.
type Options struct {
	// ScenarioPath is the file whose sections are the devices.
	ScenarioPath string
	// OfferPath is the file that says how they are offered; without it every GPU is nvidia.com/gpu.
	OfferPath string
	// Folder holds kubelet.sock and the plugin's own sockets.
	Folder string
	// RegisteredFile, if set, holds the identity of the kubelet socket at which every resource is registered now.
	RegisteredFile string
	// Logger receives registrations, allocations and changes.
	Logger *slog.Logger
}

// Plugin is a device plugin for each resource of the offer file, all in one process.
type Plugin struct {
	opts      Options
	resources map[string]*resource
	kubelet   string // identity of the kubelet socket that the resources know of
	noted     string // what the registered file holds
}

// New makes a plugin; Run serves it.
func New(opts Options) *Plugin {
	return &Plugin{opts: opts, resources: map[string]*resource{}}
}

// Run serves until ctx ends. It registers with the kubelet, and again whenever the kubelet's socket is a new one:
// a kubelet that restarts clears the folder, the plugin's sockets included, and forgets every plugin.
func (p *Plugin) Run(ctx context.Context) error {
	if err := p.noteRegistered(""); err != nil {
		return err
	}
	defer p.stopAll()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	lastErr := ""
	for {
		// What is wrong with the files keeps no resource that was offered before from a new kubelet.
		err := errors.Join(p.refresh(), p.serve(ctx))
		if err != nil && err.Error() != lastErr {
			p.opts.Logger.Warn("device plugin does not offer all, trying again", "error", err)
		}
		lastErr = fmt.Sprint(err)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// refresh reads both files, tells each resource its devices and withdraws the resources that are offered no longer. While
// the scenario is away the devices stay as they were last: a driver that is gone for a moment does not take the hardware
// out of the machine.
func (p *Plugin) refresh() error {
	fleet, err := ReadScenario(p.opts.ScenarioPath)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	offers, err := ReadOffers(p.opts.OfferPath)
	if err != nil {
		return err
	}
	offered, err := Resources(offers, fleet)
	if err != nil {
		return err
	}
	for name, r := range p.resources {
		if _, ok := offered[name]; !ok {
			r.stop()
			delete(p.resources, name)
			p.opts.Logger.Info("withdrawn", "resource", name)
		}
	}
	for name, ids := range offered {
		if p.resources[name] == nil {
			p.resources[name] = newResource(name, p.opts)
		}
		p.resources[name].set(ids)
	}
	return nil
}

// serve registers what is not registered with the kubelet that listens now.
func (p *Plugin) serve(ctx context.Context) error {
	now := socketIdentity(p.opts.Folder)
	if now != p.kubelet {
		p.stopAll()
		p.kubelet = now
	}
	if now == "" {
		return nil
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(p.resources)) {
		errs = append(errs, p.resources[name].serve(ctx))
	}
	if err := errors.Join(errs...); err != nil || now == p.noted {
		return err
	}
	return p.noteRegistered(now)
}

func (p *Plugin) stopAll() {
	for _, r := range p.resources {
		r.stop()
	}
}

func (p *Plugin) noteRegistered(identity string) error {
	p.noted = identity
	if p.opts.RegisteredFile == "" {
		return nil
	}
	return os.WriteFile(p.opts.RegisteredFile, []byte(identity), 0o644)
}

// NoteRegistered writes into registeredFile that its writer is registered with the kubelet that listens in folder now.
func NoteRegistered(registeredFile, folder string) error {
	return os.WriteFile(registeredFile, []byte(socketIdentity(folder)), 0o644)
}

// Registered says whether the plugin that writes registeredFile is registered with the kubelet that listens in folder
// now, and not with one that is gone.
func Registered(registeredFile, folder string) bool {
	text, err := os.ReadFile(registeredFile)
	now := socketIdentity(folder)
	return err == nil && now != "" && string(text) == now
}

// socketIdentity tells one kubelet socket from its successor at the same path; empty when there is none.
func socketIdentity(folder string) string {
	info, err := os.Stat(filepath.Join(folder, "kubelet.sock"))
	if err != nil {
		return ""
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%d %d %d", stat.Dev, stat.Ino, stat.Ctim.Nano())
}
