// Package podresources answers the kubelet's pod-resources API on a unix socket where there is no kubelet: in the demo and in
// benchmarks. The tests of the product use the kubelet itself.
package podresources

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"sync"

	"google.golang.org/grpc"
	api "k8s.io/kubelet/pkg/apis/podresources/v1"
)

// Holder is a container that holds devices of one resource, by device plugin or by claim.
type Holder struct {
	Namespace, Pod, Container string
	// Resource is the extended resource; empty is nvidia.com/gpu.
	Resource string
	// DeviceIDs are the device plugin's.
	DeviceIDs []string
	// Claims are DRA devices.
	Claims []Claim
}

// Claim is a device of a DRA driver.
type Claim struct{ Driver, Pool, Device string }

// Server says who holds what.
type Server struct {
	api.UnimplementedPodResourcesListerServer
	grpc    *grpc.Server
	mu      sync.Mutex
	holders []Holder
	err     error
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

// Fail makes every question end with the error; nil answers again.
func (s *Server) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// List implements the kubelet's API.
func (s *Server) List(context.Context, *api.ListPodResourcesRequest) (*api.ListPodResourcesResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := &api.ListPodResourcesResponse{}
	if s.err != nil {
		return nil, s.err
	}
	for _, h := range s.holders {
		container := &api.ContainerResources{Name: h.Container}
		if len(h.DeviceIDs) > 0 {
			container.Devices = []*api.ContainerDevices{{ResourceName: cmp.Or(h.Resource, "nvidia.com/gpu"), DeviceIds: h.DeviceIDs}}
		}
		for _, c := range h.Claims {
			container.DynamicResources = append(container.DynamicResources, &api.DynamicResource{ClaimName: c.Device, ClaimNamespace: h.Namespace,
				ClaimResources: []*api.ClaimResource{{DriverName: c.Driver, PoolName: c.Pool, DeviceName: c.Device}}})
		}
		out.PodResources = append(out.PodResources, &api.PodResources{Name: h.Pod, Namespace: h.Namespace, Containers: []*api.ContainerResources{container}})
	}
	return out, nil
}
