package scrape

import (
	"bytes"
	"math"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

var (
	comment = regexp.MustCompile(`(?m)^[ \t]*#.*$`)
	// value is a label's value with the equals sign before it.
	value = regexp.MustCompile(`=[ \t]*"(\\.|[^"\\\n])*"`)
	// braced is a metric whose name is among the labels.
	braced = regexp.MustCompile(`(?m)^[ \t]*\{`)
)

// FuzzParse compares with Prometheus' own parser on what that one accepts, save names in quotes, which are never wanted here.
func FuzzParse(f *testing.F) {
	for _, server := range []string{"vllm", "triton", "tgi", "sglang"} {
		f.Add(recorded(f, server))
	}
	f.Add("vllm:kv_cache_usage_perc{a=\"\\\\\\\"\\n\",} .5 17\nvllm:kv_cache_usage_perc{} 1\n\n tgi_queue_size\t+Inf\ntgi_queue_size-1\n")
	f.Add("tgi_queue_size 1 2.5 # {a=\"b\"} 1\n# EOF")
	f.Add("<html>\n")
	f.Add("{\"a\": [1, 2]}")
	definitions := wanted(nil)
	p := newPage(definitions)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := p.read(strings.NewReader(text))
		for name, v := range got.values {
			if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
				t.Errorf("%s is %v", name, v)
			}
		}
		// Comments carry types, by which the oracle folds series of histograms together. A \r is not a newline to either.
		plain := comment.ReplaceAllString(text, "#")
		if braced.MatchString(plain) || strings.Contains(value.ReplaceAllString(plain, "="), `"`) {
			return
		}
		oracle := expfmt.NewTextParser(model.UTF8Validation)
		families, oracleErr := oracle.TextToMetricFamilies(bytes.NewReader([]byte(plain)))
		if oracleErr != nil {
			return
		}
		if err != nil {
			t.Fatalf("error %v on what Prometheus accepts:\n%s", err, text)
		}
		want := 0
		for name, family := range families {
			d, ok := definitions[name]
			if !ok {
				continue
			}
			var samples []sample
			for _, m := range family.GetMetric() {
				s := sample{model.Metric{}, m.GetUntyped().GetValue()}
				for _, l := range m.GetLabel() {
					s.labels[model.LabelName(l.GetName())] = model.LabelValue(l.GetValue())
				}
				samples = append(samples, s)
			}
			expected, fine := combined(d, samples)
			v, there := got.values[name]
			if there != fine || there && math.Abs(v-expected) > 1e-9*math.Abs(expected) {
				t.Errorf("%s is %v %v; want %v %v of\n%s", name, v, there, expected, fine, text)
			}
			if fine {
				want++
			}
		}
		if len(got.values) != want {
			t.Errorf("%d values; want %d of\n%s", len(got.values), want, text)
		}
	})
}

// sample is one line as the oracle reads it.
type sample struct {
	labels model.Metric
	value  float64
}

// combined is what a page should make of a metric's samples: fine is false when there is no value.
func combined(d Definition, samples []sample) (v float64, fine bool) {
	seen := map[string]bool{}
	for _, s := range samples {
		repeats := false
		for name, value := range s.labels {
			repeats = repeats || d.repeats != nil && d.repeats([]byte(name), []byte(value))
			if value == "" {
				delete(s.labels, name)
			}
		}
		if series := s.labels.String(); !repeats && !seen[series] {
			seen[series] = true
			if v += s.value; s.value < 0 {
				v = math.NaN()
			}
		}
	}
	if d.Combine == CombineMean {
		v /= float64(len(seen))
	}
	return v, len(seen) > 0 && !math.IsNaN(v) && !math.IsInf(v, 0)
}
