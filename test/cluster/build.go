package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	modulePath = "github.com/foretide/foretide/test/cluster"
	// buildPrefix begins the name of the folder in the cache that an unfinished build writes to.
	buildPrefix = ".build-"
)

// versions are the releases that this module's go.mod pins.
type versions struct {
	kubernetes string // "v1.37.2"
	coredns    string // "v1.15.0"
}

// parseVersions takes the pinned releases from the text of go.mod.
func parseVersions(gomod string) (versions, error) {
	var v versions
	for _, line := range strings.Split(gomod, "\n") {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(fields) < 2 || !strings.HasPrefix(fields[1], "v") {
			continue
		}
		switch fields[0] {
		case "k8s.io/kubernetes":
			v.kubernetes = fields[1]
		case "github.com/coredns/coredns":
			v.coredns = fields[1]
		}
	}
	if v.kubernetes == "" || v.coredns == "" {
		return v, fmt.Errorf("go.mod pins k8s.io/kubernetes at %q and github.com/coredns/coredns at %q, want both", v.kubernetes, v.coredns)
	}
	return v, nil
}

// linkFlags tell the binaries their version; without them the cluster calls itself v0.0.0-master.
func (v versions) linkFlags() (string, error) {
	parts := strings.SplitN(strings.TrimPrefix(v.kubernetes, "v"), ".", 3)
	if len(parts) != 3 {
		return "", fmt.Errorf("kubernetes version %q: want vMAJOR.MINOR.PATCH", v.kubernetes)
	}
	const pkg = "k8s.io/component-base/version"
	return strings.Join([]string{"-s -w",
		"-X " + pkg + ".gitVersion=" + v.kubernetes,
		"-X " + pkg + ".gitMajor=" + parts[0],
		"-X " + pkg + ".gitMinor=" + parts[1],
		"-X " + pkg + ".gitCommit=unknown",
		"-X " + pkg + ".gitTreeState=clean",
		"-X " + pkg + ".buildDate=1970-01-01T00:00:00Z"}, " "), nil
}

// moduleDir finds this module's folder: the working folder, or test/cluster below it.
func moduleDir() (string, error) {
	wd, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for _, dir := range []string{wd, filepath.Join(wd, "test", "cluster")} {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(text), "module "+modulePath+"\n") {
			return dir, nil
		}
	}
	return "", fmt.Errorf("no go.mod of %s in %q or its test/cluster: run it as `go -C test/cluster run . <command>`", modulePath, wd)
}

func readVersions() (versions, error) {
	dir, err := moduleDir()
	if err != nil {
		return versions{}, err
	}
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return versions{}, err
	}
	return parseVersions(string(text))
}

// cacheDir is where the built binaries lie, one folder per Kubernetes release.
func cacheDir() (string, error) {
	v, err := readVersions()
	if err != nil {
		return "", err
	}
	base, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(base, "foretide", "cluster-"+v.kubernetes), nil
}

// build makes sure that every program named in go.mod's tool block is in the cache, and that the idle program and the DRA
// driver are up to date there. It returns the cache folder. A build goes to a folder beside and is renamed file by file.
func build(ctx context.Context, out io.Writer) (string, error) {
	began := time.Now()
	v, err := readVersions()
	if err != nil {
		return "", err
	}
	flags, err := v.linkFlags()
	if err != nil {
		return "", err
	}
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	unlock, err := waitLock(cache)
	if err != nil {
		return "", err
	}
	defer unlock()
	if err := removeAbandoned(cache); err != nil {
		return "", err
	}
	packages, err := missing(cache, v)
	if err != nil {
		return "", err
	}
	if len(packages) > 0 {
		fmt.Fprintf(out, "building %s: %s (about 10 minutes on two cores the first time)\n", v.kubernetes, strings.Join(names(packages), " "))
		if err := goBuild(ctx, out, cache, []string{"-v", "-ldflags", flags}, packages); err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(cache, "coredns.version"), []byte(v.coredns), 0o644); err != nil {
			return "", err
		}
	}
	if err := goBuild(ctx, out, cache, []string{"-ldflags", "-s -w"}, []string{"./idle", "./dradriver"}); err != nil {
		return "", err
	}
	fmt.Fprintf(out, "binaries: Kubernetes %s, CoreDNS %s in %s (%d built, %s)\n", v.kubernetes, v.coredns, cache, len(packages), since(began))
	return cache, nil
}

// removeAbandoned removes what a build that was killed left behind. The cache's lock must be held.
func removeAbandoned(cache string) error {
	folders, err := filepath.Glob(filepath.Join(cache, buildPrefix+"*"))
	if err != nil {
		return err
	}
	for _, folder := range folders {
		if err := os.RemoveAll(folder); err != nil {
			return err
		}
	}
	return nil
}

// missing lists the tool packages whose binary is not in the cache, or is there at another release.
func missing(cache string, v versions) ([]string, error) {
	dir, err := moduleDir()
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return nil, err
	}
	other := ""
	if version, err := os.ReadFile(filepath.Join(cache, "coredns.version")); err == nil && string(version) != v.coredns {
		other = "coredns"
	}
	var packages []string
	for _, pkg := range toolPackages(string(text)) {
		info, err := os.Stat(filepath.Join(cache, path.Base(pkg)))
		if err != nil || info.Mode()&0o111 == 0 || path.Base(pkg) == other {
			packages = append(packages, pkg)
		}
	}
	return packages, nil
}

// toolPackages takes the package paths from the tool block of go.mod's text.
func toolPackages(gomod string) []string {
	var packages []string
	inside := false
	for _, line := range strings.Split(gomod, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case line == "tool (":
			inside = true
		case line == ")":
			inside = false
		case inside && line != "":
			packages = append(packages, line)
		}
	}
	return packages
}

func names(packages []string) []string {
	var bases []string
	for _, pkg := range packages {
		bases = append(bases, path.Base(pkg))
	}
	return bases
}

// goBuild builds static binaries into a fresh folder inside cache, then renames each into place: a build cut short
// leaves nothing that looks finished, and a binary that runs right now is replaced, not written into. What was built before
// is copied there first, for the go command links nothing again that it finds up to date.
func goBuild(ctx context.Context, out io.Writer, cache string, flags, packages []string) error {
	dir, err := moduleDir()
	if err != nil {
		return err
	}
	temp, err := os.MkdirTemp(cache, buildPrefix)
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	for _, name := range names(packages) {
		if text, err := os.ReadFile(filepath.Join(cache, name)); err == nil {
			if err := os.WriteFile(filepath.Join(temp, name), text, 0o755); err != nil {
				return err
			}
		}
	}
	args := slices.Concat([]string{"build", "-trimpath", "-o", temp + "/"}, flags, packages)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build: %w", err)
	}
	entries, err := os.ReadDir(temp)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := os.Rename(filepath.Join(temp, entry.Name()), filepath.Join(cache, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

func since(t time.Time) time.Duration { return time.Since(t).Round(10 * time.Millisecond) }
