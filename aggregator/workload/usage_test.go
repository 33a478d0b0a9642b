package workload

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// metricsAPI is an API server that answers for the pods of one namespace, and counts how often.
func metricsAPI(t *testing.T, answer func() (status int, body string)) (*Usages, *int) {
	t.Helper()
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/apis/metrics.k8s.io/v1beta1/namespaces/chat/pods" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		asked++
		status, body := answer()
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(server.Close)
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return NewUsages(client.RESTClient()), &asked
}

func TestUsageIsThatOfAllContainersOfAPod(t *testing.T) {
	item := func(name string, at time.Time, containers string) string {
		return fmt.Sprintf(`{"metadata":{"name":%q},"timestamp":%q,"window":"15s","containers":[%s]}`, name, at.Format(time.RFC3339), containers)
	}
	list := `{"kind":"PodMetricsList","items":[` + strings.Join([]string{
		item("web-1", noon.Add(-20*time.Second), `{"name":"main","usage":{"cpu":"1500m","memory":"2Gi"}},{"name":"side","usage":{"cpu":"100000000n","memory":"1Ki"}}`),
		item("old", noon.Add(-5*time.Minute), `{"name":"main","usage":{"cpu":"1","memory":"1"}}`),
		item("starting", noon, ""),
	}, ",") + `]}`
	u, asked := metricsAPI(t, func() (int, string) { return http.StatusOK, list })
	for range 3 {
		got, err := u.Of(t.Context(), "chat", noon)
		if err != nil || len(got) != 1 || got["web-1"] != (Usage{1.6, 2<<30 + 1024}) {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	if *asked != 1 {
		t.Errorf("asked %d times within a moment", *asked)
	}
	if _, err := u.Of(t.Context(), "chat", noon.Add(keepUsage)); err != nil || *asked != 2 {
		t.Errorf("then %v, asked %d times", err, *asked)
	}
}

func TestNamespacesThatNobodyAsksForAreForgotten(t *testing.T) {
	u, asked := metricsAPI(t, func() (int, string) { return http.StatusOK, `{"items":[]}` })
	u.known["gone"] = &namespaceUsage{asked: noon}
	for after := time.Duration(0); after <= 2*forgetUsage; after += time.Minute {
		if _, err := u.Of(t.Context(), "chat", noon.Add(after)); err != nil {
			t.Fatal(err)
		}
	}
	if len(u.known) != 1 || *asked != 21 {
		t.Errorf("%d namespaces are remembered, want chat alone; asked %d times", len(u.known), *asked)
	}
}

func TestWithoutAMetricsAPIUsageIsAnError(t *testing.T) {
	u, _ := metricsAPI(t, func() (int, string) {
		return http.StatusNotFound, `{"kind":"Status","status":"Failure","reason":"NotFound","code":404}`
	})
	if got, err := u.Of(t.Context(), "chat", noon); err == nil || !strings.Contains(err.Error(), "install metrics-server") {
		t.Errorf("%+v, %v", got, err)
	}
	u, _ = metricsAPI(t, func() (int, string) { return http.StatusOK, `not JSON` })
	if got, err := u.Of(t.Context(), "chat", noon); err == nil {
		t.Errorf("%+v of no JSON", got)
	}
}

func TestRequestsAreThoseThatRunSideBySide(t *testing.T) {
	asks := func(cpu, memory string) corev1.Container {
		return corev1.Container{Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}}}
	}
	sidecar, first := asks("250m", "1Gi"), asks("8", "64Gi")
	sidecar.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
	p := pod("web", func(p *corev1.Pod) {
		p.Spec.Containers, p.Spec.InitContainers = []corev1.Container{asks("1", "2Gi"), asks("500m", "1Gi")}, []corev1.Container{sidecar, first}
	})
	if got := newRecord(p, nil, &shapes{}).pod; got.CPU != 1.75 || got.Memory != 4<<30 {
		t.Errorf("requests are %g cores, %g bytes", got.CPU, got.Memory)
	}
	p.Spec.Containers[1].Resources.Requests = nil
	if got := newRecord(p, nil, &shapes{}).pod; got.CPU != 0 || got.Memory != 0 {
		t.Errorf("of a container that requests nothing the whole is %g cores, %g bytes; it must be unknown", got.CPU, got.Memory)
	}
}
