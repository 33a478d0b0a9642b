// Command aggregator keeps the history of every pod's GPU load, forecasts each workload's demand, and scales ahead of it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/foretide/foretide/aggregator/app"
)

// version is set by the linker.
var version = "dev"

const usage = `usage: aggregator [command] [flags]

  serve     take telemetry, forecast, decide (the default)
  import    read a recorded demand into the history of a workload
  inspect   say what a history holds
  version   print the version

aggregator <command> --help lists a command's flags.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "aggregator:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	command := "serve"
	if len(args) > 0 && args[0] != "" && args[0][0] != '-' {
		command, args = args[0], args[1:]
	}
	switch command {
	case "serve":
		return serve(ctx, args, stderr)
	case "import":
		return app.Import(ctx, args, stdout)
	case "inspect":
		return app.Inspect(ctx, args, stdout)
	case "version":
		fmt.Fprintln(stdout, version)
		return nil
	}
	fmt.Fprint(stderr, usage)
	return fmt.Errorf("command is %q: it must be serve, import, inspect or version", command)
}

func serve(ctx context.Context, args []string, stderr io.Writer) error {
	options := app.DefaultOptions()
	options.Version = version
	if namespace := os.Getenv("POD_NAMESPACE"); namespace != "" {
		options.Namespace = namespace
	}
	flags := flag.NewFlagSet("aggregator serve", flag.ContinueOnError)
	flags.SetOutput(stderr)
	options.Register(flags)
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q is not a flag: every setting is a --flag=value", flags.Arg(0))
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: options.LogLevel}))
	log.Info("foretide aggregator", "version", version)
	return app.Run(ctx, options, log)
}
