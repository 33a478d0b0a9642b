package identity

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"golang.org/x/time/rate"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const (
	// Audience is what an agent's projected token must be made for.
	Audience = "foretide-aggregator"
	// AgentServiceAccount is the ServiceAccount that agents run under.
	AgentServiceAccount = "foretide-agent"
	// nodeNameExtra is where the API server says which node a pod-bound token is bound to
	// (kubernetes staging/src/k8s.io/apiserver/pkg/authentication/serviceaccount/util.go).
	nodeNameExtra = "authentication.kubernetes.io/node-name"
)

// How long answers of the API server are believed.
const (
	believeYes = time.Minute
	believeNo  = 10 * time.Second
	// rememberAtMost bounds each cache: 10,000 agents and their successors fit.
	rememberAtMost = 32768
	// reviewsPerSecond and reviewsAtOnce keep somebody who invents tokens from making the API server review them all. The
	// agents of a large cluster may all come back at once.
	reviewsPerSecond = 100
	reviewsAtOnce    = 2000
)

// Caller is who holds a token.
type Caller struct {
	// Name is the user name, such as system:serviceaccount:foretide-system:foretide-agent.
	Name string
	// Node is the only node the caller may speak for.
	Node string
	// AnyNode lets it speak for every node; Node is empty then.
	AnyNode bool
}

// DeniedError says that a caller is not who it must be (401) or may not do what it asks for (403). Any other error means that
// it could not be found out.
type DeniedError struct {
	Status int
	Reason string
}

// Error returns the reason.
func (e *DeniedError) Error() string { return e.Reason }

// HTTPStatus returns 401 or 403. A caller that does not know this package can ask for this method with errors.As.
func (e *DeniedError) HTTPStatus() int { return e.Status }

func unauthenticated(format string, args ...any) *DeniedError {
	return &DeniedError{http.StatusUnauthorized, fmt.Sprintf(format, args...)}
}

func forbidden(format string, args ...any) *DeniedError {
	return &DeniedError{http.StatusForbidden, fmt.Sprintf(format, args...)}
}

// AgentReview authenticates agents by TokenReview. It needs the verb create on tokenreviews.authentication.k8s.io.
type AgentReview struct {
	client  kubernetes.Interface
	account string
	now     func() time.Time
	answers cache[agentAnswer]
	asking  *rate.Limiter
}

type agentAnswer struct {
	caller Caller
	denied *DeniedError
}

// NewAgentReview accepts tokens of the ServiceAccount foretide-agent in the namespace. The client should have no rate limit of
// its own (rest.Config.QPS = -1): all agents may come back at once.
func NewAgentReview(client kubernetes.Interface, namespace string, now func() time.Time) *AgentReview {
	return &AgentReview{
		client: client, account: "system:serviceaccount:" + namespace + ":" + AgentServiceAccount, now: now,
		asking: rate.NewLimiter(reviewsPerSecond, reviewsAtOnce),
	}
}

// Authenticate tells which node the token's holder may speak for. The answer is believed for up to a minute, a refusal for ten
// seconds. Errors: *DeniedError, or that the API server could not be asked.
func (a *AgentReview) Authenticate(ctx context.Context, token string) (Caller, error) {
	key := sha256.Sum256([]byte(token))
	answer, ok := a.answers.get(key, a.now())
	if !ok {
		var err error
		if answer, err = a.ask(ctx, token); err != nil {
			return Caller{}, err
		}
		a.answers.put(key, answer, a.now(), answer.denied == nil)
	}
	if answer.denied != nil {
		return Caller{}, answer.denied
	}
	return answer.caller, nil
}

func (a *AgentReview) ask(ctx context.Context, token string) (agentAnswer, error) {
	if !a.asking.AllowN(a.now(), 1) {
		return agentAnswer{}, errors.New("too many unknown tokens at once, try again")
	}
	user, err := review(ctx, a.client, token, []string{Audience})
	var denied *DeniedError
	if errors.As(err, &denied) {
		return agentAnswer{denied: denied}, nil
	}
	if err != nil {
		return agentAnswer{}, err
	}
	if user.Username != a.account {
		return agentAnswer{denied: forbidden("token is of %q: agents must be %q", user.Username, a.account)}, nil
	}
	nodes := user.Extra[nodeNameExtra]
	if len(nodes) != 1 || nodes[0] == "" {
		return agentAnswer{denied: forbidden("token of %q is not bound to a node: it must be a token projected into the agent's pod "+
			"by Kubernetes 1.30 or newer", user.Username)}, nil
	}
	return agentAnswer{caller: Caller{Name: user.Username, Node: nodes[0]}}, nil
}

// review asks the API server whose token it is, made for one of the audiences; none means the API server's own.
func review(ctx context.Context, client kubernetes.Interface, token string, audiences []string) (authenticationv1.UserInfo, error) {
	answer, err := client.AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: audiences},
	}, metav1.CreateOptions{})
	if err != nil {
		return authenticationv1.UserInfo{}, fmt.Errorf("review token: %w", err)
	}
	switch status := answer.Status; {
	case !status.Authenticated && status.Error != "":
		return status.User, unauthenticated("token is not valid: %s", status.Error)
	case !status.Authenticated:
		return status.User, unauthenticated("token is not valid, or not made for the audience %q", audiences)
	case len(audiences) > 0 && !slices.ContainsFunc(status.Audiences, func(a string) bool { return slices.Contains(audiences, a) }):
		// An API server that knows no audiences answers without any and has not checked them.
		return status.User, unauthenticated("token is made for the audience %q, it must be %q", status.Audiences, audiences)
	default:
		return status.User, nil
	}
}
