package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
	"github.com/prometheus/prometheus/util/stats"
	v1 "github.com/prometheus/prometheus/web/api/v1"
)

// remoteEngine asks a server of this room what it is asked.
type remoteEngine struct {
	url    string
	client *http.Client
	// history is what the server has now.
	history *swapped
	// direct is an engine like the server's, experimental one that can do everything.
	direct, experimental promql.QueryEngine
	parser, anyParser    parser.Parser

	asked, histograms, leftOut int
}

func newRemoteEngine(t *testing.T, o Options) *remoteEngine {
	e := &remoteEngine{history: &swapped{}}
	o.Queryable = e.history
	api, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	o, err = o.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	all := o
	all.Experimental = true
	e.direct, e.experimental = newEngine(o, prometheus.NewRegistry(), nil), newEngine(all, prometheus.NewRegistry(), nil)
	e.parser, e.anyParser = newParser(o), newParser(all)
	// Packing and unpacking the answers would be half of the work; other tests have them packed.
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	e.url, e.client = serve(t, api), &http.Client{Transport: transport}
	return e
}

func (e *remoteEngine) NewInstantQuery(_ context.Context, q storage.Queryable, _ promql.QueryOpts, expr string, at time.Time) (promql.Query, error) {
	return &remoteQuery{engine: e, history: q, expr: expr, path: "/api/v1/query", values: url.Values{"query": {expr}, "time": {seconds(at)}},
		again: func(ctx context.Context, direct promql.QueryEngine) (promql.Query, error) {
			return direct.NewInstantQuery(ctx, q, nil, expr, at)
		}}, nil
}

func (e *remoteEngine) NewRangeQuery(_ context.Context, q storage.Queryable, _ promql.QueryOpts, expr string, from, to time.Time, step time.Duration) (promql.Query, error) {
	return &remoteQuery{engine: e, history: q, expr: expr, path: "/api/v1/query_range",
		values: url.Values{"query": {expr}, "start": {seconds(from)}, "end": {seconds(to)}, "step": {strconv.FormatFloat(step.Seconds(), 'f', -1, 64)}},
		again: func(ctx context.Context, direct promql.QueryEngine) (promql.Query, error) {
			return direct.NewRangeQuery(ctx, q, nil, expr, from, to, step)
		}}, nil
}

// isOff reports whether only the experimental parser can read the query.
func (e *remoteEngine) isOff(expr string) bool {
	_, err := e.parser.ParseExpr(expr)
	_, never := e.anyParser.ParseExpr(expr)
	return err != nil && never == nil
}

func seconds(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }

type remoteQuery struct {
	engine     *remoteEngine
	history    storage.Queryable
	expr, path string
	values     url.Values
	again      func(context.Context, promql.QueryEngine) (promql.Query, error)
}

func (q *remoteQuery) Close()                      {}
func (q *remoteQuery) Cancel()                     {}
func (q *remoteQuery) Statement() parser.Statement { return nil }
func (q *remoteQuery) Stats() *stats.Statistics    { return nil }
func (q *remoteQuery) String() string              { return q.expr }

func (q *remoteQuery) Exec(ctx context.Context) *promql.Result {
	if q.engine.isOff(q.expr) {
		q.engine.leftOut++
		return q.run(ctx, q.engine.experimental)
	}
	q.engine.asked++
	q.engine.history.now = q.history.(storage.SampleAndChunkQueryable)
	data, notes, err := q.ask(ctx)
	if err != nil {
		return &promql.Result{Err: err, Warnings: notes}
	}
	value, err := decode(data)
	if errors.Is(err, errHistogram) {
		q.engine.histograms++
		value, err = q.sameAsDirect(ctx, data)
	}
	return &promql.Result{Err: err, Value: value, Warnings: notes}
}

// ask returns the data of the answer.
func (q *remoteQuery) ask(ctx context.Context) (json.RawMessage, annotations.Annotations, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, q.engine.url+q.path+"?"+q.values.Encode(), nil)
	if q.engine.asked%2 == 0 {
		request, err = http.NewRequestWithContext(ctx, http.MethodPost, q.engine.url+q.path, strings.NewReader(q.values.Encode()))
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if err != nil {
		return nil, nil, err
	}
	response, err := q.engine.client.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	var answer struct {
		Status, Error   string
		Data            json.RawMessage
		Warnings, Infos []string
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", response.Status, err)
	}
	var notes annotations.Annotations
	for _, w := range answer.Warnings {
		notes.Add(fmt.Errorf("%w%s", annotations.PromQLWarning, strings.TrimPrefix(w, annotations.PromQLWarning.Error())))
	}
	for _, i := range answer.Infos {
		notes.Add(fmt.Errorf("%w%s", annotations.PromQLInfo, strings.TrimPrefix(i, annotations.PromQLInfo.Error())))
	}
	if answer.Status != "success" {
		return nil, notes, errors.New(strings.TrimPrefix(answer.Error, `invalid parameter "query": `))
	}
	return answer.Data, notes, nil
}

// run asks an engine without the API.
func (q *remoteQuery) run(ctx context.Context, engine promql.QueryEngine) *promql.Result {
	query, err := q.again(ctx, engine)
	if err != nil {
		return &promql.Result{Err: err}
	}
	return query.Exec(ctx)
}

// sameAsDirect is for native histograms, whose form in the API cannot be turned back: the same query is run without the API, must
// have the same form, and is returned.
func (q *remoteQuery) sameAsDirect(ctx context.Context, data json.RawMessage) (parser.Value, error) {
	result := q.run(ctx, q.engine.direct)
	if result.Err != nil {
		return nil, result.Err
	}
	want, err := v1.JSONCodec{}.Encode(&v1.Response{Data: &v1.QueryData{ResultType: result.Value.Type(), Result: result.Value}})
	if err != nil {
		return nil, err
	}
	var wanted struct{ Data any }
	var got any
	if err := errors.Join(json.Unmarshal(want, &wanted), json.Unmarshal(data, &got)); err != nil {
		return nil, err
	}
	if diff := cmp.Diff(wanted.Data, got); diff != "" {
		return nil, fmt.Errorf("the API answers %s differently (-engine +API): %s", q.expr, diff)
	}
	return result.Value, nil
}

// errHistogram means that a result has native histograms.
var errHistogram = errors.New("native histograms")

// point is [seconds, "value"].
type point [2]any

func (p point) time() int64 {
	s, _ := p[0].(float64)
	return time.Unix(0, int64(s*1e9)).Round(time.Millisecond).UnixMilli()
}

func (p point) value() float64 {
	text, _ := p[1].(string)
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		panic(err)
	}
	return v
}

func decode(data json.RawMessage) (parser.Value, error) {
	var answer struct {
		ResultType parser.ValueType
		Result     json.RawMessage
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return nil, err
	}
	switch answer.ResultType {
	case parser.ValueTypeScalar:
		var p point
		err := json.Unmarshal(answer.Result, &p)
		return promql.Scalar{T: p.time(), V: p.value()}, err
	case parser.ValueTypeString:
		var p point
		err := json.Unmarshal(answer.Result, &p)
		text, _ := p[1].(string)
		return promql.String{T: p.time(), V: text}, err
	}
	var series []struct {
		Metric                map[string]string
		Value                 point
		Values                []point
		Histogram, Histograms json.RawMessage
	}
	if err := json.Unmarshal(answer.Result, &series); err != nil {
		return nil, err
	}
	vector, matrix := promql.Vector{}, promql.Matrix{}
	for _, s := range series {
		if s.Histogram != nil || s.Histograms != nil {
			return nil, errHistogram
		}
		metric := labels.FromMap(s.Metric)
		if answer.ResultType == parser.ValueTypeVector {
			vector = append(vector, promql.Sample{Metric: metric, T: s.Value.time(), F: s.Value.value()})
			continue
		}
		one := promql.Series{Metric: metric}
		for _, p := range s.Values {
			one.Floats = append(one.Floats, promql.FPoint{T: p.time(), F: p.value()})
		}
		matrix = append(matrix, one)
	}
	if answer.ResultType == parser.ValueTypeVector {
		return vector, nil
	}
	return matrix, nil
}
