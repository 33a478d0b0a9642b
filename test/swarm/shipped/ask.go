package shipped

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
)

// Metrics returns /metrics.
func (a *Aggregator) Metrics(ctx context.Context) (string, error) {
	return Get(ctx, "http://"+a.Web+"/metrics")
}

// Query asks an instant query.
func (a *Aggregator) Query(ctx context.Context, promql string) ([]Sample, error) {
	return Query(ctx, a.Web, promql)
}

// Sample is one series of an instant query's answer.
type Sample struct {
	Labels map[string]string
	Value  float64
}

// Query asks the PromQL API on a host:port an instant query.
func Query(ctx context.Context, web, promql string) ([]Sample, error) {
	body, err := Get(ctx, "http://"+web+"/api/v1/query?query="+url.QueryEscape(promql))
	if err != nil {
		return nil, err
	}
	var answer struct {
		Status, Error string
		Data          struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		return nil, fmt.Errorf("query %q: answer %.200q: %w", promql, body, err)
	}
	if answer.Status != "success" {
		return nil, fmt.Errorf("query %q: %s", promql, answer.Error)
	}
	var out []Sample
	for _, r := range answer.Data.Result {
		text, _ := r.Value[1].(string)
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("query %q: %w", promql, err)
		}
		out = append(out, Sample{r.Metric, value})
	}
	return out, nil
}

// Get returns a page. Any status but 200 is an error.
func Get(ctx context.Context, url string) (string, error) {
	status, body, err := get(ctx, url)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("GET %s: status %d, %.200s", url, status, body)
	}
	return body, err
}

func get(ctx context.Context, url string) (status int, body string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

// Usage is what a process has used.
type Usage struct {
	// Resident is the memory it has, PeakResident the most it had, in bytes.
	Resident, PeakResident float64
	// CPUSeconds is its processor time.
	CPUSeconds float64
}

// clockTick is USER_HZ: /proc/<pid>/stat counts processor time in 1/100 s on Linux (proc(5)).
const clockTick = 100

// UsageOf reads what a process has used so far.
func UsageOf(pid int) (u Usage, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(status)) {
		for name, to := range map[string]*float64{"VmRSS:": &u.Resident, "VmHWM:": &u.PeakResident} {
			if rest, ok := strings.CutPrefix(line, name); ok {
				kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
				if err != nil {
					return u, err
				}
				*to = kib * 1024
			}
		}
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	// Fields after the command in parentheses: utime and stime are the 12th and 13th (proc(5)).
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	for _, f := range fields[11:13] {
		ticks, err := strconv.ParseFloat(f, 64)
		if err != nil {
			return u, err
		}
		u.CPUSeconds += ticks / clockTick
	}
	return u, nil
}
