package simulate

import (
	"math"
	"time"
)

// cron is a schedule as a person writes it, for Kubernetes' CronJobs that scale or KEDA's cron scaler: for each hour of the week as many
// pods as the busiest minute of that hour of the past needed, or each hour of the day when less than a week of it is known, and there in
// time: the next hour's begin by what a pod takes to start before it. It sees nothing of the load.
type cron struct {
	PeerOptions
	week     [7 * 24]int32 // hours since Monday's begin
	location *time.Location
}

// newCron writes the schedule. An hour in which nothing is known is one of the busiest.
func newCron(o PeerOptions) *cron {
	c := &cron{PeerOptions: o, location: o.Trace.Start.Location()}
	hours := len(c.week)
	if len(o.Before) < hours*60 {
		hours = 24
	}
	most := make([]float64, hours)
	for i := range most {
		most[i] = math.NaN()
	}
	at := o.Trace.Start.Truncate(time.Minute).Add(-time.Duration(len(o.Before)) * time.Minute)
	for i, busy := range o.Before {
		hour := c.hour(at.Add(time.Duration(i)*time.Minute)) % hours
		if math.IsNaN(most[hour]) || busy > most[hour] {
			most[hour] = busy
		}
	}
	peak, _ := highest(most)
	for i := range c.week {
		busy := most[i%hours]
		if math.IsNaN(busy) {
			busy = peak
		}
		c.week[i] = o.clamp(o.pods(busy))
	}
	return c
}

// hour is which of the week's hours a time belongs to.
func (c *cron) hour(t time.Time) int {
	t = t.In(c.location)
	return (int(t.Weekday())+6)%7*24 + t.Hour()
}

// Decide looks at the schedule.
func (c *cron) Decide(v View) int32 {
	return max(c.week[c.hour(v.Now)], c.week[c.hour(v.Now.Add(c.Ahead))])
}
