package node

import (
	"context"
	"fmt"
	"net"
	"sync"

	"google.golang.org/grpc"
	corev1 "k8s.io/api/core/v1"
	podsapi "k8s.io/kubelet/pkg/apis/pods/v1alpha1"
)

// PodsAPI answers the kubelet's Pods API.
type PodsAPI struct {
	podsapi.UnimplementedPodsServer
	grpc *grpc.Server

	mu      sync.Mutex
	pods    [][]byte
	changed chan struct{}
}

// ServePods listens on a unix socket until Stop is called.
func ServePods(socket string) (*PodsAPI, error) {
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", socket, err)
	}
	p := &PodsAPI{grpc: grpc.NewServer(), changed: make(chan struct{})}
	podsapi.RegisterPodsServer(p.grpc, p)
	go func() { _ = p.grpc.Serve(listener) }()
	return p, nil
}

// Stop closes the socket.
func (p *PodsAPI) Stop() { p.grpc.Stop() }

// Set replaces the pods.
func (p *PodsAPI) Set(pods ...*corev1.Pod) error {
	var all [][]byte
	for _, pod := range pods {
		text, err := pod.Marshal()
		if err != nil {
			return err
		}
		all = append(all, text)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pods = all
	close(p.changed)
	p.changed = make(chan struct{})
	return nil
}

// ListPods implements the kubelet's API.
func (p *PodsAPI) ListPods(context.Context, *podsapi.ListPodsRequest) (*podsapi.ListPodsResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return &podsapi.ListPodsResponse{Pods: p.pods}, nil
}

// WatchPods sends every pod as added, says that these were all, and sends what is new after each change.
func (p *PodsAPI) WatchPods(_ *podsapi.WatchPodsRequest, stream podsapi.Pods_WatchPodsServer) error {
	kind := podsapi.EventType_ADDED
	for {
		p.mu.Lock()
		pods, changed := p.pods, p.changed
		p.mu.Unlock()
		for _, pod := range pods {
			if err := stream.Send(&podsapi.WatchPodsEvent{Type: kind, Pod: pod}); err != nil {
				return err
			}
		}
		if kind == podsapi.EventType_ADDED {
			if err := stream.Send(&podsapi.WatchPodsEvent{Type: podsapi.EventType_INITIAL_SYNC_COMPLETE}); err != nil {
				return err
			}
			kind = podsapi.EventType_MODIFIED
		}
		select {
		case <-changed:
		case <-stream.Context().Done():
			return nil
		}
	}
}
