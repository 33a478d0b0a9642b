package scaling

// settledRatio is the ratio and the pods as they are without the extra pods of a rollout. Those share the load for a while, which
// looks like a load that fell. They are taken out only where that keeps more replicas: a load that pods make by starting raises nothing.
func (l load) settledRatio(ratio float64) (float64, int) {
	if ratio >= 1 || l.current < 1 || l.known <= int(l.current) {
		return ratio, l.known
	}
	return min(1, l.ratio(l.uses, l.holds*float64(l.current)/float64(l.known))), int(l.current)
}
