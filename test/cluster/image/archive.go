// Package image writes single-binary container images as docker archives, which containerd and buildah both load.
package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"time"
)

// Image is one image with one static binary in it.
type Image struct {
	// Tags are the references the image gets.
	Tags []string
	// Binary is the path of the static executable on this machine.
	Binary string
	// Entrypoint is where the binary lies in the image.
	Entrypoint string
	// User is the numeric user it runs as, such as "65535:65535".
	User string
}

type config struct {
	Architecture string        `json:"architecture"`
	OS           string        `json:"os"`
	Created      string        `json:"created"`
	Config       runtimeConfig `json:"config"`
	RootFS       rootFS        `json:"rootfs"`
}

type runtimeConfig struct {
	Entrypoint []string `json:"Entrypoint"`
	User       string   `json:"User,omitempty"`
}

type rootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

type manifest struct {
	Config   string   `json:"Config"`
	RepoTags []string `json:"RepoTags"`
	Layers   []string `json:"Layers"`
}

// Write writes the image to path. The same input gives the same bytes.
func Write(path string, img Image) error {
	binary, err := os.ReadFile(img.Binary)
	if err != nil {
		return err
	}
	var layer bytes.Buffer
	if err := writeTar(&layer, []file{{img.Entrypoint[1:], binary, 0o755}}); err != nil {
		return fmt.Errorf("pack layer: %w", err)
	}
	conf, err := json.Marshal(config{
		Architecture: runtime.GOARCH,
		OS:           "linux",
		Created:      epoch().Format(time.RFC3339),
		Config:       runtimeConfig{Entrypoint: []string{img.Entrypoint}, User: img.User},
		RootFS:       rootFS{Type: "layers", DiffIDs: []string{"sha256:" + digest(layer.Bytes())}},
	})
	if err != nil {
		return err
	}
	confName := digest(conf) + ".json"
	layerName := digest(layer.Bytes()) + ".tar"
	index, err := json.Marshal([]manifest{{Config: confName, RepoTags: img.Tags, Layers: []string{layerName}}})
	if err != nil {
		return err
	}
	var archive bytes.Buffer
	files := []file{{confName, conf, 0o644}, {layerName, layer.Bytes(), 0o644}, {"manifest.json", index, 0o644}}
	if err := writeTar(&archive, files); err != nil {
		return fmt.Errorf("pack archive: %w", err)
	}
	return os.WriteFile(path, archive.Bytes(), 0o644)
}

type file struct {
	name    string
	content []byte
	mode    int64
}

func writeTar(to *bytes.Buffer, files []file) error {
	w := tar.NewWriter(to)
	for _, f := range files {
		header := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.content)), ModTime: epoch(), Typeflag: tar.TypeReg}
		if err := w.WriteHeader(header); err != nil {
			return err
		}
		if _, err := w.Write(f.content); err != nil {
			return err
		}
	}
	return w.Close()
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func epoch() time.Time { return time.Unix(0, 0).UTC() }
