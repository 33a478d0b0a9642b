package forecast

// bucket is the leads [from, to); those looked at are backtest.leads[first:last].
type bucket struct {
	from, to, first, last int
	center                float64
	errors, weights       []float64 // [component]; weights add up to 1
	plain, scaled         []float64 // [level] quantiles of the residuals, as they are and divided by spread
	miss, demand          float64   // mean absolute residual, and mean of what it was of
	bias, calm            float64   // mean and mean absolute of the newest residuals, by miss
}

// buckets are all leads, the nearest first.
type buckets []bucket

// position finds the bucket whose center is at or before lead j, and how far j is on the way to the next center.
func (b buckets) position(j int) (k int, share float64) {
	x := float64(j)
	for k+1 < len(b) && b[k+1].center <= x {
		k++
	}
	if x <= b[k].center || k+1 == len(b) {
		return k, 0
	}
	return k, (x - b[k].center) / (b[k+1].center - b[k].center)
}

// mix interpolates the weights of the components at lead j between the centers of the buckets.
func (b buckets) mix(j int, w []float64) {
	k, share := b.position(j)
	left, right := b[k].weights, b[min(k+1, len(b)-1)].weights
	for c := range w {
		w[c] = left[c] + share*(right[c]-left[c])
	}
}

// spreadOut writes the quantiles around the mean of step i, at lead j, to bands [level][step].
func (b buckets) spreadOut(i, j int, mean, spread float64, bands [][]float64) {
	k, share := b.position(j)
	left, right := &b[k], &b[min(k+1, len(b)-1)]
	lowest := 0.0
	for l := range bands {
		plain := left.plain[l] + share*(right.plain[l]-left.plain[l])
		scaled := left.scaled[l] + share*(right.scaled[l]-left.scaled[l])
		lowest = max(lowest, mean+(1-timeOfDay)*plain+timeOfDay*scaled*spread) // never below the level before, or 0
		bands[l][i] = lowest
	}
}

// shares are the weights of the components, mean over the leads.
func (b buckets) shares(parts int) []float64 {
	shares := make([]float64, parts)
	for _, u := range b {
		for c, w := range u.weights {
			shares[c] += w * float64(u.to-u.from) / float64(b[len(b)-1].to)
		}
	}
	return shares
}

// missed is the mean absolute residual as a share of demand, each lead counting the same.
func (b buckets) missed() float64 {
	sum := 0.0
	for _, u := range b {
		if u.demand > 0 {
			sum += u.miss / u.demand * float64(u.to-u.from) / float64(b[len(b)-1].to)
		}
	}
	return sum
}

// dot adds up in two halves, so that one sum need not wait for the other: it is what a backtest does most.
func dot(a, b []float64) float64 {
	b = b[:len(a)]
	even, odd, i := 0.0, 0.0, 0
	for ; i+3 < len(a); i += 4 {
		even += a[i]*b[i] + a[i+2]*b[i+2]
		odd += a[i+1]*b[i+1] + a[i+3]*b[i+3]
	}
	for ; i < len(a); i++ {
		even += a[i] * b[i]
	}
	return even + odd
}

// blank returns room for a forecast: quantiles [level][step].
func blank(levels, horizon int) [][]float64 {
	bands := make([][]float64, levels)
	for l := range bands {
		bands[l] = make([]float64, horizon)
	}
	return bands
}
