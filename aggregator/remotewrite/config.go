package remotewrite

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
)

// instanceLabel tells the series of one aggregator from those of another where the user's configuration has no external labels.
const instanceLabel = "aggregator"

// Config says what is sent where.
type Config struct {
	externalLabels labels.Labels
	writes         []*config.RemoteWriteConfig
}

// Load reads a file in the form of Prometheus' own configuration, of which global.external_labels and remote_write are taken:
// every way to log in, queue_config, write_relabel_configs and protobuf_message (which chooses 2.0) are Prometheus'. Paths in it
// are relative to the file; $NAME in an external label is that environment variable. Without external labels the series get
// aggregator=<instance>. An error names what is wrong.
func Load(file, instance string) (*Config, error) {
	read, err := config.LoadFile(file, false, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	out, err := take(read, instance)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", file, err)
	}
	return out, nil
}

// ForURL is the configuration for an engine that asks for no login: all of the project's own series, in protocol 1.0.
func ForURL(address, instance string) (*Config, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%q is no URL: it must be like http://engine:9090/api/v1/write", address)
	}
	// A second, not Prometheus' five: a leader that decides from the engine waits for it.
	read, err := config.Load(fmt.Sprintf(`
remote_write:
- url: %q
  queue_config: {batch_send_deadline: 1s}
  write_relabel_configs:
  - {source_labels: [__name__], regex: foretide_.*, action: keep}
`, u), slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	return take(read, instance)
}

func take(c *config.Config, instance string) (*Config, error) {
	if len(c.RemoteWriteConfigs) == 0 {
		return nil, errors.New("remote_write is empty: it must list at least one url")
	}
	for section, given := range map[string]bool{
		"scrape_configs":      len(c.ScrapeConfigs) > 0,
		"scrape_config_files": len(c.ScrapeConfigFiles) > 0,
		"rule_files":          len(c.RuleFiles) > 0,
		"alerting":            len(c.AlertingConfig.AlertmanagerConfigs) > 0,
		"remote_read":         len(c.RemoteReadConfigs) > 0,
	} {
		if given {
			return nil, fmt.Errorf("%s has no meaning here: only global.external_labels and remote_write are read", section)
		}
	}
	out := &Config{externalLabels: c.GlobalConfig.ExternalLabels, writes: c.RemoteWriteConfigs}
	if out.externalLabels.IsEmpty() {
		out.externalLabels = labels.FromStrings(instanceLabel, instance)
	}
	return out, nil
}
