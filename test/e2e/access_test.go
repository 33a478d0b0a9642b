//go:build e2e

package e2e

import (
	"net/http"
	"strings"
	"testing"
)

// TestReadPathsAskWhoReads reads the aggregator's metrics over TLS as nobody, as somebody without and with permission.
func TestReadPathsAskWhoReads(t *testing.T) {
	nobody := trusting(t)
	stranger, reader := as(t, "default", nobody), asReader(t, nobody)
	web := webOf(t, aggregatorPods(t)[0])
	if code, body := get(t, nobody, web+"/metrics"); code != http.StatusUnauthorized {
		t.Errorf("without a token: %d %s", code, body)
	}
	if code, body := get(t, stranger, web+"/metrics"); code != http.StatusForbidden {
		t.Errorf("without permission: %d %s", code, body)
	}
	code, body := get(t, reader, web+"/metrics")
	if code != http.StatusOK || !strings.Contains(body, `foretide_node_last_batch_timestamp_seconds{node="foretide-node"}`) {
		t.Errorf("with permission: %d %s", code, tail(body, 500))
	}
	if code, body := get(t, reader, web+"/"); code != http.StatusOK || !strings.Contains(body, "<h1>Foretide</h1>") {
		t.Errorf("the page: %d %s", code, tail(body, 500))
	}
	if holder := kubectl(t, "-n", "foretide-system", "get", "lease/foretide-aggregator", "-o", "jsonpath={.spec.holderIdentity}"); !strings.HasPrefix(holder, "foretide-aggregator-") {
		t.Errorf("the Lease is held by %q, want the aggregator's pod", holder)
	}
	if log := kubectl(t, "-n", "foretide-system", "logs", "deployment/foretide-aggregator"); strings.Contains(log, "forbidden") {
		t.Errorf("a permission is missing:\n%s", log)
	}
}
