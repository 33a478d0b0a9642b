package app

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/foretide/foretide/aggregator/engine"
	"github.com/foretide/foretide/aggregator/storage"
)

// dcgmQuery is the demand of every workload from what dcgm-exporter and kube-state-metrics tell a Prometheus. A pod is found
// under exported_namespace and exported_pod where Prometheus was told not to honour the exporter's own labels. Pods of a
// DaemonSet are left out, and with them the exporter, to which Prometheus gives the GPUs that nobody holds.
const dcgmQuery = `sum by (namespace, kind, name) (label_replace(label_replace(
    ` + dcgmBusy + `
      * on (namespace, pod) group_left (replicaset) label_replace(
        max by (namespace, pod, owner_name) (kube_pod_owner{owner_kind="ReplicaSet"}), "replicaset", "$1", "owner_name", "(.+)")
      * on (namespace, replicaset) group_left (owner_kind, owner_name)
        max by (namespace, replicaset, owner_kind, owner_name) (kube_replicaset_owner{owner_kind!="<none>"})
  or
    ` + dcgmBusy + `
      * on (namespace, pod) group_left (owner_kind, owner_name)
        max by (namespace, pod, owner_kind, owner_name) (kube_pod_owner{owner_kind!~"ReplicaSet|DaemonSet|Node|Job|<none>"})
  , "kind", "$1", "owner_kind", "(.+)"), "name", "$1", "owner_name", "(.+)"))`

const dcgmBusy = `sum by (namespace, pod) (label_replace(label_replace(avg_over_time(DCGM_FI_DEV_GPU_UTIL[$step]),
      "namespace", "$1", "exported_namespace", "(.+)"), "pod", "$1", "exported_pod", "(.+)")) / 100`

const (
	// longestImport is what one request asks for; where that is too much for Prometheus, half of it, down to the shortest.
	longestImport  = 24 * time.Hour
	shortestImport = time.Hour
	maxImportStep  = time.Hour
)

// importer reads the demand of workloads out of a Prometheus.
type importer struct {
	client *engine.Client
	store  *storage.Store
	query  string
	step   time.Duration
	// workload is whose history the query's one series becomes; empty where labels tell.
	workload               storage.Workload
	namespace, kind, named string // labels that name the workload
	covered                *covered
	progress               *progress

	workloads         map[storage.Workload]bool
	written, repeated int
}

// ImportPrometheus is `aggregator import --prometheus.url=…`: it reads the history of workloads out of a Prometheus, or whatever
// answers as one.
func ImportPrometheus(ctx context.Context, args []string, out io.Writer) (err error) {
	f := flag.NewFlagSet("aggregator import", flag.ContinueOnError)
	path, raw, long := historyFlags(f)
	address := f.String("prometheus.url", "", "`URL` of the Prometheus, without /api/v1")
	token := f.String("prometheus.token-file", "", "`file` with a bearer token for it")
	ca := f.String("prometheus.ca-file", "", "`file` with the certificate authority to trust (PEM)")
	headers := header{}
	f.Var(headers, "prometheus.header", "`name:value` to send, such as X-Scope-OrgID:team; may be given more than once")
	timeout := f.Duration("prometheus.timeout", 2*time.Minute, "how long one request may take")
	query := f.String("query", "", "PromQL `expression` of the demand in busy GPUs; $step in it is the step; empty: what dcgm-exporter and kube-state-metrics tell of every workload")
	namespace := f.String("label.namespace", "namespace", "`label` of the query's series that is the workload's namespace")
	kind := f.String("label.kind", "kind", "`label` that is its kind, such as Deployment")
	named := f.String("label.name", "name", "`label` that is its name")
	workload := f.String("workload", "", "whose history the query's one series becomes: `namespace/Kind/name`; empty: its labels tell")
	since := f.Duration("since", 28*24*time.Hour, "how far back to begin")
	step := f.Duration("step", historyStep, "resolution, 1m to 1h in whole minutes; at least the scrape interval")
	again := f.Bool("again", false, "ask also for what was imported before")
	if err := Parse(f, "Reads the demand of workloads out of a Prometheus into their history. Stopped, it goes on where it was when called again.", args, out); err != nil {
		return err
	}
	if *step < historyStep || *step > maxImportStep || *step%historyStep != 0 {
		return fmt.Errorf("--step is %v: it must be 1m to 1h in whole minutes", *step)
	}
	if *since < *step || *since > *long {
		return fmt.Errorf("--since is %v: it must be at least --step and at most --storage.workload-retention=%v", *since, *long)
	}
	i := &importer{query: *query, step: *step, namespace: *namespace, kind: *kind, named: *named, workloads: map[storage.Workload]bool{}}
	if *workload != "" {
		if i.workload, err = parseWorkload(*workload); err != nil {
			return err
		}
		if *query == "" {
			return errors.New(`--query is "": with --workload it must be the expression of that workload's demand`)
		}
	}
	if i.query == "" {
		i.query = dcgmQuery
	}
	access, err := engine.NewAccess(*token, *ca, headers)
	if err != nil {
		return fmt.Errorf("--prometheus: %w", err)
	}
	if i.client, err = engine.New(engine.Options{URL: *address, Access: access, Timeout: *timeout}); err != nil {
		return fmt.Errorf("--prometheus.url: %w", err)
	}
	if i.store, err = storage.Open(storage.Options{Dir: *path, Logger: slog.New(slog.DiscardHandler), RawRetention: *raw, WorkloadRetention: *long}); err != nil {
		return fmt.Errorf("--storage.path: %w", err)
	}
	defer func() { err = errors.Join(err, i.store.Close()) }()
	if i.covered, err = openCovered(*path, *again, *address, i.query, *workload, i.namespace, i.kind, i.named, step.String()); err != nil {
		return err
	}
	// The minute that has just begun is not whole yet.
	to := time.Now().Add(-historyStep).Truncate(i.step)
	return i.run(ctx, to.Add(-*since).Truncate(i.step), to, out)
}

// run imports what is not covered of (from, to] and says at the end what that was.
func (i *importer) run(ctx context.Context, from, to time.Time, out io.Writer) error {
	gaps := i.covered.missing(from, to)
	if len(gaps) == 0 {
		fmt.Fprintf(out, "nothing is left to import: %s to %s was before (--again asks anew)\n", stamp(from), stamp(to))
		return nil
	}
	total := time.Duration(0)
	for _, gap := range gaps {
		total += gap.To.Sub(gap.From)
	}
	i.progress = newProgress(out, total)
	for _, gap := range gaps {
		for begin := gap.From; begin.Before(gap.To); {
			end := earliest(begin.Truncate(longestImport).Add(longestImport).Truncate(i.step), gap.To)
			if err := i.take(ctx, begin, end); err != nil {
				i.progress.end()
				if ctx.Err() != nil {
					return fmt.Errorf("stopped at %s after %d minutes of %d workloads: the same command goes on from there", stamp(begin), i.written, len(i.workloads))
				}
				return fmt.Errorf("import of %s to %s: %w; what came before is kept, and the same command goes on from there", stamp(begin), stamp(end), err)
			}
			begin = end
		}
	}
	i.progress.end()
	if len(i.covered.Done) == 0 {
		return fmt.Errorf("--query gave no value from %s to %s: try it in Prometheus first\n%s", stamp(from), stamp(to), i.expression())
	}
	fmt.Fprintf(out, "imported %d minutes of demand of %d workloads\n", i.written, len(i.workloads))
	if i.repeated > 0 {
		fmt.Fprintf(out, "left out %d minutes that are in the history already\n", i.repeated)
	}
	return nil
}

// expression is the query as Prometheus gets it.
func (i *importer) expression() string {
	return strings.ReplaceAll(i.query, "$step", fmt.Sprintf("%ds", int(i.step.Seconds())))
}

// take imports (from, to], in halves where that is too much at once. What gave values is not asked for again.
func (i *importer) take(ctx context.Context, from, to time.Time) error {
	series, err := i.client.Range(ctx, i.expression(), from.Add(i.step), to, i.step)
	if err != nil {
		half := from.Add(to.Sub(from) / 2).Truncate(i.step)
		if ctx.Err() == nil && engine.TooMuch(err) && to.Sub(from) > shortestImport && half.After(from) {
			if err := i.take(ctx, from, half); err != nil {
				return err
			}
			return i.take(ctx, half, to)
		}
		return err
	}
	seen := map[storage.Workload]bool{}
	for _, s := range series {
		w, err := i.whose(s, len(series))
		if err != nil {
			return err
		}
		if seen[w] {
			return fmt.Errorf("--query gives several series for %s/%s/%s: it must give one; put sum by (%s, %s, %s) around it",
				w.Namespace, w.Kind, w.Name, i.namespace, i.kind, i.named)
		}
		seen[w], i.workloads[w] = true, true
		minutes := everyMinute(s.Points, i.step)
		written, err := i.store.AppendDemandHistory(ctx, w, minutes)
		if err != nil {
			return fmt.Errorf("history of %s/%s/%s: %w", w.Namespace, w.Kind, w.Name, err)
		}
		i.written, i.repeated = i.written+written, i.repeated+len(minutes)-written
	}
	i.progress.add(to.Sub(from), fmt.Sprintf("%d workloads, %d minutes", len(i.workloads), i.written))
	if len(series) == 0 {
		return nil
	}
	return i.covered.add(from, to)
}

// whose is the workload that a series is of.
func (i *importer) whose(s engine.Series, of int) (storage.Workload, error) {
	if i.workload != (storage.Workload{}) {
		if of > 1 {
			return storage.Workload{}, fmt.Errorf("--query gives %d series: with --workload it must give one; put sum() around it", of)
		}
		return i.workload, nil
	}
	w := storage.Workload{Namespace: s.Labels[i.namespace], Kind: s.Labels[i.kind], Name: s.Labels[i.named]}
	if w.Namespace == "" || w.Kind == "" || w.Name == "" {
		return w, fmt.Errorf("--query gives a series with the labels %v: %q, %q and %q must name the workload (--label.…), or --workload must",
			s.Labels, i.namespace, i.kind, i.named)
	}
	return w, nil
}

// everyMinute lets each value stand for every minute of its step.
func everyMinute(points []engine.Point, step time.Duration) []storage.Point {
	out := make([]storage.Point, 0, len(points)*int(step/historyStep))
	for _, p := range points {
		for t := p.Time.Add(historyStep - step); !t.After(p.Time); t = t.Add(historyStep) {
			out = append(out, storage.Point{Time: t, Value: p.Value})
		}
	}
	return out
}

// header is a flag that may be given more than once.
type header map[string]string

// String implements flag.Value.
func (h header) String() string { return "" }

// Set implements flag.Value.
func (h header) Set(text string) error {
	name, value, ok := strings.Cut(text, ":")
	if !ok || strings.TrimSpace(name) == "" {
		return errors.New("it must be name:value")
	}
	h[strings.TrimSpace(name)] = strings.TrimSpace(value)
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
