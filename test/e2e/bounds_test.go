//go:build e2e

package e2e

import (
	"fmt"
	"testing"
	"time"
)

// zone is the location of an IANA time zone.
func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	location, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return location
}

func TestAWindowIsOpenByTheClockOfItsTimeZone(t *testing.T) {
	t.Parallel()
	s := stage(t, "zone")
	s.busy(0.2)
	hour := time.Now().In(zone(t, "Asia/Kolkata")).Hour() // five and a half hours from UTC's
	window := fmt.Sprintf(`instanceBounds: [{bounds: [{cron: "* %d,%d ? * *", minReplicas: 3, maxReplicas: 4}]}]`, hour, (hour+1)%24)
	s.policy("auto", window, "timeZone: Asia/Kolkata")
	s.sees("the bounds of the open window hold", func(p policy) bool {
		return p.Status.MinReplicas == 3 && p.Status.MaxReplicas == 4 && p.Status.CurrentReplicas == 3
	})
	s.policy("auto", window, "timeZone: UTC")
	s.sees("by UTC's clock it is closed", func(p policy) bool {
		return p.Status.MinReplicas == 1 && p.Status.MaxReplicas == 6 && p.Status.CurrentReplicas == 1
	})
}

func TestAWindowThatOpensWithinTheLeadTimeHasItsPodsAlready(t *testing.T) {
	t.Parallel()
	s := stage(t, "ahead")
	s.busy(0.2)
	opens := time.Now().In(zone(t, "America/New_York")).Add(10 * time.Minute)
	window := fmt.Sprintf(`instanceBounds: [{startTime: %q, bounds: [{cron: "* * ? * *", minReplicas: 2, maxReplicas: 4}]}]`, opens.Format(time.DateTime))
	s.policy("auto", window, "timeZone: America/New_York", "prediction: {scaleUpForward: 120}")
	s.sees("it is too early for the window", func(p policy) bool { return p.Status.MinReplicas == 1 && p.Status.DesiredReplicas == 1 })
	s.went(1)
	s.policy("auto", window, "timeZone: America/New_York", "prediction: {scaleUpForward: 1200}")
	s.sees("as many as the window will ask for are there", func(p policy) bool { return p.Status.MinReplicas == 2 && p.Status.CurrentReplicas == 2 })
	s.went(1, 2)
}

func TestAWindowOpensAtItsMinute(t *testing.T) {
	t.Parallel()
	s := stage(t, "opens", pods(3), target(30))
	s.loaded(0.85, 28)
	opens := time.Now().UTC().Add(10 * time.Second).Truncate(time.Minute).Add(time.Minute)
	later := opens.Add(time.Hour)
	s.policy("auto", fmt.Sprintf(`instanceBounds: [{bounds: [{cron: "%d-59 %d ? * *", minReplicas: 1, maxReplicas: 2}, {cron: "* %d ? * *", minReplicas: 1, maxReplicas: 2}]}]`,
		opens.Minute(), opens.Hour(), later.Hour()))
	s.sees("no more than the window allows", func(p policy) bool { return p.Status.MaxReplicas == 2 && p.Status.CurrentReplicas == 2 })
	if lowered := s.went(3, 2)[1].at; lowered.Before(opens) {
		t.Errorf("lowered at %s, before the window opened at %s", lowered.UTC().Format(time.TimeOnly), opens.Format(time.TimeOnly))
	}
}
