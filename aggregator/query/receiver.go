package query

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	promremote "github.com/prometheus/prometheus/storage/remote"
)

// ownNames is how the names of the project's own series begin.
const ownNames = "foretide_"

// newReceiver takes remote writes of protocol 1.0 and 2.0. What lies more than ten minutes ahead of the clock is refused by
// Prometheus' handler.
func newReceiver(o Options, registry *prometheus.Registry) http.Handler {
	writer := o.Writer
	if !o.AcceptOwnNames {
		g := &guard{next: o.Writer, log: o.Logger, leftOut: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "foretide_aggregator_query_write_own_names_total",
			Help: "Samples of remote writers that were left out because only this aggregator's agents may write names that begin with foretide_.",
		})}
		registry.MustRegister(g.leftOut)
		writer = g
	}
	accepted := remote.MessageTypes{remote.WriteV1MessageType, remote.WriteV2MessageType}
	handler := promremote.NewWriteHandler(o.Logger, registry, writer, accepted, false, false)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		message, err := remote.ParseProtoMsg(r.Header.Get("Content-Type"))
		partly := err == nil && message == remote.WriteV2MessageType
		handler.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), partlyKey{}, partly)))
	})
}

// partlyKey is under which a request's context says whether it can be answered that a part was refused.
type partlyKey struct{}

// guard keeps remote writers from writing what would pass for telemetry of this aggregator's agents. Protocol 2.0 tells the
// sender which samples were refused and why. Protocol 1.0 knows only all or nothing, and nothing would lose the good ones: there
// the others are left out, counted and logged.
type guard struct {
	next    storage.AppendableV2
	log     *slog.Logger
	leftOut prometheus.Counter
}

// AppenderV2 implements storage.AppendableV2.
func (g *guard) AppenderV2(ctx context.Context) storage.AppenderV2 {
	partly, _ := ctx.Value(partlyKey{}).(bool)
	return &guardedAppender{AppenderV2: g.next.AppenderV2(ctx), guard: g, partly: partly}
}

type guardedAppender struct {
	storage.AppenderV2
	guard  *guard
	partly bool
}

// Append implements storage.AppenderV2.
func (a *guardedAppender) Append(ref storage.SeriesRef, series labels.Labels, start, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, opts storage.AOptions) (storage.SeriesRef, error) {
	name := series.Get(model.MetricNameLabel)
	if !strings.HasPrefix(name, ownNames) {
		return a.AppenderV2.Append(ref, series, start, t, v, h, fh, opts)
	}
	a.guard.leftOut.Inc()
	if a.partly {
		return 0, ownNameError(name)
	}
	a.guard.log.Warn("left out what a remote writer sent under a name of our own", "name", name)
	return 0, nil
}

// AppendExemplars implements storage.ExemplarAppenderV2, which Prometheus' receiver asks for.
func (a *guardedAppender) AppendExemplars(ref storage.SeriesRef, series labels.Labels, exemplars []exemplar.Exemplar) (storage.SeriesRef, error) {
	if strings.HasPrefix(series.Get(model.MetricNameLabel), ownNames) {
		return 0, nil
	}
	next, ok := a.AppenderV2.(storage.ExemplarAppenderV2)
	if !ok {
		return 0, errors.New("exemplars are not kept")
	}
	return next.AppendExemplars(ref, series, exemplars)
}

// ownNameError is the name that was refused.
type ownNameError string

// Error says what is allowed.
func (e ownNameError) Error() string {
	return fmt.Sprintf("name is %q: names that begin with %s are this aggregator's own, unless it is told to accept them from remote writers", string(e), ownNames)
}

// Is makes Prometheus' receiver answer 400, by which the sender knows that sending it again is of no use.
func (e ownNameError) Is(target error) bool { return target == storage.ErrOutOfBounds }
