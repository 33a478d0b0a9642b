// Package podresources answers the kubelet's pod-resources API on a unix socket where there is no kubelet: in the demo and in
// benchmarks. The tests of the product use the kubelet itself.
package podresources

import (
	"context"
	"fmt"
	"net"
	"sync"

	"google.golang.org/grpc"
	api "k8s.io/kubelet/pkg/apis/podresources/v1"
)

// Holder is a container that holds devices.
type Holder struct {
	Namespace, Pod, Container string
	DeviceUUIDs               []string
}

// Server says who holds what.
type Server struct {
	api.UnimplementedPodResourcesListerServer
	grpc    *grpc.Server
	mu      sync.Mutex
	holders []Holder
}

// Serve listens on a unix socket until Stop is called.
func Serve(socket string) (*Server, error) {
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", socket, err)
	}
	s := &Server{grpc: grpc.NewServer()}
	api.RegisterPodResourcesListerServer(s.grpc, s)
	go func() { _ = s.grpc.Serve(listener) }()
	return s, nil
}

// Stop closes the socket.
func (s *Server) Stop() { s.grpc.Stop() }

// Set replaces what is held.
func (s *Server) Set(holders []Holder) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holders = holders
}

// List implements the kubelet's API.
func (s *Server) List(context.Context, *api.ListPodResourcesRequest) (*api.ListPodResourcesResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := &api.ListPodResourcesResponse{}
	for _, h := range s.holders {
		out.PodResources = append(out.PodResources, &api.PodResources{
			Name: h.Pod, Namespace: h.Namespace,
			Containers: []*api.ContainerResources{{
				Name:    h.Container,
				Devices: []*api.ContainerDevices{{ResourceName: "nvidia.com/gpu", DeviceIds: h.DeviceUUIDs}},
			}},
		})
	}
	return out, nil
}
