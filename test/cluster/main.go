// Command cluster runs a real Kubernetes on this one machine: etcd, the control plane, containerd, a kubelet,
// kube-proxy, CoreDNS, and a device plugin and a DRA driver that offer the GPUs of a scenario file.
//
// Everything it keeps lies under one folder, every process runs detached in the background, and `down` leaves nothing.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/foretide/foretide/test/cluster/gpu"
)

const usage = `usage: cluster <command> [flags] [arguments]

  build                       build the Kubernetes binaries, once per version
  up [--gpus 8]               start the cluster, or check it and restart what died
  down [--keep-logs]          stop it and remove everything it made
  status                      one line per component
  start|stop <component>      start or stop one component
  load-image <archive>...     import docker or OCI archives
  node-path                   print the folder of the built binaries (kubectl is there)

Every command takes --dir, the state folder (default ` + defaultDir + `).

Without more, pods ask for nvidia.com/gpu and get whole GPUs of <dir>/gpu/scenario.ini. Lines of <dir>/gpu/offer.ini offer them
in other forms instead; scenario and offers may change at any time:

  nvidia.com/gpu=whole 0,1                          GPU-<uuid>
  nvidia.com/gpu.shared=whole 2 replicas=4          GPU-<uuid>::<n>
  nvidia.com/mig-1g.10gb=mig 3.0,3.1                MIG-<uuid>, the scenario's [mig 3.0] and [mig 3.1]
  nvidia.com/gpu=legacy-mig 4                       MIG-GPU-<uuid>/<gi>/<ci>, every MIG instance of GPU 4
  nvidia.com/gpu=gke 5                              nvidia<minor>; gke-mig: nvidia<minor>/gi<n>
  gpu.nvidia.com=dra 6,7                            devices gpu-<minor> for ResourceClaims; dra-mig and
                                                    dra-dynamic-mig: gpu-<minor>-mig-<profile>-<id>-<start>
`

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	err := dispatch(ctx, os.Args[1:])
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp), errors.Is(err, errUsage):
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	default:
		fmt.Fprintf(os.Stderr, "cluster: %v\n", err)
		os.Exit(1)
	}
}

// errUsage asks for the usage text.
var errUsage = errors.New("usage")

func dispatch(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.Usage = func() {}
	dir := flags.String("dir", defaultDir, "state folder")
	gpus := flags.Int("gpus", 8, "devices in the default scenario (up)")
	keepLogs := flags.Bool("keep-logs", false, "leave the logs folder (down)")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	l, err := newLayout(*dir)
	if err != nil {
		return err
	}
	switch args[0] {
	case "build":
		_, err := build(ctx, os.Stdout)
		return err
	case "up":
		if *gpus < 0 || *gpus > 64 {
			return fmt.Errorf("--gpus %d: want 0 to 64", *gpus)
		}
		return up(ctx, l, *gpus, os.Stdout)
	case "down":
		return down(l, *keepLogs, os.Stdout)
	case "status":
		return status(ctx, l, os.Stdout)
	case "start", "stop":
		if flags.NArg() != 1 {
			return fmt.Errorf("%s: want one component name", args[0])
		}
		if args[0] == "start" {
			return startOne(ctx, l, flags.Arg(0), os.Stdout)
		}
		return stopOne(l, flags.Arg(0), os.Stdout)
	case "load-image":
		if flags.NArg() == 0 {
			return errors.New("load-image: want at least one archive")
		}
		return loadImages(ctx, l, flags.Args(), os.Stdout)
	case "node-path":
		cache, err := cacheDir()
		if err == nil {
			fmt.Println(cache)
		}
		return err
	case "device-plugin":
		plugin := gpu.New(gpu.Options{
			ScenarioPath:   l.scenario(),
			OfferPath:      l.offers(),
			Folder:         devicePluginFolder,
			RegisteredFile: l.registered("gpu-plugin"),
			Logger:         slog.New(slog.NewTextHandler(os.Stderr, nil)),
		})
		return plugin.Run(ctx)
	default:
		return fmt.Errorf("unknown command %q: %w", filepath.Base(args[0]), errUsage)
	}
}
