package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestArchiveHoldsWhatItsManifestNames(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "binary")
	if err := os.WriteFile(binary, []byte("content"), 0o755); err != nil {
		t.Fatal(err)
	}
	img := Image{Tags: []string{"a:1", "b:1"}, Binary: binary, Entrypoint: "/idle", User: "65535:65535"}
	first, second := filepath.Join(dir, "1.tar"), filepath.Join(dir, "2.tar")
	for _, path := range []string{first, second} {
		if err := Write(path, img); err != nil {
			t.Fatal(err)
		}
	}
	one, two := read(t, first), read(t, second)
	if !bytes.Equal(one, two) {
		t.Error("the same image gave two archives")
	}
	files := untar(t, one)
	var manifests []manifest
	if err := json.Unmarshal(files["manifest.json"], &manifests); err != nil || len(manifests) != 1 {
		t.Fatalf("manifest %s: %v", files["manifest.json"], err)
	}
	m := manifests[0]
	if !slices.Equal(m.RepoTags, img.Tags) {
		t.Errorf("tags %v, want %v", m.RepoTags, img.Tags)
	}
	var conf config
	if err := json.Unmarshal(files[m.Config], &conf); err != nil {
		t.Fatal(err)
	}
	if conf.Config.User != img.User || !slices.Equal(conf.Config.Entrypoint, []string{"/idle"}) {
		t.Errorf("config %+v", conf.Config)
	}
	layer := files[m.Layers[0]]
	if conf.RootFS.DiffIDs[0] != "sha256:"+digest(layer) {
		t.Errorf("diff id %s is not the layer's", conf.RootFS.DiffIDs[0])
	}
	if got := untar(t, layer)["idle"]; string(got) != "content" {
		t.Errorf("layer holds %q", got)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func untar(t *testing.T, archive []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[header.Name] = content
	}
}
