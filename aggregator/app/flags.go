package app

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// Parse reads the flags of a command. Asked for --help it prints to out what the command does and every flag with its default,
// and returns flag.ErrHelp. An argument that is no flag is an error.
func Parse(f *flag.FlagSet, does string, args []string, out io.Writer) error {
	f.SetOutput(io.Discard) // the caller says what is wrong
	err := f.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		help(f, does, out)
		return err
	case err == nil && f.NArg() > 0:
		err = fmt.Errorf("argument %q: there are only flags", f.Arg(0))
	}
	if err != nil {
		return fmt.Errorf("%w (%s --help lists the flags)", err, f.Name())
	}
	return nil
}

func help(f *flag.FlagSet, does string, out io.Writer) {
	fmt.Fprintf(out, "Usage: %s [flags]\n\n%s\n", f.Name(), does)
	f.VisitAll(func(f *flag.Flag) {
		value, usage := flag.UnquoteUsage(f)
		fmt.Fprintf(out, "\n  --%s", f.Name)
		if value != "" {
			fmt.Fprintf(out, " %s", value)
		}
		if f.DefValue != "" {
			fmt.Fprintf(out, " (default %s)", f.DefValue)
		}
		fmt.Fprintf(out, "\n        %s\n", usage)
	})
}

// level is slog's level as a flag.
type level slog.Level

// String implements flag.Value.
func (l *level) String() string { return strings.ToLower(slog.Level(*l).String()) }

// Set implements flag.Value.
func (l *level) Set(text string) error {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	set, ok := levels[strings.ToLower(text)]
	if !ok {
		return errors.New("it must be debug, info, warn or error")
	}
	*l = level(set)
	return nil
}
