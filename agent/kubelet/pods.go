package kubelet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	podsapi "k8s.io/kubelet/pkg/apis/pods/v1alpha1"
)

// DefaultPodsSocketPath is where the kubelet serves its Pods API: from 1.37 on, where the feature gate PodsAPI is not off
// (kubernetes pkg/kubelet/kubelet_getters.go).
const DefaultPodsSocketPath = "/var/lib/kubelet/pods-api/pods-api.sock"

const (
	// pollEvery is the time between two lists from a kubelet that has no watch.
	pollEvery = 5 * time.Second
	// retryFirst and retryLast bound the pause before a kubelet that did not answer is asked again.
	retryFirst, retryLast = time.Second, 10 * time.Second
	// keepLost is how long pods are remembered without a kubelet: a restart takes seconds.
	keepLost = time.Minute
	// resyncEvery is how long a watch lasts before the pods are told anew: the kubelet drops events when it cannot send them fast enough.
	resyncEvery = 10 * time.Minute
)

// PodsOptions configures [Pods].
type PodsOptions struct {
	// SocketPath is the kubelet's pods socket; empty takes DefaultPodsSocketPath.
	SocketPath string
	Logger     *slog.Logger
}

// Pods follows the pods of this node through the kubelet's Pods API. Many kubelets do not serve it: then no pod is known,
// and that is no error. All but Run may be called at any time, from any goroutine.
type Pods struct {
	o     PodsOptions
	pause pauses
	// changed is called after each change of what is known; tests wait for it.
	changed func()

	mu     sync.Mutex
	table  *podTable
	served bool
	lost   time.Time // since when the kubelet is not there; zero while it is
}

type pauses struct{ poll, retryFirst, retryLast, keepLost, resync time.Duration }

// NewPods returns what Run brings up to date.
func NewPods(o PodsOptions) *Pods {
	if o.SocketPath == "" {
		o.SocketPath = DefaultPodsSocketPath
	}
	return &Pods{o: o, pause: pauses{pollEvery, retryFirst, retryLast, keepLost, resyncEvery}, changed: func() {}, table: newPodTable()}
}

// Served reports whether the kubelet serves its pods, and all of them are known.
func (p *Pods) Served() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.served
}

// All returns every pod of this node, by namespace and name: none while the API is not served. Where it was served until
// less than a minute ago, these are the pods of then, their readiness unknown.
func (p *Pods) All() []PodInfo {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.table.all()
}

// ByUID finds a pod by the UID in its cgroup's name: the API object's, or a static pod's configuration hash.
func (p *Pods) ByUID(uid string) (PodInfo, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if found := p.table.byUID[uid]; found != nil {
		return *found, true
	}
	return p.find(p.table.byHash[uid])
}

// ByName finds a pod by its name.
func (p *Pods) ByName(namespace, name string) (PodInfo, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.find(p.table.byName[podName{namespace, name}])
}

// ByContainerID finds a pod, and which of its containers it is, by the runtime's id of the container.
func (p *Pods) ByContainerID(id string) (PodInfo, Container, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pod, _ := p.find(p.table.byContainer[id])
	for _, c := range pod.Containers {
		if c.ID == id && id != "" {
			return pod, c, true
		}
	}
	return PodInfo{}, Container{}, false
}

func (p *Pods) find(uid string) (PodInfo, bool) {
	if found := p.table.byUID[uid]; found != nil {
		return *found, true
	}
	return PodInfo{}, false
}

// Run follows the pods until ctx ends. A kubelet that does not serve them is asked again, for it may be restarted as one
// that does.
func (p *Pods) Run(ctx context.Context) error {
	conn, err := dial(p.o.SocketPath)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	logged := ""
	wait := p.pause.retryFirst
	for {
		synced, err := p.follow(ctx, podsapi.NewPodsClient(conn))
		if ctx.Err() != nil {
			return nil
		}
		if synced {
			wait, logged = p.pause.retryFirst, ""
		}
		pause := p.pause.poll
		if err != nil {
			p.lose(time.Now())
			pause, wait = wait, min(2*wait, p.pause.retryLast)
			if text := err.Error(); text != logged {
				p.log(err)
				logged = text
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

func (p *Pods) log(err error) {
	if missing(p.o.SocketPath) || status.Code(err) == codes.Unimplemented {
		p.o.Logger.Info("the kubelet does not serve its Pods API (1.37 and later do): pods' UIDs, owners and readiness are not known, inference servers are not scraped, and HAMi's annotations are not seen",
			"socket", p.o.SocketPath)
		return
	}
	p.o.Logger.Warn("the kubelet's pods are not known", "error", explain("watch pods", p.o.SocketPath, err))
}

// follow takes the pods' changes until the watch ends, or lists the pods once where there is none. It reports whether all
// pods were known at some time. Without an error they are to be listed again.
func (p *Pods) follow(ctx context.Context, api podsapi.PodsClient) (synced bool, err error) {
	watching, cancelWatch := context.WithCancel(ctx)
	defer cancelWatch()
	tooLong := time.AfterFunc(maxAnswer, cancelWatch) // until all pods are told; changes may take their time
	defer tooLong.Stop()
	watch, err := api.WatchPods(watching, &podsapi.WatchPodsRequest{})
	if err == nil {
		synced, err = p.watch(watch, func() { tooLong.Reset(p.pause.resync) })
	}
	if synced && watching.Err() != nil && ctx.Err() == nil {
		return true, nil
	}
	if watching.Err() != nil && ctx.Err() == nil {
		return synced, context.DeadlineExceeded
	}
	if status.Code(err) != codes.Unimplemented {
		return synced, err
	}
	ctx, cancel := context.WithTimeout(ctx, maxAnswer)
	defer cancel()
	answer, err := api.ListPods(ctx, &podsapi.ListPodsRequest{})
	if err != nil {
		return false, err
	}
	table := newPodTable()
	for _, message := range answer.GetPods() {
		if err := table.take(podsapi.EventType_ADDED, message); err != nil {
			return false, err
		}
	}
	p.know(table)
	return true, nil
}

// watch takes events until the stream ends, and calls complete once all pods are told. The pods of before are kept until then.
func (p *Pods) watch(events grpc.ServerStreamingClient[podsapi.WatchPodsEvent], complete func()) (synced bool, err error) {
	table := newPodTable()
	for {
		event, err := events.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return synced, errors.New("the kubelet ended the watch")
		case err != nil:
			return synced, err
		case event.GetType() == podsapi.EventType_INITIAL_SYNC_COMPLETE:
			synced = true
			complete()
			p.know(table)
			continue
		}
		if synced {
			p.mu.Lock() // the table can be seen by now
		}
		err = table.take(event.GetType(), event.GetPod())
		if synced {
			p.mu.Unlock()
			p.changed()
		}
		if err != nil {
			return synced, err
		}
	}
}

// take applies one event. Kinds of events this version does not know are left out.
func (t *podTable) take(kind podsapi.EventType, message []byte) error {
	switch kind {
	case podsapi.EventType_ADDED, podsapi.EventType_MODIFIED, podsapi.EventType_DELETED:
	default:
		return nil
	}
	pod, uid, err := decodePod(message)
	if err != nil {
		return fmt.Errorf("%v: %w", kind, err)
	}
	if kind == podsapi.EventType_DELETED {
		t.remove(uid)
	} else {
		t.put(uid, pod)
	}
	return nil
}

func (p *Pods) know(table *podTable) {
	p.mu.Lock()
	if !p.served {
		p.o.Logger.Info("the kubelet serves its pods", "socket", p.o.SocketPath, "pods", len(table.byUID))
	}
	p.table, p.served, p.lost = table, true, time.Time{}
	p.mu.Unlock()
	p.changed()
}

// lose notes that the kubelet does not say any more what is true.
func (p *Pods) lose(now time.Time) {
	p.mu.Lock()
	p.served = false
	if p.lost.IsZero() {
		p.lost = now
		p.table.forgetReadiness()
	}
	if now.Sub(p.lost) >= p.pause.keepLost {
		p.table = newPodTable()
	}
	p.mu.Unlock()
	p.changed()
}
