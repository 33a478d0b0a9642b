package app

import (
	"bytes"
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

func TestASnapshotIsRestoredWithWhatWasAcknowledged(t *testing.T) {
	w := newWorld(t)
	stop := w.start()
	w.report("first", 3, 0.5)
	const query = "/api/v1/query?query=count_over_time(foretide_pod_utilization_ratio[5m])"
	w.eventually("the readings can be asked for", func() bool {
		_, answer := w.get("web", query)
		return strings.Contains(answer, `"3"]`)
	})
	response, err := http.Post("http://"+w.address("web")+"/-/snapshot", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var made struct{ Folder string }
	if err := json.NewDecoder(response.Body).Decode(&made); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v", response.Status, err)
	}
	w.report("second", 2, 0.5) // after the snapshot
	if err := stop(); err != nil {
		t.Fatal(err)
	}

	restored := newWorld(t)
	restored.options.StoragePath = filepath.Join(t.TempDir(), "restored")
	var out bytes.Buffer
	args := []string{"--snapshot=" + made.Folder, "--storage.path=" + restored.options.StoragePath}
	if err := Restore(t.Context(), args, &out); err != nil {
		t.Fatal(err)
	}
	if err := Restore(t.Context(), args, &out); err == nil {
		t.Error("a history that is there was written over")
	}
	restored.start()
	restored.eventually("the readings of the snapshot are there, and no more", func() bool {
		_, answer := restored.get("web", query)
		return strings.Contains(answer, `"3"]`)
	})
}
