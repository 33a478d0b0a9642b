package kubelet

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	podsapi "k8s.io/kubelet/pkg/apis/pods/v1alpha1"
)

// podsServer is a kubelet that tells its pods, and then what comes through events.
type podsServer struct {
	podsapi.UnimplementedPodsServer
	mu      sync.Mutex
	pods    [][]byte
	events  chan *podsapi.WatchPodsEvent
	noWatch bool
	noList  bool
}

func (s *podsServer) all() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pods
}

func (s *podsServer) WatchPods(_ *podsapi.WatchPodsRequest, to grpc.ServerStreamingServer[podsapi.WatchPodsEvent]) error {
	if s.noWatch {
		return status.Error(codes.Unimplemented, "no watch")
	}
	for _, pod := range s.all() {
		if err := to.Send(&podsapi.WatchPodsEvent{Type: podsapi.EventType_ADDED, Pod: pod}); err != nil {
			return err
		}
	}
	if err := to.Send(&podsapi.WatchPodsEvent{Type: podsapi.EventType_INITIAL_SYNC_COMPLETE}); err != nil {
		return err
	}
	for {
		select {
		case <-to.Context().Done():
			return to.Context().Err()
		case event := <-s.events:
			if err := to.Send(event); err != nil {
				return err
			}
		}
	}
}

func (s *podsServer) ListPods(context.Context, *podsapi.ListPodsRequest) (*podsapi.ListPodsResponse, error) {
	if s.noList {
		return nil, status.Error(codes.Unimplemented, "no list")
	}
	return &podsapi.ListPodsResponse{Pods: s.all()}, nil
}

func servePods(t *testing.T, socket string, s podsapi.PodsServer) (stop func()) {
	t.Helper()
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	if s != nil {
		podsapi.RegisterPodsServer(g, s)
	}
	done := make(chan struct{})
	go func() { _ = g.Serve(listener); close(done) }()
	t.Cleanup(g.Stop)
	return func() { g.Stop(); <-done }
}

// watched is a Pods that runs, and the news that something changed.
type watched struct {
	*Pods
	t    *testing.T
	news chan struct{}
}

func runPods(t *testing.T, socket string, pause pauses) *watched {
	t.Helper()
	w := &watched{NewPods(PodsOptions{SocketPath: socket, Logger: slog.New(slog.DiscardHandler)}), t, make(chan struct{}, 1)}
	w.pause = pause
	w.changed = func() {
		select {
		case w.news <- struct{}{}:
		default:
		}
	}
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(done)
		if err := w.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return w
}

// until waits for a change after which the condition holds.
func (w *watched) until(what string, holds func() bool) {
	w.t.Helper()
	late := time.After(20 * time.Second)
	for !holds() {
		select {
		case <-w.news:
		case <-late:
			w.t.Fatalf("%s: not in 20 s; pods %+v, served %v", what, w.All(), w.Served())
		}
	}
}

func (w *watched) names() []string {
	var names []string
	for _, p := range w.All() {
		names = append(names, p.Name)
	}
	return names
}

var quick = pauses{poll: time.Millisecond, retryFirst: time.Millisecond, retryLast: 10 * time.Millisecond, keepLost: time.Minute, resync: time.Hour}

func podEvent(kind podsapi.EventType, pod []byte) *podsapi.WatchPodsEvent {
	return &podsapi.WatchPodsEvent{Type: kind, Pod: pod}
}

func TestPodsAreWatched(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "p.sock")
	s := &podsServer{pods: [][]byte{wire(t, apiPod("b", "u2")), wire(t, apiPod("a", "u1"))}, events: make(chan *podsapi.WatchPodsEvent)}
	servePods(t, socket, s)
	w := runPods(t, socket, quick)
	w.until("both pods", w.Served)
	if d := cmp.Diff([]string{"a", "b"}, w.names()); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}

	unready := apiPod("a", "u1")
	unready.Status.Conditions[1].Status = corev1.ConditionFalse
	unready.Status.ContainerStatuses[0].ContainerID = "containerd://restarted"
	s.events <- podEvent(podsapi.EventType_MODIFIED, wire(t, unready))
	w.until("a unready", func() bool { p, ok := w.ByUID("u1"); return ok && p.Known && !p.Ready })
	if _, _, found := w.ByContainerID("u1c"); found {
		t.Error("the container of before the restart is still found")
	}
	if p, c, found := w.ByContainerID("restarted"); !found || p.Name != "a" || c.Name != "model" {
		t.Errorf("the restarted container is %q of %q, %v", c.Name, p.Name, found)
	}

	s.events <- podEvent(podsapi.EventType_ADDED, wire(t, apiPod("c", "u3")))
	w.until("c", func() bool { _, ok := w.ByName("ns", "c"); return ok })
	gone := &corev1.Pod{}
	gone.Name, gone.Namespace, gone.UID = "b", "ns", "u2" // all that is told of a pod that is gone
	s.events <- podEvent(podsapi.EventType_DELETED, wire(t, gone))
	w.until("b gone", func() bool { _, ok := w.ByUID("u2"); return !ok })
	if d := cmp.Diff([]string{"a", "c"}, w.names()); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if _, _, found := w.ByContainerID("u2c"); found {
		t.Error("the container of a pod that is gone is still found")
	}
}

func TestPodsAreToldAnewNowAndThen(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "p.sock")
	s := &podsServer{pods: [][]byte{wire(t, apiPod("a", "u1")), wire(t, apiPod("ghost", "u2"))}, events: make(chan *podsapi.WatchPodsEvent)}
	servePods(t, socket, s)
	soon := quick
	soon.resync = 20 * time.Millisecond
	w := runPods(t, socket, soon)
	w.until("both pods", w.Served)
	s.mu.Lock()
	s.pods = s.pods[:1] // and the event that says so is lost
	s.mu.Unlock()
	w.until("the ghost is gone", func() bool { _, ok := w.ByUID("u2"); return !ok })
	if !w.Served() {
		t.Error("not served any more")
	}
}

func TestStaticPodIsFoundByEitherUID(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "p.sock")
	const hash = "0123456789abcdef0123456789abcdef"
	own, mirror := apiPod("own", hash), apiPod("mirror", "u2")
	own.Annotations = map[string]string{configHash: hash}
	mirror.Annotations = map[string]string{configHash: "fedcba"}
	servePods(t, socket, &podsServer{pods: [][]byte{wire(t, own), wire(t, mirror)}})
	w := runPods(t, socket, quick)
	w.until("both pods", w.Served)
	for uid, want := range map[string]string{hash: "own", "u2": "mirror", "fedcba": "mirror", "": ""} {
		if p, _ := w.ByUID(uid); p.Name != want {
			t.Errorf("%q is %q; want %q", uid, p.Name, want)
		}
	}
}

func TestNameOfANewPodIsNotTakenAwayWithTheOldOne(t *testing.T) {
	table := newPodTable()
	for _, uid := range []string{"old", "new"} {
		if err := table.take(podsapi.EventType_ADDED, wire(t, apiPod("web", uid))); err != nil {
			t.Fatal(err)
		}
	}
	table.remove("old")
	if table.byName[podName{"ns", "web"}] != "new" || len(table.byContainer) != 3 {
		t.Errorf("names %v, containers %v; want the new pod's", table.byName, table.byContainer)
	}
	table.remove("new")
	if n := len(table.byUID) + len(table.byName) + len(table.byContainer) + len(table.byHash); n != 0 {
		t.Errorf("%d entries are left of pods that are gone", n)
	}
}

func TestPodsAreListedWhereThereIsNoWatch(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "p.sock")
	stop := servePods(t, socket, &podsServer{noWatch: true, pods: [][]byte{wire(t, apiPod("a", "u1"))}})
	w := runPods(t, socket, quick)
	w.until("a", func() bool { _, ok := w.ByUID("u1"); return ok && w.Served() })
	stop()
	servePods(t, socket, &podsServer{noWatch: true, pods: [][]byte{wire(t, apiPod("b", "u2"))}})
	w.until("b alone", func() bool { return cmp.Equal([]string{"b"}, w.names()) })
}

func TestKubeletThatDoesNotServePodsIsNoError(t *testing.T) {
	for name, serve := range map[string]func(socket string){
		"no socket":      func(string) {},
		"no service":     func(socket string) { servePods(t, socket, nil) },
		"neither method": func(socket string) { servePods(t, socket, &podsServer{noWatch: true, noList: true}) },
	} {
		socket := filepath.Join(t.TempDir(), "p.sock")
		serve(socket)
		w := runPods(t, socket, quick)
		for range 2 { // two attempts
			<-w.news
		}
		if w.Served() || len(w.All()) != 0 {
			t.Errorf("%s: served %v, pods %v", name, w.Served(), w.All())
		}
	}
}

func TestPodsOutliveARestartOfTheKubelet(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "p.sock")
	stop := servePods(t, socket, &podsServer{pods: [][]byte{wire(t, apiPod("a", "u1"))}})
	w := runPods(t, socket, quick)
	w.until("a ready", func() bool { p, _ := w.ByUID("u1"); return p.Ready })
	stop()
	w.until("lost", func() bool { return !w.Served() })
	if p, found := w.ByUID("u1"); !found || p.Known || p.Ready || p.ControllerName != "web-7d9f" {
		t.Errorf("pod without a kubelet = %+v, %v; want the pod, its readiness unknown", p.Pod, found)
	}
	servePods(t, socket, &podsServer{pods: [][]byte{wire(t, apiPod("b", "u2"))}})
	w.until("b alone", func() bool { return w.Served() && cmp.Equal([]string{"b"}, w.names()) })
}

func TestPodsAreForgottenWhenTheKubeletStaysAway(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "p.sock")
	stop := servePods(t, socket, &podsServer{pods: [][]byte{wire(t, apiPod("a", "u1"))}})
	away := quick
	away.keepLost = time.Millisecond
	w := runPods(t, socket, away)
	w.until("a", func() bool { return len(w.All()) == 1 })
	stop()
	w.until("none", func() bool { return len(w.All()) == 0 && !w.Served() })
}

func TestPodThatCannotBeReadEndsTheWatchAndNothingIsBelieved(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "p.sock")
	servePods(t, socket, &podsServer{pods: [][]byte{wire(t, apiPod("a", "u1")), {0xff}}})
	w := runPods(t, socket, quick)
	for range 2 {
		<-w.news
	}
	if w.Served() || len(w.All()) != 0 {
		t.Errorf("served %v, pods %v; want none", w.Served(), w.names())
	}
}
