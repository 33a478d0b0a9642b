//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"

	"github.com/foretide/foretide/test/fakenvml"
	"github.com/foretide/foretide/test/load"
)

// players play the load of all tests that run: one of them for all, for each tick sets every device.
type players struct {
	mu        sync.Mutex
	driver    load.Driver
	workloads map[string]load.Workload
}

// playing begins to play, for as long as the tests run.
var playing = sync.OnceValue(func() *players {
	conn, err := grpc.NewClient("unix://"+kubeletSock, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		panic(err)
	}
	p := &players{
		driver:    load.Driver{Client: api(), PodResources: podresources.NewPodResourcesListerClient(conn), Scenario: scenarioPath},
		workloads: map[string]load.Workload{},
	}
	go func() {
		for now := range time.Tick(200 * time.Millisecond) {
			p.tick(now)
		}
	}()
	return p
})

// roomForScenes lets the node have as many GPUs as the scripted driver has room for, so that no pod of the scenes, which run beside each
// other, waits for one.
var roomForScenes = sync.OnceValue(func() error {
	p := playing()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := fakenvml.Default(fakenvml.MaxDevices).Write(scenarioPath); err != nil {
		return err
	}
	return kube("wait", "node", "--all", "--timeout=60s", fmt.Sprintf(`--for=jsonpath={.status.allocatable.nvidia\.com/gpu}=%d`, fakenvml.MaxDevices))
})

func (p *players) tick(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.workloads) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(background, 5*time.Second)
	defer cancel()
	p.driver.Workloads = slices.Collect(maps.Values(p.workloads))
	// An API server or kubelet that a test has stopped is asked again on the next tick.
	_, _ = p.driver.Tick(ctx, now)
}

// drive offers load to the pods of a Deployment in the namespace default until the test ends.
func drive(t *testing.T, app string, offered func(time.Time) float64) {
	t.Helper()
	driveIn(t, "default", app, offered)
}

func driveIn(t *testing.T, namespace, app string, offered func(time.Time) float64) {
	t.Helper()
	p, key := playing(), namespace+"/"+app
	p.mu.Lock()
	defer p.mu.Unlock()
	p.workloads[key] = load.Workload{Namespace: namespace, Selector: "app=" + app, Offered: offered}
	t.Cleanup(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.workloads, key)
	})
}

// lost takes the GPUs of a pod off the bus. What it returns brings them back, as does the end of the test.
func lost(t *testing.T, namespace, pod string) (back func()) {
	t.Helper()
	p := playing()
	held, err := p.driver.PodResources.List(t.Context(), &podresources.ListPodResourcesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var uuids []string
	for _, holder := range held.GetPodResources() {
		if holder.GetNamespace() != namespace || holder.GetName() != pod {
			continue
		}
		for _, c := range holder.GetContainers() {
			for _, d := range c.GetDevices() {
				uuids = append(uuids, d.GetDeviceIds()...)
			}
		}
	}
	if len(uuids) == 0 {
		t.Fatalf("pod %s/%s holds no GPU", namespace, pod)
	}
	set := func(errors map[string]int) {
		p.mu.Lock()
		defer p.mu.Unlock()
		scenario, err := fakenvml.Read(scenarioPath)
		if err != nil {
			t.Error(err)
			return
		}
		for i := range scenario.Devices {
			if d := &scenario.Devices[i]; slices.Contains(uuids, d.UUID) {
				d.Errors = errors
			}
		}
		if err := scenario.Write(scenarioPath); err != nil {
			t.Error(err)
		}
	}
	set(map[string]int{fakenvml.AllCalls: 15}) // NVML_ERROR_GPU_IS_LOST
	back = func() { set(nil) }
	t.Cleanup(back)
	return back
}
