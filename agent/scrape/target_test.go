package scrape

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func pod(annotations map[string]string, ports ...Port) PodView {
	return PodView{Namespace: "ns", Name: "web", IP: "10.0.0.7", Running: true, Ready: true, Annotations: annotations, Ports: ports}
}

func TestWhereAPodIsScraped(t *testing.T) {
	serving, metrics := Port{"http", 8000}, Port{"metrics", 9000}
	for name, c := range map[string]struct {
		pod  PodView
		want string // the URL; empty for none
	}{
		"a port named metrics is enough":         {pod(nil, serving, metrics), "http://10.0.0.7:9000/metrics"},
		"so is one named http-metrics":           {pod(nil, Port{"http-metrics", 9001}), "http://10.0.0.7:9001/metrics"},
		"metrics comes before http-metrics":      {pod(nil, Port{"http-metrics", 9001}, metrics), "http://10.0.0.7:9000/metrics"},
		"other ports are not":                    {pod(nil, serving), ""},
		"Prometheus' annotations count":          {pod(map[string]string{"prometheus.io/scrape": "true", "prometheus.io/port": "8001", "prometheus.io/path": "/m", "prometheus.io/scheme": "https"}, metrics), "https://10.0.0.7:8001/m"},
		"ours win":                               {pod(map[string]string{"prometheus.io/scrape": "false", "foretide.dev/scrape": "true", "prometheus.io/port": "1", "foretide.dev/port": "8002"}), "http://10.0.0.7:8002/metrics"},
		"ours win one by one":                    {pod(map[string]string{"prometheus.io/path": "/theirs", "foretide.dev/scrape": "true", "foretide.dev/port": "8002"}), "http://10.0.0.7:8002/theirs"},
		"false wins over a port's name":          {pod(map[string]string{"foretide.dev/scrape": "false", "foretide.dev/port": "wrong"}, metrics), ""},
		"our port alone is a wish":               {pod(map[string]string{"foretide.dev/port": "8002"}), "http://10.0.0.7:8002/metrics"},
		"Prometheus' port alone is not":          {pod(map[string]string{"prometheus.io/port": "8002"}), ""},
		"the only port is the port":              {pod(map[string]string{"prometheus.io/scrape": "true"}, serving), "http://10.0.0.7:8000/metrics"},
		"a path may have a query":                {pod(map[string]string{"foretide.dev/path": "/m?format=prometheus"}, metrics), "http://10.0.0.7:9000/m?format=prometheus"},
		"a path never becomes a host":            {pod(map[string]string{"foretide.dev/path": "//elsewhere/m"}, metrics), "http://10.0.0.7:9000//elsewhere/m"},
		"IPv6 is bracketed":                      {PodView{Namespace: "ns", Name: "web", IP: "fd00::7", Running: true, Ports: []Port{metrics}}, "http://[fd00::7]:9000/metrics"},
		"an IPv4 address in IPv6 form is IPv4":   {PodView{Namespace: "ns", Name: "web", IP: "::ffff:10.0.0.7", Running: true, Ports: []Port{metrics}}, "http://10.0.0.7:9000/metrics"},
		"a pod that does not run is not scraped": {PodView{Namespace: "ns", Name: "web", IP: "10.0.0.7", Ports: []Port{metrics}}, ""},
		"nor one without an address":             {PodView{Namespace: "ns", Name: "web", Running: true, Ports: []Port{metrics}}, ""},
		"one that is not ready is":               {PodView{Namespace: "ns", Name: "web", IP: "10.0.0.7", Running: true, Ports: []Port{metrics}}, "http://10.0.0.7:9000/metrics"},
	} {
		t.Run(name, func(t *testing.T) {
			target, is, problem := TargetOf(c.pod)
			got := ""
			if is {
				got = target.URL()
			}
			if got != c.want || problem != "" {
				t.Errorf("URL %q, problem %q; want %q and none", got, problem, c.want)
			}
		})
	}
}

func TestAWrongWishIsAProblemThatSaysWhatIsAllowed(t *testing.T) {
	metrics := Port{"metrics", 9000}
	for want, p := range map[string]PodView{
		`scrape: pod ns/web: annotation foretide.dev/scrape is "yes": want true or false`:                    pod(map[string]string{"foretide.dev/scrape": "yes"}, metrics),
		`scrape: pod ns/web: annotation prometheus.io/scrape is "": want true or false`:                      pod(map[string]string{"prometheus.io/scrape": ""}, metrics),
		`scrape: pod ns/web: annotation foretide.dev/port is "http": want a number from 1 to 65535`:          pod(map[string]string{"foretide.dev/port": "http"}),
		`scrape: pod ns/web: annotation prometheus.io/port is "65536": want a number from 1 to 65535`:        pod(map[string]string{"prometheus.io/scrape": "true", "prometheus.io/port": "65536"}),
		`scrape: pod ns/web: annotation foretide.dev/scheme is "ftp": want http or https`:                    pod(map[string]string{"foretide.dev/scheme": "ftp"}, metrics),
		`annotation foretide.dev/path is "metrics": want a URL's path that begins with /`:                    pod(map[string]string{"foretide.dev/path": "metrics"}, metrics),
		`annotation foretide.dev/path is "http://elsewhere/": want a URL's path that begins with /`:          pod(map[string]string{"foretide.dev/path": "http://elsewhere/"}, metrics),
		`annotation foretide.dev/path is "/a\nb": want a URL's path`:                                         pod(map[string]string{"foretide.dev/path": "/a\nb"}, metrics),
		`annotation foretide.dev/path is "/` + strings.Repeat("x", 63) + `…": want a URL's path`:             pod(map[string]string{"foretide.dev/path": "/" + strings.Repeat("x", 5000)}, metrics),
		`does not say on which port: set its annotation foretide.dev/port, or name a container port metrics`: pod(map[string]string{"prometheus.io/scrape": "true"}, Port{"a", 1}, Port{"b", 2}),
		`has the address "169.254.169.254": want an IPv4 or IPv6 address of its own`:                         {Namespace: "ns", Name: "web", IP: "169.254.169.254", Running: true, Ports: []Port{metrics}},
		`has the address "0.0.0.0"`:   {Namespace: "ns", Name: "web", IP: "0.0.0.0", Running: true, Ports: []Port{metrics}},
		`has the address "metadata"`:  {Namespace: "ns", Name: "web", IP: "metadata", Running: true, Ports: []Port{metrics}},
		`has the address "fe80::1%1"`: {Namespace: "ns", Name: "web", IP: "fe80::1%1", Running: true, Ports: []Port{metrics}},
	} {
		target, is, problem := TargetOf(p)
		if is || target != (Target{}) || !strings.Contains(problem, want) {
			t.Errorf("target %v %v, problem\n%s\nwant none and\n%s", is, target, problem, want)
		}
	}
}

func TestDefinitionsNameEachMetricOnce(t *testing.T) {
	seen := map[string]int{}
	servers := map[string]bool{}
	for _, d := range Definitions() {
		seen[d.Name]++
		servers[d.Server] = true
		if seen[d.Name] > 1 || d.Help == "" {
			t.Errorf("%s is there %d times, with the help %q", d.Name, seen[d.Name], d.Help)
		}
	}
	if d := cmp.Diff(map[string]bool{"vLLM": true, "Triton": true, "TGI": true, "SGLang": true}, servers); d != "" {
		t.Errorf("servers (-want +got)\n%s", d)
	}
}
