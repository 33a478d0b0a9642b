package scaling

import "time"

// Largest is the largest recommendation made within a length up to now; false when none was. It is what replicas come down to
// when nothing else is recommended, however many there are now, and so what a policy has decided as long as it stays the same.
func (w *Window) Largest(now time.Time, length time.Duration) (int32, bool) {
	return w.max(now, length)
}
