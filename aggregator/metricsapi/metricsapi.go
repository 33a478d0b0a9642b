// Package metricsapi serves the aggregated API metrics.foretide.dev/v1alpha1: for each policy a PredictionsObserver, which holds its
// report as a page and as JSON.
//
//	kubectl ─► API server ─ front-proxy certificate, X-Remote-User ─► FrontProxy ─► SubjectAccessReview ─► report
//
// It is a few handlers instead of k8s.io/apiserver, which would more than double what the aggregator links. The API server tolerates
// that there is no OpenAPI.
package metricsapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What is served.
const (
	Group    = "metrics.foretide.dev"
	Version  = "v1alpha1"
	Resource = "predictionsobserver"
	Kind     = "PredictionsObserver"

	groupVersion = Group + "/" + Version
	root         = "/apis/" + Group + "/" + Version
)

// Path is where the report of a policy is.
func Path(namespace, name string) string {
	return root + "/namespaces/" + url.PathEscape(namespace) + "/" + Resource + "/" + url.PathEscape(name)
}

// PredictionsObserver is the report of the policy of its name. In a list it has neither content nor report.
type PredictionsObserver struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	// Content is the page; base64 in JSON.
	Content []byte `json:"content,omitempty"`
	// Report is the same in numbers.
	Report json.RawMessage `json:"report,omitempty"`
}

// PredictionsObserverList is a list of them.
type PredictionsObserverList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	Items           []PredictionsObserver `json:"items"`
}

// Name is that of a policy.
type Name struct{ Namespace, Name string }

// ErrNotFound is that there is no report of a policy.
var ErrNotFound = errors.New("there is no policy of that name, or it has not been decided yet")

// Reports makes reports.
type Reports interface {
	// Report returns the page and the JSON of a policy's report; an error that is ErrNotFound when there is none.
	Report(ctx context.Context, policy Name) (page []byte, data json.RawMessage, err error)
	// Policies lists those of a namespace that have one, or all for "".
	Policies(namespace string) []Name
}

// Options of a handler.
type Options struct {
	Reports Reports
	// Proxy says who asks, Access whether they may.
	Proxy  *FrontProxy
	Access *Access
	Logger *slog.Logger
}

// requestTimeout bounds a request, its review included.
const requestTimeout = 30 * time.Second

// Handler serves the API. Whoever does not come through the API server is answered 401.
func Handler(o Options) http.Handler {
	mux := http.NewServeMux()
	for path, answer := range map[string]any{
		"/apis": metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}, Groups: []metav1.APIGroup{group()}}, "/apis/" + Group: group(), root: resources(),
	} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { write(w, http.StatusOK, answer) })
	}
	list := func(w http.ResponseWriter, r *http.Request) {
		o.allowed(w, r, "list", func() { o.list(w, r.PathValue("namespace")) })
	}
	mux.HandleFunc("GET "+root+"/"+Resource, list)
	mux.HandleFunc("GET "+root+"/namespaces/{namespace}/"+Resource, list)
	mux.HandleFunc("GET "+root+"/namespaces/{namespace}/"+Resource+"/{name}", func(w http.ResponseWriter, r *http.Request) {
		o.allowed(w, r, "get", func() { o.get(w, r) })
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotFound, metav1.StatusReasonNotFound, fmt.Sprintf("%s %s is not served here", r.Method, r.URL.Path))
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
		defer cancel()
		user, err := o.Proxy.Who(ctx, r)
		if err != nil {
			fail(w, http.StatusUnauthorized, metav1.StatusReasonUnauthorized, err.Error())
			return
		}
		mux.ServeHTTP(w, r.WithContext(context.WithValue(ctx, userKey{}, user)))
	})
}

type userKey struct{}

// allowed goes on when the user may; otherwise it answers.
func (o Options) allowed(w http.ResponseWriter, r *http.Request, verb string, next func()) {
	user := r.Context().Value(userKey{}).(User)
	denied, err := o.Access.May(r.Context(), user, verb, r.PathValue("namespace"), r.PathValue("name"))
	switch {
	case err != nil:
		o.Logger.Warn("access to a report cannot be checked", "path", r.URL.Path, "err", err)
		fail(w, http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, "access cannot be checked now: the Kubernetes API server does not answer")
	case denied != "":
		fail(w, http.StatusForbidden, metav1.StatusReasonForbidden, denied)
	default:
		next()
	}
}

func (o Options) get(w http.ResponseWriter, r *http.Request) {
	policy := Name{r.PathValue("namespace"), r.PathValue("name")}
	page, data, err := o.Reports.Report(r.Context(), policy)
	switch {
	case errors.Is(err, ErrNotFound):
		fail(w, http.StatusNotFound, metav1.StatusReasonNotFound, fmt.Sprintf("%s.%s %q not found: %v", Resource, Group, policy.Name, err))
	case err != nil:
		o.Logger.Warn("no report", "policy", policy, "err", err)
		fail(w, http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, err.Error())
	default:
		object := item(policy)
		object.Content, object.Report = page, data
		write(w, http.StatusOK, object)
	}
}

func (o Options) list(w http.ResponseWriter, namespace string) {
	out := PredictionsObserverList{TypeMeta: metav1.TypeMeta{Kind: Kind + "List", APIVersion: groupVersion}, Items: []PredictionsObserver{}}
	for _, policy := range o.Reports.Policies(namespace) {
		out.Items = append(out.Items, item(policy))
	}
	write(w, http.StatusOK, out)
}

func item(policy Name) PredictionsObserver {
	return PredictionsObserver{
		TypeMeta:   metav1.TypeMeta{Kind: Kind, APIVersion: groupVersion},
		ObjectMeta: metav1.ObjectMeta{Namespace: policy.Namespace, Name: policy.Name},
	}
}

func group() metav1.APIGroup {
	version := metav1.GroupVersionForDiscovery{GroupVersion: groupVersion, Version: Version}
	return metav1.APIGroup{
		TypeMeta: metav1.TypeMeta{Kind: "APIGroup", APIVersion: "v1"}, Name: Group,
		Versions: []metav1.GroupVersionForDiscovery{version}, PreferredVersion: version,
	}
}

func resources() metav1.APIResourceList {
	return metav1.APIResourceList{
		TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: groupVersion,
		APIResources: []metav1.APIResource{{Name: Resource, SingularName: Resource, Namespaced: true, Kind: Kind, Verbs: metav1.Verbs{"get", "list"}}},
	}
}

func fail(w http.ResponseWriter, code int, reason metav1.StatusReason, message string) {
	write(w, code, metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Code: int32(code), Reason: reason, Message: message,
	})
}

func write(w http.ResponseWriter, code int, answer any) {
	text, err := json.Marshal(answer)
	if err != nil {
		code, text = http.StatusInternalServerError, nil
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(text)
}
