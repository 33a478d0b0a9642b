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
	"path/filepath"
	"slices"
	"syscall"
	_ "time/tzdata" // policies name time zones, and an image may have none

	"github.com/foretide/foretide/aggregator/app"
)

// version is set by the linker.
var version = "dev"

const usage = `Usage: aggregator [command] [flags]

  serve     take telemetry, forecast, decide (the default)
  forecast  answer tasks with forecasts, both lines of JSON
  explain   say in plain words why a policy decides what it decides
  adopt     print a policy with the settings of a HorizontalPodAutoscaler
  report    write a policy's report: the week behind it, the day ahead, what it costs and carries
  backtest  say how accurate forecasts of a recorded series are, and draw them
  simulate  play a recorded load against a policy, and against others that are known
  tune      find the cheapest settings of a policy with which work waits no longer than you allow
  import    read a recorded demand, or what a Prometheus knows of it, into the history of workloads
  inspect   say what a history holds
  restore   copy a snapshot to where a history is to be
  version   print the version

aggregator <command> --help lists a command's flags. Under the name kubectl-foretide it is a plugin of kubectl:
kubectl foretide explain ahpa/<name>
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, arguments(os.Args), os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "aggregator:", err)
		os.Exit(1)
	}
}

// plugin is the name under which kubectl finds the binary: a link to it. `kubectl foretide explain ahpa/web` then is
// `aggregator explain ahpa/web`.
const plugin = "kubectl-foretide"

// arguments are those of the process. Without any the plugin says what it can do, and serves nothing.
func arguments(all []string) []string {
	if len(all) == 1 && filepath.Base(all[0]) == plugin {
		return []string{"help"}
	}
	return all[1:]
}

// run runs the command that the arguments begin with. Help goes to out and is no error.
func run(ctx context.Context, args []string, out, log io.Writer) error {
	if len(args) > 0 && slices.Contains([]string{"help", "--help", "-help", "-h"}, args[0]) {
		fmt.Fprint(out, usage)
		return nil
	}
	command := "serve"
	if len(args) > 0 && args[0] != "" && args[0][0] != '-' {
		command, args = args[0], args[1:]
	}
	var err error
	switch command {
	case "serve":
		err = serve(ctx, args, out, log)
	case "forecast":
		err = app.Forecast(ctx, args, os.Stdin, out, log)
	case "backtest":
		err = app.Backtest(ctx, args, out, log)
	case "explain":
		err = app.Explain(ctx, args, out)
	case "adopt":
		err = app.Adopt(ctx, args, out)
	case "report":
		err = app.Report(ctx, args, out)
	case "simulate":
		err = app.Simulate(ctx, args, out, log)
	case "tune":
		err = app.Tune(ctx, args, out, log)
	case "import":
		err = app.ImportHistory(ctx, args, out)
	case "inspect":
		err = app.Inspect(ctx, args, out)
	case "restore":
		err = app.Restore(ctx, args, out)
	case "version":
		fmt.Fprintln(out, version)
	default:
		err = fmt.Errorf("command is %q: it must be serve, forecast, explain, adopt, report, backtest, simulate, tune, import, inspect, restore or version (aggregator --help says what they do)", command)
	}
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	return err
}

func serve(ctx context.Context, args []string, out, log io.Writer) error {
	options := app.DefaultOptions()
	options.Version = version
	if namespace := os.Getenv("POD_NAMESPACE"); namespace != "" {
		options.Namespace = namespace
	}
	flags := flag.NewFlagSet("aggregator serve", flag.ContinueOnError)
	options.Register(flags)
	if err := app.Parse(flags, "Takes telemetry from the agents, forecasts each workload's demand, and decides every policy.", args, out); err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: options.LogLevel}))
	logger.Info("foretide aggregator", "version", version)
	return app.Run(ctx, options, logger)
}
