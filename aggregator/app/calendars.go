package app

import (
	"context"
	"fmt"
	"hash/fnv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/foretide/foretide/aggregator/forecast"
	"github.com/foretide/foretide/pkg/ics"
)

const (
	// calendarEvery is how often a calendar file is read anew, calendarRetry how soon after it could not be.
	calendarEvery = 5 * time.Minute
	calendarRetry = time.Minute
	// calendarKept is how long a file is remembered that no policy asks for.
	calendarKept = time.Hour
	// calendarPast and calendarAhead are the days that matter to a forecast: its history, and what comes until after the next look.
	calendarPast, calendarAhead = 30, 3
)

// calendars are the calendar files that policies name, each read once however many policies name it. It is a controller.Calendars.
// They are got and not watched: a watch takes the right to list every ConfigMap there is.
type calendars struct {
	get func(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error)

	mu    sync.Mutex
	known map[calendarName]*calendarFile
	swept time.Time
}

type calendarName struct{ namespace, configMap, key string }

// calendarFile is one as it was last read.
type calendarFile struct {
	asked time.Time // guarded by that of calendars

	mu      sync.Mutex
	next    time.Time // when it is to be read again
	text    string
	version string
	missing error // why there is no text

	today time.Time // of days and wrong
	days  []forecast.Date
	wrong error
}

func newCalendars(get func(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error)) *calendars {
	return &calendars{get: get, known: map[calendarName]*calendarFile{}}
}

// Days implements controller.Calendars.
func (c *calendars) Days(ctx context.Context, namespace, configMap, key string, now time.Time) ([]forecast.Date, string, error) {
	name := calendarName{namespace, configMap, key}
	f := c.file(name, now)
	f.mu.Lock()
	defer f.mu.Unlock()
	if !now.Before(f.next) {
		f.read(ctx, c.get, name, now)
	}
	if f.missing != nil {
		return nil, "", f.missing
	}
	if today := now.UTC().Truncate(24 * time.Hour); !today.Equal(f.today) {
		f.today, f.days = today, nil
		var days []time.Time
		days, f.wrong = ics.Days(f.text, today.AddDate(0, 0, -calendarPast), today.AddDate(0, 0, calendarAhead))
		for _, day := range days {
			f.days = append(f.days, forecast.DateOf(day))
		}
	}
	return f.days, f.version, f.wrong
}

// file is that of a name; those that nobody asks for any more go.
func (c *calendars) file(name calendarName, now time.Time) *calendarFile {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.swept) > calendarKept {
		for other, f := range c.known {
			if now.Sub(f.asked) > calendarKept {
				delete(c.known, other)
			}
		}
		c.swept = now
	}
	f := c.known[name]
	if f == nil {
		f = &calendarFile{}
		c.known[name] = f
	}
	f.asked = now
	return f
}

// read takes the file as it is now. What was known before stands when the API server does not answer.
func (f *calendarFile) read(ctx context.Context, get func(context.Context, string, string) (*corev1.ConfigMap, error), name calendarName, now time.Time) {
	found, err := get(ctx, name.namespace, name.configMap)
	f.next = now.Add(calendarRetry)
	switch {
	case apierrors.IsNotFound(err):
		f.gone(fmt.Errorf("there is no such ConfigMap in namespace %q", name.namespace))
	case apierrors.IsForbidden(err):
		f.gone(fmt.Errorf("the aggregator may not get it: give its ServiceAccount a Role in namespace %q as in deploy/examples/calendar.yaml", name.namespace))
	case err != nil && f.version == "":
		f.gone(fmt.Errorf("it cannot be read: %w", err))
	case err != nil:
	default:
		text, ok := found.Data[name.key]
		if !ok {
			f.gone(fmt.Errorf("it has no key %q", name.key))
			return
		}
		f.next = now.Add(calendarEvery)
		if text != f.text || f.version == "" {
			sum := fnv.New64a()
			_, _ = sum.Write([]byte(text))
			f.text, f.version, f.today = text, fmt.Sprintf("%x", sum.Sum64()), time.Time{}
		}
		f.missing = nil
	}
}

func (f *calendarFile) gone(why error) {
	f.text, f.version, f.missing, f.days, f.today = "", "", why, nil, time.Time{}
}

// clusterCalendars are those in the ConfigMaps of a cluster.
func clusterCalendars(client kubernetes.Interface) *calendars {
	return newCalendars(func(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error) {
		return client.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
	})
}
