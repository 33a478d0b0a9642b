package app

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"
)

func TestAWatchThatIsNotAllowedSaysWhatToApply(t *testing.T) {
	var log bytes.Buffer
	handle := watchFailed(slog.New(slog.NewTextHandler(&log, nil)))
	handle(t.Context(), &cache.Reflector{}, errors.New("connection refused"))
	if log.Len() > 0 {
		t.Errorf("an API server that is away is said to be a matter of rights: %s", log.String())
	}
	handle(t.Context(), &cache.Reflector{}, apierrors.NewForbidden(schema.GroupResource{Resource: "horizontalpodautoscalers"}, "", errors.New("no")))
	for _, want := range []string{"level=ERROR", "deploy/base/aggregator/rbac.yaml", "horizontalpodautoscalers"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%q is not in: %s", want, log.String())
		}
	}
}
