//go:build integration

package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// manifest is a policy with nothing but what is required.
func manifest(name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": v1alpha1.GroupVersion().String(),
		"kind":       v1alpha1.Kind,
		"metadata":   map[string]any{"name": name, "namespace": "default"},
		"spec": map[string]any{
			"scaleTargetRef": map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "name": "bert"},
			"maxReplicas":    int64(8),
			"metrics": []any{map[string]any{
				"type": "Resource",
				"resource": map[string]any{
					"name":   "gpu",
					"target": map[string]any{"type": "Utilization", "averageUtilization": int64(20)},
				},
			}},
		},
	}}
}

// set changes a field of a manifest, by its path; a number in the path is a place in a list.
func set(value any, path ...any) func(*unstructured.Unstructured) {
	return func(u *unstructured.Unstructured) {
		var at any = u.Object
		for _, step := range path[:len(path)-1] {
			switch s := step.(type) {
			case string:
				m := at.(map[string]any)
				if m[s] == nil {
					m[s] = map[string]any{}
				}
				at = m[s]
			case int:
				at = at.([]any)[s]
			}
		}
		last, m := path[len(path)-1].(string), at.(map[string]any)
		if value == nil {
			delete(m, last)
		} else {
			m[last] = value
		}
	}
}

// window is an entry of instanceBounds with a maxReplicas of 2.
func window(start, end, cron string, least int64) map[string]any {
	w := map[string]any{"bounds": []any{map[string]any{"cron": cron, "minReplicas": least, "maxReplicas": int64(2)}}}
	if start != "" {
		w["startTime"] = start
	}
	if end != "" {
		w["endTime"] = end
	}
	return w
}

func TestDefaultsAreFilledIn(t *testing.T) {
	if err := apiServer.client.Create(t.Context(), manifest("defaults")); err != nil {
		t.Fatal(err)
	}
	var got v1alpha1.AdvancedHorizontalPodAutoscaler
	if err := apiServer.client.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "defaults"}, &got); err != nil {
		t.Fatal(err)
	}
	want := v1alpha1.AdvancedHorizontalPodAutoscalerSpec{
		ScaleTargetRef: got.Spec.ScaleTargetRef, Metrics: got.Spec.Metrics, MaxReplicas: 8,
	}
	want.Default()
	if diff := cmp.Diff(want, got.Spec); diff != "" {
		t.Errorf("the schema's defaults and those of Default differ (-Default +schema):\n%s", diff)
	}
	if err := got.Spec.Validate(); err != nil {
		t.Errorf("the schema lets through what Validate does not: %v", err)
	}
}

// day is a list of one special day.
func day(date, like string) []any { return []any{map[string]any{"date": date, "like": like}} }

func manyDays(n int) (all []any) {
	for i := range n {
		all = append(all, day(time.Date(2026, 1, 1+i, 0, 0, 0, 0, time.UTC).Format(time.DateOnly), "Sunday")...)
	}
	return all
}

func manyCalendars(n int) (all []any) {
	for i := range n {
		all = append(all, map[string]any{"configMapName": fmt.Sprint("calendar-", i), "scale": int64(250)})
	}
	return all
}

// The example of a calendar: what is needed is said in one file, and passes.
func TestTheExampleOfACalendarIsTaken(t *testing.T) {
	if out, err := kubectl(t, nil, "apply", "-f", "../../deploy/examples/calendar.yaml"); err != nil {
		t.Fatal(out, err)
	}
	var got v1alpha1.AdvancedHorizontalPodAutoscaler
	if err := apiServer.client.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "bert-with-holidays"}, &got); err != nil {
		t.Fatal(err)
	}
	want := v1alpha1.Prediction{
		Days:      []v1alpha1.SpecialDay{{Date: "2026-11-27", Scale: 250}},
		Calendars: []v1alpha1.Calendar{{ConfigMapName: "holidays", Key: "calendar.ics", Like: "Sunday"}},
	}
	if p := got.Spec.Prediction; !cmp.Equal(p.Days, want.Days) || !cmp.Equal(p.Calendars, want.Calendars) {
		t.Errorf("stored %+v", p)
	}
	if err := got.Spec.Validate(); err != nil {
		t.Error(err)
	}
}

func TestDaysAndTimeZonesAreTaken(t *testing.T) {
	policy := manifest("calendar")
	set("America/Argentina/Buenos_Aires", "spec", "timeZone")(policy)
	set(manyDays(100), "spec", "prediction", "days")(policy)
	set(manyCalendars(10), "spec", "prediction", "calendars")(policy)
	if err := apiServer.client.Create(t.Context(), policy); err != nil {
		t.Fatal(err)
	}
	var got v1alpha1.AdvancedHorizontalPodAutoscaler
	if err := apiServer.client.Get(t.Context(), client.ObjectKeyFromObject(policy), &got); err != nil {
		t.Fatal(err)
	}
	days := got.Spec.Prediction.Days
	if zone := got.Spec.TimeZone; zone != "America/Argentina/Buenos_Aires" || len(days) != 100 || days[99] != (v1alpha1.SpecialDay{Date: "2026-04-10", Like: "Sunday"}) {
		t.Errorf("in %s, %d days", zone, len(days))
	}
	if err := got.Spec.Validate(); err != nil {
		t.Error(err)
	}
}

// pods is a metric of what pods say, external one of a number.
func pods(name string, target map[string]any) map[string]any {
	return map[string]any{"type": "Pods", "pods": map[string]any{"metric": map[string]any{"name": name}, "target": target}}
}

func external(what map[string]any) map[string]any {
	all := map[string]any{"target": map[string]any{"type": "AverageValue", "averageValue": "20"}}
	maps.Copy(all, what)
	return map[string]any{"type": "External", "external": all}
}

func TestMetricsOfAllKindsAreTaken(t *testing.T) {
	policy := manifest("metrics")
	resource := func(name string, target map[string]any) map[string]any {
		return map[string]any{"type": "Resource", "resource": map[string]any{"name": name, "target": target}}
	}
	percent, amount := map[string]any{"type": "Utilization", "averageUtilization": int64(80)}, map[string]any{"type": "AverageValue", "averageValue": "40Gi"}
	query := "sum(rate(http_requests_total{namespace=\"chat\"}[1m]))"
	set([]any{
		resource("gpu", percent), resource("gpu-memory", amount), resource("gpu-sm-active", percent), resource("gpu-tensor-active", percent),
		resource("cpu", map[string]any{"type": "Utilization", "averageUtilization": int64(150)}), resource("memory", amount),
		pods("vllm:num_requests_waiting", map[string]any{"type": "AverageValue", "averageValue": "500m"}),
		external(map[string]any{"query": query, "target": map[string]any{"type": "Value", "value": "0.2"}}),
		external(map[string]any{"metric": map[string]any{"name": "queue_length", "selector": map[string]any{"matchLabels": map[string]any{"queue": "chat"}}}}),
	}, "spec", "metrics")(policy)
	set(0.95, "spec", "prediction", "quantile")(policy)
	if err := apiServer.client.Create(t.Context(), policy); err != nil {
		t.Fatal(err)
	}
	var got v1alpha1.AdvancedHorizontalPodAutoscaler
	if err := apiServer.client.Get(t.Context(), client.ObjectKeyFromObject(policy), &got); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, m := range got.Spec.Metrics {
		ids = append(ids, m.ID())
		if !m.Forecasts() {
			t.Errorf("%s is not forecast", m.ID())
		}
	}
	want := []string{"gpu", "gpu-memory", "gpu-sm-active", "gpu-tensor-active", "cpu", "memory", "vllm:num_requests_waiting", query, "queue_length{queue=chat}"}
	if !slices.Equal(ids, want) || got.Spec.Prediction.Quantile.Level() != 0.95 {
		t.Errorf("metrics %q at %v", ids, got.Spec.Prediction.Quantile.Level())
	}
	if err := got.Spec.Validate(); err != nil {
		t.Error(err)
	}
}

func TestWrongPoliciesAreRefusedByFieldValueAndRange(t *testing.T) {
	target := []any{"spec", "metrics", 0, "resource", "target"}
	for name, c := range map[string]struct {
		change func(*unstructured.Unstructured)
		want   []string
	}{
		"strategy":        {set("automatic", "spec", "scaleStrategy"), []string{"spec.scaleStrategy", `"automatic"`, `"observer", "auto"`}},
		"max below min":   {set(int64(9), "spec", "minReplicas"), []string{"spec.maxReplicas: Invalid value", "8: must be minReplicas (9) or more"}},
		"min 0":           {set(int64(0), "spec", "minReplicas"), []string{"spec.minReplicas", "0", "greater than or equal to 1"}},
		"max missing":     {set(nil, "spec", "maxReplicas"), []string{"spec.maxReplicas", "Required value"}},
		"utilization 0":   {set(int64(0), append(target, "averageUtilization")...), []string{"spec.metrics[0].resource.target.averageUtilization", "0", "greater than or equal to 1"}},
		"utilization 101": {set(int64(101), append(target, "averageUtilization")...), []string{"spec.metrics[0].resource.target.averageUtilization", "101: must be 1 to 100"}},
		"target type":     {set("AverageValue", append(target, "type")...), []string{"spec.metrics[0].resource.target", "type is AverageValue: must have the value that it names"}},
		"metric qps":      {set("qps", "spec", "metrics", 0, "resource", "name"), []string{"spec.metrics[0].resource.name", `"qps"`, `"gpu"`}},
		"metric type":     {set("External", "spec", "metrics", 0, "type"), []string{"spec.metrics[0]", "type is External: must have the field that it names"}},
		"target value":    {set(map[string]any{"type": "Value", "value": "5"}, target...), []string{"spec.metrics[0].resource.target.type", "Value: must be Utilization or AverageValue"}},
		"average of 0":    {set(map[string]any{"type": "AverageValue", "averageValue": "0"}, target...), []string{"spec.metrics[0].resource.target.averageValue", "0: must be more than 0"}},
		"pods' total":     {set([]any{pods("queue", map[string]any{"type": "Value", "value": "5"})}, "spec", "metrics"), []string{"spec.metrics[0].pods.target.type", "Value: must be AverageValue"}},
		"pods' name":      {set([]any{pods("a queue", map[string]any{"type": "AverageValue", "averageValue": "5"})}, "spec", "metrics"), []string{"spec.metrics[0].pods.metric.name", `"a queue"`}},
		"no query":        {set([]any{external(nil)}, "spec", "metrics"), []string{"spec.metrics[0].external", "must have either metric or query"}},
		"both":            {set([]any{external(map[string]any{"query": "1", "metric": map[string]any{"name": "x"}})}, "spec", "metrics"), []string{"spec.metrics[0].external", "must have either metric or query"}},
		"11 metrics":      {set(slices.Repeat([]any{external(map[string]any{"query": "1"})}, 11), "spec", "metrics"), []string{"spec.metrics", "11", "at most 10 items"}},
		"no metric":       {set([]any{}, "spec", "metrics"), []string{"spec.metrics", "0", "at least 1"}},
		"window":          {set(int64(3601), "spec", "stabilizationWindowSeconds"), []string{"spec.stabilizationWindowSeconds", "3601", "less than or equal to 3600"}},
		"quantile 100":    {set(int64(100), "spec", "prediction", "quantile"), []string{"spec.prediction.quantile", "100", "less than or equal to 99"}},
		"quantile 0.995":  {set(0.995, "spec", "prediction", "quantile"), []string{"spec.prediction.quantile", "0.995: must be 1 to 99 (percent) or 0.01 to 0.99"}},
		"down forward":    {set(int64(3601), "spec", "prediction", "scaleDownForward"), []string{"spec.prediction.scaleDownForward", "3601", "less than or equal to 3600"}},
		"lead":            {set(int64(-1), "spec", "prediction", "scaleUpForward"), []string{"spec.prediction.scaleUpForward", "must be 0 to 3600, or auto"}},
		"lead in words":   {set("3m", "spec", "prediction", "scaleUpForward"), []string{"spec.prediction.scaleUpForward", "must be 0 to 3600, or auto"}},
		"up window":       {set(int64(3601), "spec", "behavior", "scaleUp", "stabilizationWindowSeconds"), []string{"spec.behavior.scaleUp.stabilizationWindowSeconds", "3601", "less than or equal to 3600"}},
		"select policy":   {set("Least", "spec", "behavior", "scaleDown", "selectPolicy"), []string{"spec.behavior.scaleDown.selectPolicy", "Least", "Disabled"}},
		"tolerance":       {set("1.5", "spec", "behavior", "scaleUp", "tolerance"), []string{"spec.behavior.scaleUp.tolerance", "must be from 0 to 1"}},
		"limit": {set([]any{map[string]any{"type": "GPUs", "value": int64(0), "periodSeconds": int64(1801)}}, "spec", "behavior", "scaleUp", "policies"),
			[]string{"spec.behavior.scaleUp.policies[0].type", "GPUs", "spec.behavior.scaleUp.policies[0].value", "greater than or equal to 1", "1801"}},
		"start":                    {set([]any{window("2026-13-01 00:00:00", "", "* * ? * *", 1)}, "spec", "instanceBounds"), []string{"spec.instanceBounds[0].startTime", "2026-13-01", "should match"}},
		"end":                      {set([]any{window("2026-02-01 00:00:00", "2026-01-01 00:00:00", "* * ? * *", 1)}, "spec", "instanceBounds"), []string{"spec.instanceBounds[0].endTime", "must be after startTime (2026-02-01 00:00:00)"}},
		"numbered weekday":         {set([]any{window("", "", "* * ? * 1-5", 1)}, "spec", "instanceBounds"), []string{"spec.instanceBounds[0].bounds[0].cron", "1-5", "should match"}},
		"seconds":                  {set([]any{window("", "", "0 * * ? * MON", 1)}, "spec", "instanceBounds"), []string{"spec.instanceBounds[0].bounds[0].cron", "should match"}},
		"window's bounds":          {set([]any{window("", "", "* * ? * MON", 3)}, "spec", "instanceBounds"), []string{"spec.instanceBounds[0].bounds[0].maxReplicas", "2: must be minReplicas (3) or more"}},
		"waiting":                  {set(int64(-1), "spec", "maxPendingReplicas"), []string{"spec.maxPendingReplicas", "-1", "greater than or equal to 0"}},
		"budget's name":            {set(map[string]any{"name": "My Team", "maxGPUs": int64(8)}, "spec", "replicaBudget"), []string{"spec.replicaBudget.name", `"My Team"`, "should match"}},
		"empty budget":             {set(map[string]any{"name": "team", "maxGPUs": int64(0)}, "spec", "replicaBudget"), []string{"spec.replicaBudget.maxGPUs", "0", "greater than or equal to 1"}},
		"nodes at once":            {set(map[string]any{"provisioningSeconds": int64(5)}, "spec", "placeholders"), []string{"spec.placeholders.provisioningSeconds", "5", "greater than or equal to 30"}},
		"time zone":                {set("Europe Berlin", "spec", "timeZone"), []string{"spec.timeZone", `"Europe Berlin"`, "should match"}},
		"no date":                  {set(day("25.12.2026", "Sunday"), "spec", "prediction", "days"), []string{"spec.prediction.days[0].date", `"25.12.2026"`}},
		"no such day":              {set(day("2026-02-30", "Sunday"), "spec", "prediction", "days"), []string{"spec.prediction.days[0].date", `"2026-02-30"`}},
		"no weekday":               {set(day("2026-12-25", "holiday"), "spec", "prediction", "days"), []string{"spec.prediction.days[0].like", `"holiday"`, `"Sunday"`}},
		"a day like itself":        {set([]any{map[string]any{"date": "2026-12-25"}}, "spec", "prediction", "days"), []string{"spec.prediction.days[0]", "must have like, scale or both"}},
		"scale":                    {set([]any{map[string]any{"date": "2026-12-25", "scale": int64(1001)}}, "spec", "prediction", "days"), []string{"spec.prediction.days[0].scale", "1001", "less than or equal to 1000"}},
		"calendar like itself":     {set([]any{map[string]any{"configMapName": "holidays"}}, "spec", "prediction", "calendars"), []string{"spec.prediction.calendars[0]", "must have like, scale or both"}},
		"calendar without a file":  {set([]any{map[string]any{"like": "Sunday"}}, "spec", "prediction", "calendars"), []string{"spec.prediction.calendars[0].configMapName", "Required value"}},
		"calendar like no weekday": {set([]any{map[string]any{"configMapName": "holidays", "like": "holiday"}}, "spec", "prediction", "calendars"), []string{"spec.prediction.calendars[0].like", `"holiday"`, `"Sunday"`}},
		"too many calendars":       {set(manyCalendars(11), "spec", "prediction", "calendars"), []string{"spec.prediction.calendars", "11", "at most 10 items"}},
		"a day twice":              {set(append(day("2026-12-25", "Sunday"), day("2026-12-25", "Monday")...), "spec", "prediction", "days"), []string{"spec.prediction.days[1]", "Duplicate value", "2026-12-25"}},
		"too many days":            {set(manyDays(101), "spec", "prediction", "days"), []string{"spec.prediction.days", "101", "at most 100 items"}},
		"nameless target":          {set("", "spec", "scaleTargetRef", "name"), []string{"spec.scaleTargetRef.name", "at least 1 chars"}},
		"no target":                {set(nil, "spec", "scaleTargetRef"), []string{"spec.scaleTargetRef", "Required value"}},
		"no spec whatever":         {set(nil, "spec"), []string{"spec", "Required value"}},
	} {
		t.Run(name, func(t *testing.T) {
			policy := manifest("wrong")
			c.change(policy)
			err := apiServer.client.Create(t.Context(), policy)
			if err == nil {
				_ = apiServer.client.Delete(t.Context(), policy)
				t.Fatal("it was accepted")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
		})
	}
}

func TestKubectlPrintsTheColumns(t *testing.T) {
	policy := &v1alpha1.AdvancedHorizontalPodAutoscaler{}
	if err := apiServer.client.Create(t.Context(), manifest("columns")); err != nil {
		t.Fatal(err)
	}
	if err := apiServer.client.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "columns"}, policy); err != nil {
		t.Fatal(err)
	}
	fresh, err := kubectl(t, nil, "get", "ahpa", "columns")
	if err != nil {
		t.Fatal(fresh, err)
	}
	expectTable(t, fresh, "columns observer bert gpu 20 1 8") // CURRENT(%), DESIREDPODS and REPLICAS are not known yet

	current, desired, replicas := int32(189), int32(8), int32(4)
	policy.Status.CurrentReplicas, policy.Status.DesiredReplicas = &replicas, &desired
	policy.Status.CurrentMetrics = []v1alpha1.MetricStatus{{
		Type: v1alpha1.MetricSourceResource,
		Resource: &v1alpha1.ResourceMetricStatus{
			Name: v1alpha1.ResourceGPU, Current: v1alpha1.MetricValueStatus{AverageUtilization: &current},
		},
	}}
	policy.Status.ProactiveReplicas, policy.Status.ReactiveReplicas = new(int32(7)), new(int32(8))
	policy.Status.LeadTimeSeconds, policy.Status.Periodicity = new(int32(240)), new(int32(86400))
	policy.Status.Decision = &v1alpha1.DecisionStatus{Reason: "ReactiveDemand", ValidUntil: &metav1.Time{Time: time.Now()}}
	policy.Status.Accuracy = &v1alpha1.AccuracyStatus{LeadSeconds: 900, At: metav1.Now(), Day: &v1alpha1.AccuracyOver{AccuracyPercent: new(int32(86)), CoveragePercent: 94}}
	if err := apiServer.client.Status().Update(t.Context(), policy); err != nil {
		t.Fatal(err)
	}
	full, err := kubectl(t, nil, "get", "ahpa", "columns")
	if err != nil {
		t.Fatal(full, err)
	}
	expectTable(t, full, "columns observer bert gpu 20 189 8 4 1 8")
	wide, err := kubectl(t, nil, "get", "ahpa", "columns", "-o", "wide")
	if err != nil {
		t.Fatal(wide, err)
	}
	lines := strings.Split(strings.TrimSpace(wide), "\n")
	const heading = "NAME STRATEGY REFERENCE METRIC TARGET(%) CURRENT(%) DESIREDPODS REPLICAS MINPODS MAXPODS PROACTIVE REACTIVE LEAD(S) ACCURACY(%) DECISION AGE"
	if got := strings.Join(strings.Fields(lines[0]), " "); got != heading {
		t.Errorf("heading is\n%s, want\n%s", got, heading)
	}
	if got := strings.Join(strings.Fields(lines[1]), " "); !strings.HasPrefix(got, "columns observer bert gpu 20 189 8 4 1 8 7 8 240 86 ReactiveDemand ") {
		t.Errorf("row is\n%s", got)
	}
}

// The table as the API server makes it, for whatever asks.
func TestTheAPIServersTableHasTheColumns(t *testing.T) {
	if err := apiServer.client.Create(t.Context(), manifest("table")); err != nil {
		t.Fatal(err)
	}
	client, err := rest.HTTPClientFor(apiServer.config)
	if err != nil {
		t.Fatal(err)
	}
	url := strings.TrimSuffix(apiServer.config.Host, "/")
	if !strings.Contains(url, "://") {
		url = "https://" + url
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/apis/"+v1alpha1.GroupVersion().String()+"/namespaces/default/advancedhorizontalpodautoscalers/table", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	var table metav1.Table
	if err := json.NewDecoder(answer.Body).Decode(&table); err != nil {
		t.Fatal(err)
	}
	var shown, wide []string
	for _, c := range table.ColumnDefinitions {
		if c.Priority == 0 {
			shown = append(shown, c.Name)
		} else {
			wide = append(wide, c.Name)
		}
	}
	if got := strings.Join(shown, " "); got != "Name Strategy Reference Metric Target(%) Current(%) DesiredPods Replicas MinPods MaxPods Age" {
		t.Errorf("columns %s", got)
	}
	if got := strings.Join(wide, " "); got != "Proactive Reactive Lead(s) Accuracy(%) Decision" {
		t.Errorf("more columns %s", got)
	}
	if len(table.Rows) != 1 || fmt.Sprint(table.Rows[0].Cells[:10]) != "[table observer bert gpu 20 <nil> <nil> <nil> 1 8]" {
		t.Errorf("rows %+v", table.Rows)
	}
}

// expectTable checks what kubectl printed: the heading, and the one row without its age.
func expectTable(t *testing.T, printed, row string) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(printed), "\n")
	if len(lines) != 2 {
		t.Fatalf("printed:\n%s", printed)
	}
	const heading = "NAME STRATEGY REFERENCE METRIC TARGET(%) CURRENT(%) DESIREDPODS REPLICAS MINPODS MAXPODS AGE"
	if got := strings.Join(strings.Fields(lines[0]), " "); got != heading {
		t.Errorf("heading is\n%s, want\n%s", got, heading)
	}
	fields := strings.Fields(lines[1])
	if got := strings.Join(fields[:len(fields)-1], " "); got != row {
		t.Errorf("row is\n%s, want\n%s", got, row)
	}
}

// ahpaManifest is a manifest from AHPA's documentation with another apiVersion line.
func ahpaManifest(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/fib-gpu.ahpa.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return bytes.ReplaceAll(text, []byte("autoscaling.alibabacloud.com/v1beta1"), []byte(v1alpha1.GroupVersion().String()))
}

func TestAManifestForAHPANeedsOnlyAnotherAPIVersion(t *testing.T) {
	out, err := kubectl(t, ahpaManifest(t), "apply", "-f", "-")
	if err != nil {
		t.Fatal(out, err)
	}
	out, err = kubectl(t, nil, "get", "ahpa", "fib-gpu")
	if err != nil {
		t.Fatal(out, err)
	}
	expectTable(t, out, "fib-gpu observer bert-intent-detection gpu 20 10 50")
}

func TestAFieldThatIsNotActedUponIsNamedAndNotStored(t *testing.T) {
	text := bytes.ReplaceAll(append(ahpaManifest(t), "  customized: true\n"...), []byte("name: fib-gpu"), []byte("name: customized"))
	if out, err := kubectl(t, text, "apply", "-f", "-"); err == nil || !strings.Contains(out, `unknown field "spec.customized"`) {
		t.Errorf("strict: %v, %s", err, out)
	}
	if out, err := kubectl(t, text, "apply", "--validate=warn", "-f", "-"); err != nil || !strings.Contains(out, `unknown field "spec.customized"`) {
		t.Errorf("warn: %v, %s", err, out)
	}
	stored := &unstructured.Unstructured{}
	stored.SetGroupVersionKind(v1alpha1.GroupVersion().WithKind(v1alpha1.Kind))
	if err := apiServer.client.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "customized"}, stored); err != nil {
		t.Fatal(err)
	}
	if _, found, _ := unstructured.NestedFieldNoCopy(stored.Object, "spec", "customized"); found {
		t.Error("spec.customized was stored")
	}
}

func TestAHPAsInstanceBoundsAreTaken(t *testing.T) {
	bounds, err := os.ReadFile("testdata/instance-bounds.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := bytes.ReplaceAll(append(ahpaManifest(t), bounds...), []byte("name: fib-gpu"), []byte("name: bounded"))
	if out, err := kubectl(t, text, "apply", "-f", "-"); err != nil {
		t.Fatal(out, err)
	}
	var got v1alpha1.AdvancedHorizontalPodAutoscaler
	if err := apiServer.client.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "bounded"}, &got); err != nil {
		t.Fatal(err)
	}
	want := v1alpha1.CronBounds{Cron: "* 0-8 ? * MON-FRI", MinReplicas: 4, MaxReplicas: 15}
	if w := got.Spec.InstanceBounds; len(w) != 1 || w[0].StartTime != "2021-12-16 00:00:00" || w[0].Bounds[0] != want {
		t.Errorf("stored %+v", w)
	}
}

func TestABehaviorIsStoredAsItWasWritten(t *testing.T) {
	policy := manifest("behaved")
	set(map[string]any{
		"scaleUp":   map[string]any{"tolerance": "0.05", "selectPolicy": "Min", "policies": []any{map[string]any{"type": "Pods", "value": int64(2), "periodSeconds": int64(60)}}},
		"scaleDown": map[string]any{"stabilizationWindowSeconds": int64(600)},
	}, "spec", "behavior")(policy)
	if err := apiServer.client.Create(t.Context(), policy); err != nil {
		t.Fatal(err)
	}
	var got v1alpha1.AdvancedHorizontalPodAutoscaler
	if err := apiServer.client.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "behaved"}, &got); err != nil {
		t.Fatal(err)
	}
	got.Spec.Default()
	if err := got.Spec.Validate(); err != nil {
		t.Error(err)
	}
	up, down := got.Spec.Behavior.ScaleUp, got.Spec.Behavior.ScaleDown
	if up.Tolerance.String() != "50m" || up.Policies[0] != (v1alpha1.ScalingPolicy{Type: v1alpha1.PodsPolicy, Value: 2, PeriodSeconds: 60}) || *down.StabilizationWindowSeconds != 600 {
		t.Errorf("stored %+v, %+v", up, down)
	}
}

func TestEveryFieldSaysWhatItMeans(t *testing.T) {
	for path, wants := range map[string][]string{
		"ahpa.spec":               {"timeZone", "default `UTC`", "instanceBounds", "behavior"},
		"ahpa.spec.replicaBudget": {"maxGPUs", "the smallest counts"},
		"ahpa.spec.placeholders":  {"provisioningSeconds", "30 to 3600, default 300"},
		"ahpa.spec.prediction":    {"quantile", "scaleUpForward", "default 80", "0 to 3600, default 180; or `auto`", "days"},
	} {
		out, err := kubectl(t, nil, "explain", path)
		if err != nil {
			t.Fatal(out, err)
		}
		for _, want := range wants {
			if !strings.Contains(strings.Join(strings.Fields(out), " "), want) {
				t.Errorf("%q is not in:\n%s", want, out)
			}
		}
	}
}
