// Command dradriver is a driver of Dynamic Resource Allocation under the name of NVIDIA's, gpu.nvidia.com: it publishes the
// devices that the offer file names for it as the node's ResourceSlices, and prepares the claims that hold them.
//
// It stands on the same library as NVIDIA's driver, so the kubelet talks to it as to that one. It is a program of its own
// because that library brings a whole Kubernetes client with it, which nothing else here needs.
package main

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	d := &driver{logger: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	flag.StringVar(&d.kubeconfig, "kubeconfig", "", "the node's kubeconfig")
	flag.StringVar(&d.node, "node", "", "the node's name, which also names the pool")
	flag.StringVar(&d.scenarioPath, "scenario", "", "the scenario file")
	flag.StringVar(&d.offerPath, "offers", "", "the offer file")
	flag.StringVar(&d.kubeletDir, "kubelet-dir", "/var/lib/kubelet", "the kubelet's root folder")
	flag.StringVar(&d.devicePluginFolder, "device-plugin-folder", "/var/lib/kubelet/device-plugins", "where the kubelet's device-plugin socket is")
	flag.StringVar(&d.registeredFile, "registered-file", "", "file that remembers the kubelet at which the driver is registered")
	flag.Parse()
	if err := d.run(ctx); err != nil {
		d.logger.Error("driver ends", "error", err)
		os.Exit(1)
	}
}
