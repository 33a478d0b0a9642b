package app

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/foretide/foretide/pkg/telemetry"
)

func TestLoadOfAPodReachesTheAggregatorAndMetrics(t *testing.T) {
	w := newWorld(t)
	w.scenario.Devices[3].UtilizationGPUPercent = 37
	w.play()
	w.holders[w.scenario.Devices[3].UUID] = "bert-0"
	w.startKubelet()
	w.startAggregator("127.0.0.1:0")
	stop := w.startAgent()

	b := w.batch("a usage of bert-0", func(b telemetry.Batch) bool { return len(b.Usages) == 1 })
	if b.Node != "node-1" || b.Session == "" || !b.OwnersKnown || len(b.Readings) != 8 || len(b.Problems) != 0 {
		t.Errorf("batch = %+v", b)
	}
	if u := b.Usages[0]; u.Owner.Pod != "bert-0" || u.DeviceUUID != w.scenario.Devices[3].UUID || u.Values[telemetry.UtilizationMean] != 0.37 {
		t.Errorf("usage = %+v", u)
	}
	w.scenario.Devices[3].UtilizationGPUPercent = 90
	w.play()
	w.batch("the new load", func(b telemetry.Batch) bool {
		return len(b.Usages) == 1 && b.Usages[0].Values[telemetry.UtilizationMean] == 0.9
	})
	for path, want := range map[string]string{
		"/healthz": "ok: the last tick began",
		"/readyz":  "ok: ",
		"/metrics": `foretide_pod_utilization_ratio{container="model",namespace="default",pod="bert-0",uuid="` + w.scenario.Devices[3].UUID + `"} 0.9`,
	} {
		if code, body := w.get(path); code != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	w.eventually("the stream is up", func() bool {
		_, body := w.get("/metrics")
		return strings.Contains(body, "foretide_agent_streams_connected 1") && strings.Contains(body, "foretide_agent_nvml_up 1") &&
			strings.Contains(body, "foretide_agent_kubelet_up 1") && strings.Contains(body, "foretide_agent_devices 8")
	})
	if err := stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if strings.Contains(w.log.String(), "has not acknowledged everything") {
		t.Errorf("something was left unsent:\n%s", w.log.String())
	}
}

func TestSequencesHaveNoHoleOverAnOutageOfTheAggregator(t *testing.T) {
	w := newWorld(t)
	w.startKubelet()
	kill := w.startAggregator("127.0.0.1:0")
	w.mu.Lock()
	w.mute = true
	w.mu.Unlock()
	stop := w.startAgent()
	w.batch("the fifth batch", func(b telemetry.Batch) bool { return b.Sequence == 5 })
	kill()
	w.mu.Lock()
	w.got, w.mute = nil, false // nothing was acknowledged, so nothing was kept
	w.mu.Unlock()
	w.startAggregator(w.options.AggregatorAddress)
	w.batch("the twelfth batch", func(b telemetry.Batch) bool { return b.Sequence == 12 })
	if err := stop(); err != nil {
		t.Error(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, b := range w.got {
		if b.Sequence != uint64(i+1) {
			t.Fatalf("batch %d has sequence %d", i, b.Sequence)
		}
		if i > 0 && b.Start.Before(w.got[i-1].End) {
			t.Errorf("window %d starts at %v, the one before ended at %v", i, b.Start, w.got[i-1].End)
		}
	}
}

func TestNodeWithoutLibraryKubeletAndAggregatorIsReadyAndSaysWhatIsMissing(t *testing.T) {
	w := newWorld(t)
	w.options.NVMLLibraryPath = filepath.Join(w.dir, "none.so")
	w.options.AggregatorAddress, w.options.AggregatorCAFile = "127.0.0.1:1", filepath.Join(w.dir, "none.crt")
	w.startAgent()
	w.eventually("ready", func() bool { code, _ := w.get("/readyz"); return code == 200 })
	if code, body := w.get("/healthz"); code != 200 {
		t.Errorf("/healthz: %d %s", code, body)
	}
	_, metrics := w.get("/metrics")
	for _, want := range []string{`foretide_agent_nvml_state{state="library_missing"} 1`, "foretide_agent_nvml_up 0",
		"foretide_agent_kubelet_up 0", "foretide_agent_problems 2", "foretide_agent_streams_connected 0"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s in\n%s", want, metrics)
		}
	}
	w.eventually("the log names all three", func() bool {
		log := w.log.String()
		return strings.Contains(log, "none.so") && strings.Contains(log, "kubelet.sock does not exist") && strings.Contains(log, "none.crt")
	})
}

func TestDCGMsNamesAreLeftOutWhenTheFlagSaysSo(t *testing.T) {
	for _, wanted := range []bool{true, false} {
		w := newWorld(t)
		w.options.WebDCGMNames = wanted
		stop := w.startAgent()
		w.eventually("devices are shown", func() bool {
			_, body := w.get("/metrics")
			return strings.Contains(body, "foretide_device_utilization_ratio{")
		})
		if _, body := w.get("/metrics"); strings.Contains(body, "DCGM_") != wanted {
			t.Errorf("--web.dcgm-names=%v:\n%s", wanted, body)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
}

func TestKubeletThatComesLaterIsUsed(t *testing.T) {
	w := newWorld(t)
	w.holders[w.scenario.Devices[0].UUID] = "bert-0"
	w.startAggregator("127.0.0.1:0")
	w.startAgent()
	b := w.batch("owners not known", func(b telemetry.Batch) bool { return !b.OwnersKnown })
	if len(b.Readings) != 8 || b.Usages != nil {
		t.Errorf("batch = %+v; want readings without usages", b)
	}
	w.startKubelet()
	w.batch("the owner", func(b telemetry.Batch) bool { return b.OwnersKnown && len(b.Usages) == 1 })
}

func TestWithoutAnAggregatorOnlyMetricsAreServed(t *testing.T) {
	w := newWorld(t)
	w.startKubelet()
	stop := w.startAgent()
	w.eventually("devices are shown", func() bool {
		_, body := w.get("/metrics")
		return strings.Contains(body, "foretide_device_utilization_ratio{") && !strings.Contains(body, "foretide_agent_spool")
	})
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestTakenAddressIsNamed(t *testing.T) {
	w := newWorld(t)
	w.startAgent()
	o := w.options
	o.Listener, o.WebListenAddress = nil, w.address
	if err := Run(t.Context(), o, nil); err == nil || !strings.Contains(err.Error(), "--web.listen-address") {
		t.Errorf("error = %v", err)
	}
}
