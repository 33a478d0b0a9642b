package remotewrite

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

func write(t *testing.T, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "remote-write.yml")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func gather(t *testing.T, r *prometheus.Registry) []*dto.MetricFamily {
	t.Helper()
	all, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestALoginIsReadAsPrometheusReadsIt(t *testing.T) {
	t.Setenv("REPLICA", "two")
	file := write(t, `
global:
  external_labels: {cluster: a, __replica__: "$REPLICA"}
remote_write:
- url: https://mimir/api/v1/push
  headers: {X-Scope-OrgID: gpu}
  authorization: {credentials_file: token}
  tls_config: {ca_file: ca.crt}
`)
	c, err := Load(file, "one")
	if err != nil {
		t.Fatal(err)
	}
	if got := c.externalLabels.String(); got != `{__replica__="two", cluster="a"}` {
		t.Errorf("external labels are %s: the user's own are to stand alone", got)
	}
	w := c.writes[0]
	if got, want := w.HTTPClientConfig.Authorization.CredentialsFile, filepath.Join(filepath.Dir(file), "token"); got != want {
		t.Errorf("token file is %q, want %q", got, want)
	}
	if w.Headers["X-Scope-OrgID"] != "gpu" {
		t.Errorf("headers are %v", w.Headers)
	}
}

func TestAConfigurationThatCannotBeFollowedIsRefused(t *testing.T) {
	const ok = "remote_write: [{url: 'http://a/write'}]\n"
	for want, content := range map[string]string{
		"remote_write is empty":                             "global: {external_labels: {a: b}}\n",
		"scrape_configs has no meaning here":                ok + "scrape_configs: [{job_name: a}]\n",
		"remote_read has no meaning here":                   ok + "remote_read: [{url: 'http://a/read'}]\n",
		"field remote_writes not found":                     "remote_writes: []\n",
		"url for remote_write is empty":                     "remote_write: [{name: a}]\n",
		"unknown type for remote write protobuf message v3": "remote_write: [{url: 'http://a', protobuf_message: v3}]\n",
	} {
		file := write(t, content)
		_, err := Load(file, "one")
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: error is %v, want %q and the file's name", content, err, want)
		}
	}
	for _, address := range []string{"", "engine:9090", "ftp://engine/x", "http://"} {
		if _, err := ForURL(address, "one"); err == nil || !strings.Contains(err.Error(), "it must be like http://") {
			t.Errorf("%q: error is %v", address, err)
		}
	}
}

func TestTheSameEngineTwiceIsRefusedAndLeavesNothingRunning(t *testing.T) {
	c, err := Load(write(t, "remote_write: [{url: 'http://a'}, {url: 'http://a'}]\n"), "one")
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	_, err = New(Options{Config: c, Registerer: registry}).Follow("raw", t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "remote write of tier raw: duplicate remote write configs") {
		t.Errorf("error is %v", err)
	}
	if left := gather(t, registry); len(left) != 0 {
		t.Errorf("%d metrics are left", len(left))
	}
}
