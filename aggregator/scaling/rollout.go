package scaling

// settledRatio is the ratio and the pods as they are without the extra pods of a rollout. Those share the load for a while, which
// looks like a load that fell. They are taken out only where that keeps more replicas: a load that pods make by starting raises nothing.
func (l load) settledRatio(p Policy, ratio float64, current int32) (float64, int) {
	if ratio >= 1 || current < 1 || l.known <= int(current) {
		return ratio, l.known
	}
	without := percentOf(l.busy, l.gpus*float64(current)/float64(l.known))
	return min(1, float64(without)/float64(p.TargetPercent)), int(current)
}
