package scrape

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const (
	// ours and theirs are the prefixes of the annotations; ours win, one by one.
	ours, theirs = "foretide.dev/", "prometheus.io/"
	// longestPath bounds the path an annotation may ask for.
	longestPath = 1024
	// quoted is how much of a wrong value a problem repeats.
	quoted = 64
)

// PodView is what the room needs to know of a pod on this node.
type PodView struct {
	Namespace, Name string
	// IP is the pod's own address; empty while it has none. A pod of the host's network has the node's.
	IP string
	// Running is the pod's phase. One that is not running is not scraped.
	Running bool
	// Ready is its condition. A pod that is not ready is scraped all the same, for one that is overloaded may be just that;
	// but that it cannot be scraped is no problem then.
	Ready       bool
	Annotations map[string]string
	Ports       []Port
}

// Port is one a container declares.
type Port struct {
	Name   string
	Number int
}

// Target is where a pod is scraped.
type Target struct {
	Namespace, Pod string
	// IP is an address in its canonical form.
	IP   string
	Port int
	// Path begins with a slash and may have a query.
	Path string
	// Scheme is http or https.
	Scheme string
}

// Address returns the host:port to dial, an IPv6 address in brackets.
func (t Target) Address() string {
	ip, err := netip.ParseAddr(t.IP)
	if err != nil {
		return ""
	}
	return netip.AddrPortFrom(ip, uint16(t.Port)).String()
}

// URL returns what is asked for.
func (t Target) URL() string { return t.Scheme + "://" + t.Address() + t.Path }

// TargetOf returns where a pod is to be scraped and whether it is at all: when its annotation scrape says so, or, without one,
// when a container has a port named metrics or http-metrics, or foretide.dev/port is set. The problem is empty unless the pod
// wants to be scraped and does not say properly where.
func TargetOf(pod PodView) (target Target, is bool, problem string) {
	if !pod.Running || pod.IP == "" {
		return Target{}, false, ""
	}
	a, named := annotations{pod}, namedPort(pod.Ports)
	_, portSet := pod.Annotations[ours+"port"]
	key, scrape := a.get("scrape")
	switch {
	case key == "" && named == 0 && !portSet, scrape == "false":
		return Target{}, false, ""
	case key != "" && scrape != "true":
		return Target{}, false, a.wrong(key, scrape, "true or false")
	}
	ip, err := netip.ParseAddr(pod.IP)
	if err != nil || !dialable(ip) {
		return Target{}, false, fmt.Sprintf("scrape: pod %s/%s has the address %s: want an IPv4 or IPv6 address of its own",
			pod.Namespace, pod.Name, short(pod.IP))
	}
	t := Target{Namespace: pod.Namespace, Pod: pod.Name, IP: ip.Unmap().String()}
	if t.Port, problem = a.port(named); problem != "" {
		return Target{}, false, problem
	}
	if t.Path, problem = a.path(); problem != "" {
		return Target{}, false, problem
	}
	if t.Scheme, problem = a.scheme(); problem != "" {
		return Target{}, false, problem
	}
	return t, true, ""
}

// dialable leaves out what is no pod's address, above all the link-local ones: clouds give a node's credentials there.
func dialable(ip netip.Addr) bool {
	ip = ip.Unmap()
	return ip.Zone() == "" && !ip.IsUnspecified() && !ip.IsMulticast() && !ip.IsLinkLocalUnicast()
}

// namedPort returns the port that is metrics by its name; 0 when there is none.
func namedPort(ports []Port) int {
	for _, name := range []string{"metrics", "http-metrics"} {
		if i := slices.IndexFunc(ports, func(p Port) bool { return p.Name == name && isPort(p.Number) }); i >= 0 {
			return ports[i].Number
		}
	}
	return 0
}

func isPort(n int) bool { return n >= 1 && n <= 65535 }

// annotations reads those of one pod.
type annotations struct{ pod PodView }

// get returns the annotation that counts and its value; both are empty when there is neither.
func (a annotations) get(name string) (key, value string) {
	for _, prefix := range []string{ours, theirs} {
		if v, ok := a.pod.Annotations[prefix+name]; ok {
			return prefix + name, v
		}
	}
	return "", ""
}

// port takes the annotation, else the named port, else the only one there is.
func (a annotations) port(named int) (int, string) {
	if key, value := a.get("port"); key != "" {
		n, err := strconv.Atoi(value)
		if err != nil || !isPort(n) {
			return 0, a.wrong(key, value, "a number from 1 to 65535")
		}
		return n, ""
	}
	if named != 0 {
		return named, ""
	}
	if ports := a.pod.Ports; len(ports) == 1 && isPort(ports[0].Number) {
		return ports[0].Number, ""
	}
	return 0, fmt.Sprintf("scrape: pod %s/%s wants to be scraped and does not say on which port: set its annotation %sport, or name a container port metrics",
		a.pod.Namespace, a.pod.Name, ours)
}

func (a annotations) path() (string, string) {
	key, value := a.get("path")
	if key == "" {
		return "/metrics", ""
	}
	if _, err := url.ParseRequestURI(value); err != nil || !strings.HasPrefix(value, "/") || len(value) > longestPath {
		return "", a.wrong(key, value, fmt.Sprintf("a URL's path that begins with / and has at most %d characters", longestPath))
	}
	return value, ""
}

func (a annotations) scheme() (string, string) {
	key, value := a.get("scheme")
	switch {
	case key == "":
		return "http", ""
	case value != "http" && value != "https":
		return "", a.wrong(key, value, "http or https")
	}
	return value, ""
}

func (a annotations) wrong(key, value, want string) string {
	return fmt.Sprintf("scrape: pod %s/%s: annotation %s is %s: want %s", a.pod.Namespace, a.pod.Name, key, short(value), want)
}

// short quotes the beginning of what somebody else wrote.
func short(s string) string {
	if len(s) > quoted {
		s = s[:quoted] + "…"
	}
	return strconv.Quote(s)
}
