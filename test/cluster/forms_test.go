//go:build e2e

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"

	"github.com/foretide/foretide/test/cluster/gpu"
)

// This test needs a cluster that is up in its default folder:
//
//	go run . up && go test -tags e2e -run Form . ; go run . down

const formsOffers = `
nvidia.com/gpu=whole 0
nvidia.com/gpu.shared=whole 1 replicas=2
nvidia.com/mig-1g.10gb=mig 2.0
nvidia.com/mig-1g.10gb.shared=mig 2.1 replicas=2
nvidia.com/mig-3g.40gb=legacy-mig 2.2
example.com/gke=gke 3
example.com/gke-shared=gke 4 replicas=2
example.com/gke-mig=gke-mig 2.3
gpu.nvidia.com=dra 5
gpu.nvidia.com=dra-mig 6.0
gpu.nvidia.com=dra-dynamic-mig 7.0
`

// formsScenario is eight GPUs, of which three have MIG instances.
func formsScenario() string {
	var b strings.Builder
	b.WriteString(gpu.DefaultScenario(8))
	for i, name := range []string{"2.0", "2.1", "2.2", "2.3", "6.0", "7.0"} {
		profile, start := "1g.10gb", i
		if name == "2.2" || name == "7.0" {
			profile, start = "3g.40gb", 4
		}
		fmt.Fprintf(&b, "[mig %s]\nmig_uuid=%s\nprofile=%s\n", name, migUUID(name), profile)
		fmt.Fprintf(&b, "gpu_instance=%d\ncompute_instance=0\nplacement_start=%d\n", i+7, start)
	}
	return b.String()
}

// migUUID is the identity of the instance of a [mig N.M] section.
func migUUID(name string) string {
	return "MIG-f0e7de00-0000-4000-8000-" + strings.ReplaceAll(fmt.Sprintf("%012s", name), ".", "a")
}

// TestPodsHoldEveryFormAtOnce runs a pod for each form and reads from the kubelet what each holds.
func TestPodsHoldEveryFormAtOnce(t *testing.T) {
	l, err := newLayout(defaultDir)
	if err != nil {
		t.Fatal(err)
	}
	client, err := newAPI(l, apiURL(), "admin")
	if err != nil {
		t.Fatalf("%v: bring a cluster up first, go run . up", err)
	}
	before, err := os.ReadFile(l.scenario())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		put(t, l.scenario(), string(before))
		if err := os.Remove(l.offers()); err != nil {
			t.Error(err)
		}
	})
	put(t, l.scenario(), formsScenario())
	put(t, l.offers(), formsOffers)
	waitOffered(t, l)

	for name, resource := range map[string]string{
		"whole":      "nvidia.com/gpu",
		"shared-1":   "nvidia.com/gpu.shared",
		"shared-2":   "nvidia.com/gpu.shared",
		"mig":        "nvidia.com/mig-1g.10gb",
		"mig-shared": "nvidia.com/mig-1g.10gb.shared",
		"legacy-mig": "nvidia.com/mig-3g.40gb",
		"gke":        "example.com/gke",
		"gke-shared": "example.com/gke-shared",
		"gke-mig":    "example.com/gke-mig",
	} {
		createPod(t, client, name, fmt.Sprintf("resources: {limits: {%s: 1}}", resource), "")
	}
	for name, request := range map[string]string{
		"dra":             "deviceClassName: gpu.nvidia.com",
		"dra-mig":         profileRequest("1g.10gb"),
		"dra-dynamic-mig": profileRequest("3g.40gb"),
	} {
		createTemplate(t, client, name, request)
		createPod(t, client, name, "resources: {claims: [{name: gpu}]}",
			fmt.Sprintf("resourceClaims: [{name: gpu, resourceClaimTemplateName: %s}]", name))
	}
	want := map[string][]string{
		"whole":           {gpu.UUID(0)},
		"shared-1":        {gpu.UUID(1) + "::N"},
		"shared-2":        {gpu.UUID(1) + "::N"},
		"mig":             {migUUID("2.0")},
		"mig-shared":      {migUUID("2.1") + "::N"},
		"legacy-mig":      {"MIG-" + gpu.UUID(2) + "/9/0"},
		"gke":             {"nvidia3"},
		"gke-shared":      {"nvidia4/vgpuN"},
		"gke-mig":         {"nvidia2/gi10"},
		"dra":             {"gpu.nvidia.com/foretide-node/gpu-5"},
		"dra-mig":         {"gpu.nvidia.com/foretide-node/gpu-6-mig-1g10gb-19-4"},
		"dra-dynamic-mig": {"gpu.nvidia.com/foretide-node/gpu-7-mig-3g40gb-9-4"},
	}
	for name := range want {
		waitRunning(t, client, name)
	}

	held := holdings(t, l)
	if one, two := held["shared-1"], held["shared-2"]; slices.Equal(one, two) {
		t.Errorf("two pods that share a GPU hold the same replica, %q", one)
	}
	replica := regexp.MustCompile(`(::|/vgpu)\d+$`) // which one a pod gets is the kubelet's choice
	for name, ids := range want {
		got := held[name]
		for i := range got {
			got[i] = replica.ReplaceAllString(got[i], "${1}N")
		}
		if !slices.Equal(got, ids) {
			t.Errorf("pod %s holds %q, want %q", name, got, ids)
		}
	}
}

// waitOffered waits until the node offers what the files say.
func waitOffered(t *testing.T, l layout) {
	t.Helper()
	for _, ready := range []readyFunc{pluginReady(l), draDriverReady(l)} {
		if err := poll(t.Context(), func() error { return ready(t.Context(), time.Time{}) }); err != nil {
			t.Fatal(err)
		}
	}
}

// profileRequest asks for a MIG instance of one profile.
func profileRequest(profile string) string {
	return fmt.Sprintf("deviceClassName: mig.nvidia.com, "+
		`selectors: [{cel: {expression: "device.attributes['gpu.nvidia.com'].profile == '%s'"}}]`, profile)
}

func createTemplate(t *testing.T, client *api, name, request string) {
	t.Helper()
	create(t, client, "/apis/resource.k8s.io/v1/namespaces/default/resourceclaimtemplates/"+name, fmt.Sprintf(`apiVersion: resource.k8s.io/v1
kind: ResourceClaimTemplate
metadata: {name: %s}
spec:
  spec:
    devices:
      requests:
      - name: gpu
        exactly: {%s}
`, name, request))
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := writeIfChanged(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// createPod creates a pod of one container.
func createPod(t *testing.T, client *api, name, container, spec string) {
	t.Helper()
	create(t, client, "/api/v1/namespaces/default/pods/"+name, fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  terminationGracePeriodSeconds: 1
  %s
  containers:
  - name: main
    image: %s
    imagePullPolicy: Never
    %s
`, name, spec, idleImage, container))
}

// create creates an object; when the test ends it is deleted, and its end is waited for.
func create(t *testing.T, client *api, path, object string) {
	t.Helper()
	if err := client.apply(t.Context(), path, object); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background() // the test's own has ended
		if err := client.do(ctx, http.MethodDelete, path, "", nil, nil); err != nil {
			t.Error(err)
			return
		}
		err := poll(ctx, func() error {
			err := client.get(ctx, path, nil)
			var status errStatus
			if errors.As(err, &status) && status.code == http.StatusNotFound {
				return nil
			}
			return errors.Join(fmt.Errorf("%s is still there", path), err)
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func waitRunning(t *testing.T, client *api, name string) {
	t.Helper()
	err := poll(t.Context(), func() error {
		var pod struct {
			Status struct {
				Phase      string `json:"phase"`
				Conditions []struct {
					Message string `json:"message"`
				} `json:"conditions"`
			} `json:"status"`
		}
		if err := client.get(t.Context(), "/api/v1/namespaces/default/pods/"+name, &pod); err != nil {
			return err
		}
		if pod.Status.Phase != "Running" {
			return fmt.Errorf("pod %s is %+v", name, pod.Status)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// holdings asks the kubelet for the devices of each pod: plain ids, and driver/pool/device of claims.
func holdings(t *testing.T, l layout) map[string][]string {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+l.path("kubelet", "pod-resources", "kubelet.sock"),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answer, err := podresources.NewPodResourcesListerClient(conn).List(t.Context(), &podresources.ListPodResourcesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	held := map[string][]string{}
	for _, pod := range answer.PodResources {
		for _, container := range pod.Containers {
			for _, device := range container.Devices {
				t.Logf("%s: %s %s", pod.Name, device.ResourceName, device.DeviceIds)
				held[pod.Name] = append(held[pod.Name], device.DeviceIds...)
			}
			for _, claim := range container.DynamicResources {
				for _, r := range claim.ClaimResources {
					t.Logf("%s: claim %s/%s: %v", pod.Name, claim.ClaimNamespace, claim.ClaimName, r)
					held[pod.Name] = append(held[pod.Name], r.DriverName+"/"+r.PoolName+"/"+r.DeviceName)
				}
			}
		}
	}
	return held
}
