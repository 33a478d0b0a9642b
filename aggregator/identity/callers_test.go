package identity

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

const agentUser = "system:serviceaccount:foretide-system:foretide-agent"

// reviewer answers as an API server with a few tokens and rules does, and counts what it is asked.
type reviewer struct {
	*fake.Clientset
	tokens, accesses int
	down             bool
	access           []authorizationv1.SubjectAccessReviewSpec
}

func newReviewer() *reviewer {
	r := &reviewer{Clientset: fake.NewClientset()}
	r.PrependReactor("create", "tokenreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
		r.tokens++
		if r.down {
			return true, nil, errors.New("connection refused")
		}
		review := action.(clienttesting.CreateAction).GetObject().(*authenticationv1.TokenReview).DeepCopy()
		review.Status = answer(review.Spec)
		return true, review, nil
	})
	r.PrependReactor("create", "subjectaccessreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
		r.accesses++
		if r.down {
			return true, nil, errors.New("connection refused")
		}
		review := action.(clienttesting.CreateAction).GetObject().(*authorizationv1.SubjectAccessReview).DeepCopy()
		r.access = append(r.access, review.Spec)
		rule := review.Spec.NonResourceAttributes
		review.Status.Allowed = review.Spec.User == "reader" && rule.Verb == "get" && rule.Path == "/metrics"
		return true, review, nil
	})
	return r
}

func answer(spec authenticationv1.TokenReviewSpec) authenticationv1.TokenReviewStatus {
	user := func(name string, node ...string) authenticationv1.TokenReviewStatus {
		info := authenticationv1.UserInfo{Username: name, UID: "u", Groups: []string{"g"}, Extra: map[string]authenticationv1.ExtraValue{}}
		if len(node) > 0 {
			info.Extra[nodeNameExtra] = node
		}
		return authenticationv1.TokenReviewStatus{Authenticated: true, User: info, Audiences: spec.Audiences}
	}
	switch spec.Token {
	case "agent-on-a":
		return user(agentUser, "node-a")
	case "agent-without-node":
		return user(agentUser)
	case "someone-else":
		return user("system:serviceaccount:default:default", "node-a")
	case "no-audiences":
		s := user(agentUser, "node-a")
		s.Audiences = nil
		return s
	case "reader":
		return user("reader")
	case "expired":
		return authenticationv1.TokenReviewStatus{Error: "token has expired"}
	}
	return authenticationv1.TokenReviewStatus{}
}

func TestAgentMaySpeakForTheNodeItsTokenIsBoundTo(t *testing.T) {
	a := NewAgentReview(newReviewer(), namespace, func() time.Time { return start })
	got, err := a.Authenticate(t.Context(), "agent-on-a")
	if diff := cmp.Diff(Caller{Name: agentUser, Node: "node-a"}, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, c := range []struct {
		token  string
		status int
		want   string
	}{
		{"unknown", 401, "not valid, or not made for the audience"},
		{"expired", 401, "token has expired"},
		{"no-audiences", 401, "made for the audience"},
		{"someone-else", 403, `token is of "system:serviceaccount:default:default": agents must be "` + agentUser + `"`},
		{"agent-without-node", 403, "not bound to a node"},
	} {
		caller, err := a.Authenticate(t.Context(), c.token)
		var denied *DeniedError
		if !errors.As(err, &denied) || denied.HTTPStatus() != c.status || !strings.Contains(err.Error(), c.want) || caller != (Caller{}) {
			t.Errorf("%s: %+v, %v; want %d …%s…", c.token, caller, err, c.status, c.want)
		}
	}
}

func TestAnswersAreBelievedForAMinuteRefusalsForTenSeconds(t *testing.T) {
	r := newReviewer()
	now := start
	a := NewAgentReview(r, namespace, func() time.Time { return now })
	expect := func(token string, at time.Duration, want int) {
		t.Helper()
		now = start.Add(at)
		_, _ = a.Authenticate(t.Context(), token)
		if r.tokens != want {
			t.Errorf("%s at %v: %d reviews, want %d", token, at, r.tokens, want)
		}
	}
	expect("agent-on-a", 0, 1)
	expect("agent-on-a", 59*time.Second, 1)
	expect("agent-on-a", 60*time.Second, 2)
	expect("unknown", 100*time.Second, 3)
	expect("unknown", 109*time.Second, 3)
	expect("unknown", 110*time.Second, 4)
	r.down = true
	expect("agent-on-a", 200*time.Second, 5)
	expect("agent-on-a", 200*time.Second, 6) // that nobody answered is not remembered
	if _, err := a.Authenticate(t.Context(), "agent-on-a"); err == nil || errors.As(err, new(*DeniedError)) {
		t.Errorf("error %v: an API server that is down denies nobody", err)
	}
}

func TestCacheIsBounded(t *testing.T) {
	var c cache[int]
	for i := range 3 * rememberAtMost {
		c.put(sha256.Sum256(fmt.Append(nil, i)), i, start, true)
	}
	if len(c.entries) > rememberAtMost {
		t.Errorf("%d entries, want at most %d", len(c.entries), rememberAtMost)
	}
	last := 3*rememberAtMost - 1
	if v, ok := c.get(sha256.Sum256(fmt.Append(nil, last)), start); !ok || v != last {
		t.Errorf("the newest answer is %v, %v", v, ok)
	}
}

func TestTokenFileLetsItsTokensSpeakForAnyNode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	write := func(content string, at time.Time) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	write("# agents\n\n0123456789abcdef-one\n0123456789abcdef-two\n", start)
	f, err := NewTokenFile(path, quiet)
	if err != nil {
		t.Fatal(err)
	}
	expect := func(token string, known bool) {
		t.Helper()
		caller, err := f.Authenticate(t.Context(), token)
		if known && (err != nil || !caller.AnyNode || caller.Node != "") {
			t.Errorf("%s: %+v, %v; want any node", token, caller, err)
		}
		var denied *DeniedError
		if !known && (!errors.As(err, &denied) || denied.Status != 401) {
			t.Errorf("%s: %v; want 401", token, err)
		}
	}
	expect("0123456789abcdef-one", true)
	expect("0123456789abcdef-two", true)
	expect("0123456789abcdef-three", false)
	expect("# agents", false)
	expect("", false)
	write("0123456789abcdef-three\n", start.Add(time.Minute))
	expect("0123456789abcdef-three", true)
	expect("0123456789abcdef-one", false)
	write("short\n", start.Add(2*time.Minute))
	expect("0123456789abcdef-three", true) // the last good tokens
	for content, want := range map[string]string{"": "no token in it", "\nshort": "line 2 has a token of 5 bytes"} {
		write(content, start)
		if _, err := NewTokenFile(path, quiet); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("file %q: %v, want …%s…", content, err, want)
		}
	}
	if _, err := NewTokenFile(path+"x", quiet); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func TestReadersAreLetInByRBAC(t *testing.T) {
	r := newReviewer()
	now := start
	access := NewAccess(r, quiet, func() time.Time { return now })
	handler := access.RequireAccess(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("served")) }))
	get := func(method, path, authorization string) (int, string, http.Header) {
		request := httptest.NewRequest(method, path, nil)
		if authorization != "" {
			request.Header.Set("Authorization", authorization)
		}
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, request)
		return recorder.Code, recorder.Body.String(), recorder.Header()
	}
	for _, c := range []struct {
		name, method, path, authorization string
		status                            int
		want                              string
	}{
		{"allowed", "GET", "/metrics?x=1", "Bearer reader", 200, "served"},
		{"only the headers", "HEAD", "/metrics", "bearer reader", 200, ""},
		{"another path", "GET", "/api", "Bearer reader", 403, `reader may not get /api: a ClusterRole with nonResourceURLs ["/api"] and verbs ["get"]`},
		{"another verb", "POST", "/metrics", "Bearer reader", 403, "reader may not post /metrics"},
		{"another user", "GET", "/metrics", "Bearer someone-else", 403, "may not get /metrics"},
		{"no token", "GET", "/metrics", "", 401, "no token: send"},
		{"another scheme", "GET", "/metrics", "Basic cmVhZGVy", 401, "no token: send"},
		{"an unknown token", "GET", "/metrics", "Bearer unknown", 401, "token is not valid"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, body, header := get(c.method, c.path, c.authorization)
			if status != c.status || !strings.Contains(body, c.want) {
				t.Errorf("%d %q: want %d …%s…", status, body, c.status, c.want)
			}
			if challenge := header.Get("WWW-Authenticate"); (challenge == "Bearer") != (status == 401) {
				t.Errorf("WWW-Authenticate is %q with %d", challenge, status)
			}
		})
	}
	first := r.access[0]
	if first.User != "reader" || first.UID != "u" || len(first.Groups) != 1 || first.NonResourceAttributes.Path != "/metrics" {
		t.Errorf("asked for %+v", first)
	}
	tokens, accesses := r.tokens, r.accesses
	get("GET", "/metrics", "Bearer reader")
	if r.tokens != tokens || r.accesses != accesses {
		t.Error("a fresh answer was asked for again")
	}
	now = start.Add(time.Minute)
	r.down = true
	if status, body, _ := get("GET", "/metrics", "Bearer reader"); status != 503 || !strings.Contains(body, "cannot be checked now") {
		t.Errorf("with the API server down: %d %q, want 503", status, body)
	}
}
