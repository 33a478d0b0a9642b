package report

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Decision is an entry of the log: replicas changed, something began or ceased to be wrong, or nothing was decided for a while.
type Decision struct {
	At time.Time `json:"at"`
	// From and To are replicas; null where they are not known.
	From   Number `json:"from"`
	To     Number `json:"to"`
	Reason string `json:"reason"`
	Text   string `json:"text"`
}

const (
	mostDecisions = 200
	// silent is after how many minutes without a decision that is told.
	silent = 10
)

// why says the reasons in words; others stand for themselves.
var why = map[string]string{
	"Steady":              "the replicas are what is asked for",
	"ForecastDemand":      "the forecast asks for more than the present load",
	"ReactiveDemand":      "the present load asks for it",
	"ScaleDownStabilized": "fewer would do, but more were needed within the stabilization window",
	"KeptForForecast":     "fewer would do, but the forecast asks for more soon after",
	"ScaleUpStabilized":   "more are asked for, but not all along the stabilization window",
	"OutsideBounds":       "the replicas were outside the bounds",
	"Settling":            "the ready pods had just changed",
	"NoTelemetry":         "neither load nor forecast is known: held",
	"PartialTelemetry":    "fewer would do, but a metric, that of a pod, or a forecast is missing: held",
	"ScalingDisabled":     "the target has no replicas: someone switched it off",
	"InvalidPolicy":       "the policy cannot be followed: held",
	"TargetNotFound":      "the scale target is not there",
	"FailedGetScale":      "the scale target could not be read",
}

// troubles are the reasons that are told although replicas do not change.
var troubles = map[string]bool{
	"NoTelemetry": true, "PartialTelemetry": true, "ScalingDisabled": true, "InvalidPolicy": true, "TargetNotFound": true, "FailedGetScale": true,
}

// decisions are the newest first.
func decisions(in Input) []Decision {
	var out []Decision
	desired, reason, since := math.NaN(), "", -1 // since is the last minute in which something was decided
	for i, is := range in.Past.Reasons {
		if is == "" {
			continue
		}
		at, now := in.Past.Start.Add(time.Duration(i+1)*time.Minute).In(in.Location), in.Past.Desired[i]
		d := Decision{At: at, From: Number(desired), To: Number(now), Reason: is, Text: in.words(i)}
		changed := !math.IsNaN(now) && now != desired
		if since >= 0 && i-since > silent {
			d.Text = fmt.Sprintf("nothing was decided here for %v; then: %s", time.Duration(i-since)*time.Minute, d.Text)
			changed = true
		}
		if changed || is != reason && (troubles[is] || troubles[reason]) {
			out = append(out, d)
		}
		if !math.IsNaN(now) {
			desired = now
		}
		reason, since = is, i
	}
	for i, k := 0, len(out)-1; i < k; i, k = i+1, k-1 {
		out[i], out[k] = out[k], out[i]
	}
	return out[:min(len(out), mostDecisions)]
}

// words say why a minute's decision was what it was.
func (in Input) words(i int) string {
	text := why[in.Past.Reasons[i]]
	var asks []string
	for _, half := range []struct {
		who      string
		replicas float64
	}{{"forecast", in.Past.Proactive[i]}, {"load", in.Past.Reactive[i]}} {
		if !math.IsNaN(half.replicas) {
			asks = append(asks, fmt.Sprintf("%s %.0f", half.who, half.replicas))
		}
	}
	if len(asks) > 0 {
		text = strings.TrimSpace(text + " (asked for: " + strings.Join(asks, ", ") + ")")
	}
	return text
}
