package main

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/foretide/foretide/test/cluster/image"
)

// ensureImages imports the pause image and the workload image; both are the idle program.
func ensureImages(ctx context.Context, l layout, bin string) error {
	archive := l.imageArchive("idle")
	err := image.Write(archive, image.Image{
		Tags:       []string{pauseImage, idleImage},
		Binary:     filepath.Join(bin, "idle"),
		Entrypoint: "/idle",
		User:       "65535:65535", // as Kubernetes' own pause image
	})
	if err != nil {
		return err
	}
	return importImage(ctx, l, archive)
}

func importImage(ctx context.Context, l layout, archive string) error {
	out, err := exec.CommandContext(ctx, "ctr", "--address", l.containerdSocket(), "--namespace", "k8s.io",
		"images", "import", "--snapshotter", "native", archive).CombinedOutput()
	if err != nil {
		return fmt.Errorf("import %q: %w: %s", archive, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// loadImages imports archives that pods then use without pulling.
func loadImages(ctx context.Context, l layout, archives []string, out io.Writer) error {
	for _, archive := range archives {
		start := time.Now()
		if err := importImage(ctx, l, archive); err != nil {
			return err
		}
		fmt.Fprintf(out, "loaded %s in %s\n", archive, since(start))
	}
	return nil
}
