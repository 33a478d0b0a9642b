package app

import "github.com/foretide/foretide/agent/exporter"

// self gathers for the exporter how the rooms are doing.
func (p *parts) self() exporter.Self {
	d, ticks := p.devices.state(), p.sampler.Status()
	s := exporter.Self{NVMLUp: d.Up, NVMLState: d.State, NVMLStates: p.devices.states, Devices: d.Devices, HangingDevices: d.Hanging,
		KubeletUp: ticks.OwnersKnown, PodsAPIUp: p.pods.Served(), Problems: ticks.Problems, LastTick: ticks.Began}
	if p.scraper != nil {
		stats := p.scraper.Stats()
		s.Problems += len(p.scraper.Problems())
		s.Scraping = &exporter.Scraping{Targets: stats.Targets, Scrapes: map[string]uint64{}}
		ok := stats.Scrapes
		for reason, n := range stats.Failures {
			s.Scraping.Scrapes[string(reason)] = n
			ok -= n
		}
		s.Scraping.Scrapes["ok"] = ok
	}
	if p.stream != nil {
		kept := p.spool.Stats()
		up, of := p.stream.Connected()
		s.Sending = &exporter.Sending{Connected: up, Aggregators: of, SpoolBatches: kept.Batches, SpoolBytes: kept.Bytes, SpoolDiskBytes: kept.DiskBytes,
			SpoolAge: kept.OldestAge, Dropped: kept.Dropped, Refused: kept.Refused, Acknowledged: kept.Acknowledged, Deferred: kept.Deferred}
	}
	return s
}
