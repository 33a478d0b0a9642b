package main

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"time"

	"github.com/foretide/foretide/aggregator/identity"
	"github.com/foretide/foretide/aggregator/ingest"
	"github.com/foretide/foretide/aggregator/live"
	"github.com/foretide/foretide/aggregator/storage"
	"github.com/foretide/foretide/pkg/telemetry"
	"github.com/foretide/foretide/test/swarm"
	"github.com/foretide/foretide/test/swarm/shipped"
)

// delays are what the live receiver reports.
type delays struct {
	// Frames are those whose demand the view showed, Invisible the others.
	Frames, Invisible int
	// P50, P99 and Most are milliseconds.
	P50, P99, Most float64
}

// receiveLive is the aggregator's rooms from the stream to the live view and the disk, with a watch on the view: the same machine's clock
// says when a window ended at the agent and when the controller could first see what its pods did in it.
func receiveLive(ctx context.Context, dir string) (err error) {
	store, err := storage.Open(storage.Options{Dir: filepath.Join(dir, "store")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := store.WaitRaw(ctx); err != nil {
		return err
	}
	view, err := live.New(live.Options{})
	if err != nil {
		return err
	}
	certificate, err := identity.NewManaged(ctx, identity.Directory(filepath.Join(dir, "tls")), []string{"foretide-aggregator"}, time.Now(), slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	watch := &watch{view: view}
	server, err := ingest.NewServer(ingest.Options{
		Appender: store, Sink: watch, TLS: identity.ServerTLS(certificate.GetCertificate), Store: store.ID(), Version: "bench",
		// A second whatever the load: the worst case for the way through.
		Pace: ingest.PaceOptions{Shortest: time.Second, Longest: time.Second},
		Authenticate: func(_ context.Context, token string) (ingest.Caller, error) {
			if subtle.ConstantTimeCompare([]byte(token), []byte(shipped.Token)) == 0 {
				return ingest.Caller{}, errors.New("wrong token")
			}
			return ingest.Caller{Name: "bench", AnyNode: true}, nil
		},
	})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	defer server.Stop()
	if err := say(listener.Addr().String()); err != nil {
		return err
	}
	return errors.Join(untilDone(ctx, ended), say(watch.result()))
}

// watch puts frames into the view and looks whether they can be seen there.
type watch struct {
	view   *live.View
	delays swarm.Distribution
	unseen swarm.Distribution
}

// joining is how many frames of each agent are not looked at: a thousand handshakes are not what is measured here.
const joining = 10

// Put is what ingest calls.
func (w *watch) Put(f telemetry.Frame, now time.Time) {
	w.view.Put(f, now)
	if len(f.Layout.Pods) == 0 || f.Sequence <= joining {
		return
	}
	pod := f.Layout.Pods[0]
	load, ok := w.view.Pod(pod.Namespace, pod.Name, time.Now())
	if !ok || !load.At.Equal(f.End) {
		w.unseen.Add(1)
		return
	}
	w.delays.Add(float64(time.Since(f.End)) / float64(time.Millisecond))
}

func (w *watch) result() delays {
	return delays{Frames: w.delays.Len(), P50: w.delays.Quantile(0.5), P99: w.delays.Quantile(0.99), Most: w.delays.Quantile(1), Invisible: w.unseen.Len()}
}

// live measures, at so many agents of which each reports every second, the time from the end of a window at the agent to the moment at
// which the live view, which the controller decides from, gives a pod's load of that window. Hence making the frame, encoding, TLS, decoding
// and checking are all in it; only what the controller then waits for its own next turn is not.
func (s settings) live(ctx context.Context, dir string, f *figures) (err error) {
	c, err := startChild("live", dir)
	if err != nil {
		return err
	}
	roots, err := shipped.ReadRoots(filepath.Join(dir, "tls", "ca.crt"))
	if err != nil {
		return errors.Join(err, c.stop(nil))
	}
	fleet, err := swarm.Start(swarm.Options{Address: c.address, Roots: roots, Token: shipped.Token, Agents: s.liveAgents, Seed: s.seed,
		Join: 5 * time.Second, Node: swarm.NodeOptions{GPUs: s.gpus, PodLife: time.Hour}})
	if err != nil {
		return errors.Join(err, c.stop(nil))
	}
	limit, cancel := context.WithTimeout(ctx, s.liveLength)
	defer cancel()
	<-limit.Done()
	fleet.Stop()
	var d delays
	if err := errors.Join(ctx.Err(), c.stop(&d)); err != nil {
		return err
	}
	fmt.Printf("live:         %d agents each second for %v: %d windows visible after p50 %.1f ms, p99 %.1f ms, at most %.1f ms; %d were not seen; acknowledged after p99 %.3f s\n",
		s.liveAgents, s.liveLength, d.Frames, d.P50, d.P99, d.Most, d.Invisible, fleet.Waits.Quantile(0.99))
	if d.Frames == 0 || d.Invisible > d.Frames/100 {
		return fmt.Errorf("the live view did not show %d of %d windows; last complaint: %s", d.Invisible, d.Frames+d.Invisible, fleet.Complaint())
	}
	f.add("batch_to_live_p99 %.1f ms", d.P99)
	return nil
}
