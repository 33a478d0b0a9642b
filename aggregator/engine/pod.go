package engine

// podKey names a pod on one node: a StatefulSet's pod of the same name that comes up elsewhere is another one.
type podKey struct{ namespace, name, node string }

// useKey is a device as one container uses it.
type useKey struct{ uuid, container string }

// pod is what the engine has of one pod.
type pod struct {
	// newest is its newest sample, in Unix milliseconds.
	newest int64
	uses   map[useKey]*use
}

// use is what one container did on one device.
type use struct {
	// listed is the newest sample that says the container holds the device.
	listed   int64
	recorded moments
	windows  []window
}

// window is a mean utilization over some milliseconds.
type window struct {
	start, end  int64
	utilization float64
}

func (p *pod) use(key useKey) *use {
	u := p.uses[key]
	if u == nil {
		u = &use{recorded: moments{}}
		p.uses[key] = u
	}
	return u
}

// settle makes windows of what was recorded. A window begins where the one before it ended; the first is taken to be as long as
// the second, and one that stands alone or after a gap as long as windows get.
func (p *pod) settle() {
	for _, u := range p.uses {
		times := u.recorded.times()
		for i, end := range times {
			length := longestBatch.Milliseconds()
			switch {
			case i > 0:
				length = min(length, end-times[i-1])
			case len(times) > 1:
				length = min(length, times[1]-end)
			}
			u.windows = append(u.windows, window{end - length, end, u.recorded[end]})
		}
		u.recorded = nil
		p.newest = max(p.newest, u.listed)
	}
}

// load sums over the pod's devices what lies after the given moment. It is false when the pod holds none that was heard of since
// oldest, or when of one it holds nothing is known there. Series of one batch reach the engine one after the other, so a device
// counts as held as long as its samples are young, not only while they are the newest.
func (p *pod) load(after, oldest int64) (Load, bool) {
	var out Load
	devices := map[string]bool{}
	for key, u := range p.uses {
		if u.listed < oldest {
			continue
		}
		mean, ok := u.mean(after)
		if !ok || u.windows[len(u.windows)-1].end < oldest {
			return Load{}, false
		}
		devices[key.uuid] = true
		out.BusyGPUs += mean
	}
	out.GPUs = len(devices)
	return out, len(devices) > 0
}

// devices is how many the pod was heard to hold since oldest.
func (p *pod) devices(oldest int64) int {
	held := map[string]bool{}
	for key, u := range p.uses {
		if u.listed >= oldest {
			held[key.uuid] = true
		}
	}
	return len(held)
}

// mean weighs each window by how much of it lies after the given moment.
func (u *use) mean(after int64) (float64, bool) {
	var sum, weight float64
	for _, w := range u.windows {
		if part := float64(w.end - max(w.start, after)); part > 0 {
			sum += part * w.utilization
			weight += part
		}
	}
	if weight == 0 {
		return 0, false
	}
	return sum / weight, true
}
