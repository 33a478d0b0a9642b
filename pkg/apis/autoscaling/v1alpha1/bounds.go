package v1alpha1

import (
	"fmt"
	"time"

	"github.com/foretide/foretide/pkg/cron"
)

// TimeLayout is how startTime and endTime are written.
const TimeLayout = "2006-01-02 15:04:05"

// InstanceBounds are bounds that hold at certain times instead of spec.minReplicas and spec.maxReplicas.
//
// +kubebuilder:validation:XValidation:rule="!has(self.startTime) || !has(self.endTime) || self.startTime < self.endTime",messageExpression="'%s: must be after startTime (%s)'.format([self.endTime, self.startTime])",fieldPath=".endTime"
type InstanceBounds struct {
	// From when on these bounds are looked at, by the clock of spec.timeZone, such as `2026-12-16 00:00:00`. Default: always.
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01]) ([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]$`
	// +kubebuilder:validation:MaxLength=19
	// +optional
	StartTime string `json:"startTime,omitempty"`

	// Until when, that moment excluded. Default: for ever.
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01]) ([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]$`
	// +kubebuilder:validation:MaxLength=19
	// +optional
	EndTime string `json:"endTime,omitempty"`

	// The bounds and the minutes in which each holds.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=50
	// +listType=atomic
	// +required
	Bounds []CronBounds `json:"bounds"`
}

// CronBounds are bounds and the minutes in which they hold.
//
// +kubebuilder:validation:XValidation:rule="self.maxReplicas >= self.minReplicas",messageExpression="'%d: must be minReplicas (%d) or more'.format([self.maxReplicas, self.minReplicas])",fieldPath=".maxReplicas"
type CronBounds struct {
	// The minutes, as five fields: minute, hour, day of the month, month, day of the week. Each is `*` or `?` (any), or a list of
	// numbers, ranges and steps; months and weekdays have names, weekdays only names. `* 8-20 ? * MON-FRI` is from 8:00 to 20:59
	// on workdays. It says when the bounds hold, not when they begin.
	// +kubebuilder:validation:Pattern=`^\s*([*?]|[0-9*]+([-/][0-9]+)*(,[0-9*]+([-/][0-9]+)*)*)\s+([*?]|[0-9*]+([-/][0-9]+)*(,[0-9*]+([-/][0-9]+)*)*)\s+([*?]|[0-9*]+([-/][0-9]+)*(,[0-9*]+([-/][0-9]+)*)*)\s+([*?]|[0-9A-Za-z*]+([-/][0-9A-Za-z]+)*(,[0-9A-Za-z*]+([-/][0-9A-Za-z]+)*)*)\s+([*?]|[A-Za-z]{3}(-[A-Za-z]{3})?(,[A-Za-z]{3}(-[A-Za-z]{3})?)*)\s*$`
	// +kubebuilder:validation:MaxLength=200
	// +required
	Cron string `json:"cron"`

	// The fewest replicas in those minutes: 1 or more. Replicas are added in time: the largest minReplicas of the coming
	// prediction.scaleUpForward seconds holds already.
	// +kubebuilder:validation:Minimum=1
	// +required
	MinReplicas int32 `json:"minReplicas"`

	// The most replicas: minReplicas or more.
	// +kubebuilder:validation:Minimum=1
	// +required
	MaxReplicas int32 `json:"maxReplicas"`
}

func (b InstanceBounds) validate(path string, wrong func(field string, value any, allowed string, args ...any)) {
	for field, value := range map[string]string{"startTime": b.StartTime, "endTime": b.EndTime} {
		if _, err := time.Parse(TimeLayout, value); value != "" && err != nil {
			wrong(path+field, value, "a time as %s", TimeLayout)
		}
	}
	if b.StartTime != "" && b.EndTime != "" && b.EndTime <= b.StartTime {
		wrong(path+"endTime", b.EndTime, "after startTime (%s)", b.StartTime)
	}
	if len(b.Bounds) == 0 {
		wrong(path+"bounds", len(b.Bounds), "a list of at least one")
	}
	for i, c := range b.Bounds {
		at := fmt.Sprintf("%sbounds[%d].", path, i)
		if _, err := cron.Parse(c.Cron); err != nil {
			wrong(at+"cron", c.Cron, "a cron expression: %v", err)
		}
		if c.MinReplicas < 1 {
			wrong(at+"minReplicas", c.MinReplicas, "1 or more")
		} else if c.MaxReplicas < c.MinReplicas {
			wrong(at+"maxReplicas", c.MaxReplicas, "minReplicas (%d) or more", c.MinReplicas)
		}
	}
}
