package identity

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// accessTimeout bounds the two questions to the API server.
const accessTimeout = 10 * time.Second

// Access lets those read whom Kubernetes RBAC lets: the bearer token says who (TokenReview), a rule on nonResourceURLs says
// whether (SubjectAccessReview). It needs the verb create on tokenreviews.authentication.k8s.io and
// subjectaccessreviews.authorization.k8s.io.
type Access struct {
	client  kubernetes.Interface
	logger  *slog.Logger
	now     func() time.Time
	users   cache[userAnswer]
	answers cache[*DeniedError] // nil means allowed
}

type userAnswer struct {
	user   authenticationv1.UserInfo
	denied *DeniedError
}

// NewAccess returns an Access that asks through the client.
func NewAccess(client kubernetes.Interface, logger *slog.Logger, now func() time.Time) *Access {
	return &Access{client: client, logger: logger, now: now}
}

// RequireAccess passes a request on when its bearer token's holder may "get" the request's path. Otherwise it answers 401, 403,
// or 503 when the API server cannot be asked, and says why. Answers are believed for up to a minute, refusals for ten seconds.
func (a *Access) RequireAccess(next http.Handler) http.Handler {
	return a.require(func(r *http.Request) string { return verbOf(r.Method) }, next)
}

// RequireGet is RequireAccess where every method asks and none changes anything, as of an API whose questions may be too long
// for a URL: who may "get" the path may post to it.
func (a *Access) RequireGet(next http.Handler) http.Handler {
	return a.require(func(*http.Request) string { return "get" }, next)
}

func (a *Access) require(verb func(*http.Request) string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := a.check(r, verb(r))
		if err == nil {
			next.ServeHTTP(w, r)
			return
		}
		status := http.StatusServiceUnavailable
		var denied *DeniedError
		if errors.As(err, &denied) {
			status = denied.Status
		} else {
			a.logger.Warn("access cannot be checked", "path", r.URL.Path, "err", err)
			err = errors.New("access cannot be checked now: the Kubernetes API server does not answer")
		}
		if status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
		http.Error(w, err.Error(), status)
	})
}

func (a *Access) check(r *http.Request, verb string) error {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return unauthenticated(`no token: send "Authorization: Bearer <token>", such as one from "kubectl create token <service account>"`)
	}
	ctx, cancel := context.WithTimeout(r.Context(), accessTimeout)
	defer cancel()
	who, err := a.who(ctx, token)
	if err != nil {
		return err
	}
	if who.denied != nil {
		return who.denied
	}
	return a.may(ctx, token, who.user, verb, r.URL.Path)
}

func (a *Access) who(ctx context.Context, token string) (userAnswer, error) {
	key := sha256.Sum256([]byte(token))
	if answer, ok := a.users.get(key, a.now()); ok {
		return answer, nil
	}
	user, err := review(ctx, a.client, token, nil)
	answer := userAnswer{user: user}
	if err != nil && !errors.As(err, &answer.denied) {
		return userAnswer{}, err
	}
	a.users.put(key, answer, a.now(), answer.denied == nil)
	return answer, nil
}

func (a *Access) may(ctx context.Context, token string, user authenticationv1.UserInfo, verb, path string) error {
	key := sha256.Sum256([]byte(verb + "\x00" + path + "\x00" + token))
	denied, ok := a.answers.get(key, a.now())
	if !ok {
		extra := make(map[string]authorizationv1.ExtraValue, len(user.Extra))
		for name, values := range user.Extra {
			extra[name] = authorizationv1.ExtraValue(values)
		}
		answer, err := a.client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
			Spec: authorizationv1.SubjectAccessReviewSpec{
				User: user.Username, Groups: user.Groups, UID: user.UID, Extra: extra,
				NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: path, Verb: verb},
			},
		}, metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("review access: %w", err)
		}
		if !answer.Status.Allowed {
			denied = forbidden("%s may not %s %s: a ClusterRole with nonResourceURLs %q and verbs [%q], bound to it, would allow it",
				user.Username, verb, path, []string{path}, verb)
		}
		a.answers.put(key, denied, a.now(), denied == nil)
	}
	if denied != nil {
		return denied
	}
	return nil
}

// verbOf is the RBAC verb of an HTTP method: one rule for get covers what only asks for the headers, too.
func verbOf(method string) string {
	if method == http.MethodHead {
		return "get"
	}
	return strings.ToLower(method)
}
