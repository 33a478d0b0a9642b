package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/foretide/foretide/pkg/apis/autoscaling/v1alpha1"
)

// cupboard has the ConfigMaps of a cluster, and counts how often one was got.
type cupboard struct {
	*calendars
	t    *testing.T
	now  time.Time
	maps map[string]map[string]string // by namespace/name
	err  error
	gets int
}

func newCupboard(t *testing.T) *cupboard {
	c := &cupboard{t: t, now: time.Date(2026, 12, 20, 12, 0, 0, 0, time.UTC), maps: map[string]map[string]string{}}
	c.calendars = newCalendars(func(_ context.Context, namespace, name string) (*corev1.ConfigMap, error) {
		c.gets++
		data, ok := c.maps[namespace+"/"+name]
		switch {
		case c.err != nil:
			return nil, c.err
		case !ok:
			return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "configmaps"}, name)
		}
		return &corev1.ConfigMap{Data: data}, nil
	})
	return c
}

// days after some time, in the calendar holidays of the namespace default.
func (c *cupboard) days(after time.Duration) (days, version string) {
	c.t.Helper()
	c.now = c.now.Add(after)
	found, version, err := c.Days(c.t.Context(), "default", "holidays", v1alpha1.DefaultCalendarKey, c.now)
	days = strings.Trim(fmt.Sprint(found), "[]")
	if err != nil {
		days += " " + err.Error()
	}
	return strings.TrimSpace(days), version
}

func (c *cupboard) expect(after time.Duration, want string) {
	c.t.Helper()
	if got, _ := c.days(after); got != want {
		c.t.Errorf("%v later days are %q, want %q", after, got, want)
	}
}

func christmas(days string) map[string]string {
	return map[string]string{v1alpha1.DefaultCalendarKey: "BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:1\nDTSTART;VALUE=DATE:20001225\nDURATION:" + days + "\nRRULE:FREQ=YEARLY\nEND:VEVENT\nEND:VCALENDAR\n"}
}

func TestCalendarFilesAreReadEachFiveMinutesAndTheirDaysComeIntoView(t *testing.T) {
	c := newCupboard(t)
	c.maps["default/holidays"] = christmas("P1D")
	c.expect(0, "")
	_, first := c.days(time.Second)
	for range 100 {
		c.expect(2*time.Second, "")
	}
	if c.gets != 1 {
		t.Errorf("got %d times in three minutes, want once", c.gets)
	}
	c.expect(60*time.Hour, "2026-12-25") // the 23rd
	if _, later := c.days(0); later != first || first == "" {
		t.Errorf("version %q, then %q of the same file", first, later)
	}
	c.maps["default/holidays"] = christmas("P2D")
	c.expect(time.Minute, "2026-12-25")
	c.expect(5*time.Minute, "2026-12-25 2026-12-26")
	if _, changed := c.days(0); changed == first {
		t.Error("another file has the same version")
	}
	c.expect(30*24*time.Hour, "2026-12-25 2026-12-26") // the 22nd of January: still in the history
	c.expect(10*24*time.Hour, "")
}

func TestWhyACalendarFileCannotBeReadIsTold(t *testing.T) {
	c := newCupboard(t)
	c.expect(0, `there is no such ConfigMap in namespace "default"`)
	c.maps["default/holidays"] = map[string]string{"other.ics": ""}
	c.expect(time.Minute, `it has no key "calendar.ics"`)
	c.maps["default/holidays"] = map[string]string{v1alpha1.DefaultCalendarKey: "2026-12-25"}
	if got, _ := c.days(time.Minute); !strings.HasPrefix(got, "it is no calendar file (RFC 5545)") {
		t.Errorf("of something else: %s", got)
	}
	c.err = apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "holidays", errors.New("no"))
	c.expect(5*time.Minute, `the aggregator may not get it: give its ServiceAccount a Role in namespace "default" as in deploy/examples/calendar.yaml`)
}

func TestACalendarFileStandsWhileTheAPIServerDoesNotAnswer(t *testing.T) {
	c := newCupboard(t)
	c.err = errors.New("connection refused")
	c.expect(0, "it cannot be read: connection refused")
	c.err = nil
	c.maps["default/holidays"] = christmas("P1D")
	c.expect(72*time.Hour, "2026-12-25")
	c.err = errors.New("connection refused")
	c.expect(time.Hour, "2026-12-25")
	c.err = nil
	delete(c.maps, "default/holidays")
	c.expect(time.Hour, `there is no such ConfigMap in namespace "default"`)
}

func TestCalendarFilesThatNobodyAsksForAreForgotten(t *testing.T) {
	c := newCupboard(t)
	for i := range 10 {
		_, _, _ = c.Days(t.Context(), "default", fmt.Sprint("holidays-", i), v1alpha1.DefaultCalendarKey, c.now)
	}
	c.days(0)
	c.days(calendarKept + time.Minute)
	c.days(calendarKept + time.Minute)
	if n := len(c.known); n != 1 {
		t.Errorf("%d are remembered, want the one that is asked for", n)
	}
}
