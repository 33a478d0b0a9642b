package metricsapi

import (
	"context"
	"fmt"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Access asks the API server whether a user may read a report. It needs create on subjectaccessreviews.authorization.k8s.io.
type Access struct{ client kubernetes.Interface }

// NewAccess returns an Access that asks through the client. Reports are asked for by people: no answer is remembered.
func NewAccess(client kubernetes.Interface) *Access { return &Access{client} }

// May returns "" when the user may, else why not, and what would allow it. An empty namespace or name is all of them.
func (a *Access) May(ctx context.Context, user User, verb, namespace, name string) (denied string, err error) {
	extra := make(map[string]authorizationv1.ExtraValue, len(user.Extra))
	for key, values := range user.Extra {
		extra[key] = values
	}
	answer, err := a.client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User: user.Name, UID: user.UID, Groups: user.Groups, Extra: extra,
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: namespace, Verb: verb, Group: Group, Version: Version, Resource: Resource, Name: name,
			},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("review access: %w", err)
	}
	if answer.Status.Allowed {
		return "", nil
	}
	where := "in namespace " + namespace
	if namespace == "" {
		where = "in all namespaces"
	}
	return fmt.Sprintf("%s may not %s %s.%s %s: the ClusterRole view, bound to them, would allow it", user.Name, verb, Resource, Group, where), nil
}
