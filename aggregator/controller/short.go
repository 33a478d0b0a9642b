package controller

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
)

// The API server takes no longer sentences, in bytes: it refuses an event (kubernetes pkg/apis/core/validation/events.go) or a whole status
// (metav1.Condition) for one. Ten metrics, each a query of a page, make longer ones.
const (
	longestNote    = 1024
	longestMessage = 32768
)

// shortEvents cuts the notes of events.
type shortEvents struct{ events.EventRecorder }

func (s shortEvents) Eventf(regarding, related runtime.Object, kind, reason, action, note string, args ...any) {
	s.EventRecorder.Eventf(regarding, related, kind, reason, action, "%s", short(fmt.Sprintf(note, args...), longestNote))
}

// short is a text cut to so many bytes.
func short(text string, most int) string {
	const more = "…"
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most-len(more)], "") + more
}
