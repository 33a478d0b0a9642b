package forecast

import "time"

// Calendar is what is known of the days of a series. The zero Calendar is a clock that never changes and no special days.
type Calendar struct {
	// Location is whose clock the people live by who make the demand; nil is UTC. Its days begin at its midnight, and where its
	// clocks change, habits move with them.
	Location *time.Location
	// Days are those on which demand resembles that of another weekday than their own: a holiday is like a Sunday.
	Days map[Date]time.Weekday
}

// Date is a day of a Calendar's Location.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}
