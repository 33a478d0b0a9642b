// Package attribution says how much of each device each owner used. It is pure: no clock, no I/O.
//
//	readings + owners → usages
//
// What is given to owners and what is not always adds up to the reading: nothing is counted twice, nothing is made up.
package attribution

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/foretide/foretide/pkg/telemetry"
)

// Attribute returns what every owner used of the devices it holds, ordered as the readings are, and names what could not be
// told.
//
//	owners of the device | reading | usage
//	none                 | any     | none: the reading is not attributed
//	one                  | any     | the whole reading, also when it is 0
//	several              | any     | none, and a problem
//	any                  | none    | none, and a problem
func Attribute(readings []telemetry.Reading, owners map[string][]telemetry.Owner) ([]telemetry.Usage, []string) {
	var usages []telemetry.Usage
	var problems []string
	read := make(map[string]bool, len(readings))
	for _, r := range readings {
		read[r.Device.UUID] = true
		switch holders := owners[r.Device.UUID]; len(holders) {
		case 0:
		case 1:
			usages = append(usages, telemetry.Usage{
				Owner: holders[0], DeviceUUID: r.Device.UUID, Attribution: telemetry.AttributionExclusive, Values: r.Values,
			})
		default:
			problems = append(problems, fmt.Sprintf("attribution: device %s is held by %s together: not attributed",
				r.Device.UUID, names(holders)))
		}
	}
	for _, uuid := range slices.Sorted(maps.Keys(owners)) {
		if !read[uuid] && len(owners[uuid]) > 0 {
			problems = append(problems, fmt.Sprintf("attribution: device %s of %s was not read", uuid, names(owners[uuid])))
		}
	}
	return usages, problems
}

func names(owners []telemetry.Owner) string {
	texts := make([]string, len(owners))
	for i, o := range owners {
		texts[i] = fmt.Sprintf("%s/%s (%s)", o.Namespace, o.Pod, o.Container)
	}
	return strings.Join(texts, ", ")
}
