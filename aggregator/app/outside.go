package app

import (
	"fmt"
	"time"

	"github.com/foretide/foretide/aggregator/external"
	"github.com/foretide/foretide/aggregator/forecast"
)

// methodExternal names the forecasts of another in status, metrics and on the page.
const methodExternal = "external"

// askOutside adds the asking of a forecaster elsewhere, where the user names one.
func (a *aggregator) askOutside() error {
	o := a.options
	if o.ForecastURL == "" {
		return nil
	}
	forecaster, err := external.New(external.Options{
		URL: o.ForecastURL, HTTPConfigFile: o.ForecastHTTPFile, Timeout: o.ForecastTimeout, Logger: a.log, Registerer: a.registry,
	})
	if err != nil {
		return fmt.Errorf("--forecast.url, --forecast.http-config-file: %w", err)
	}
	a.outside = outside{forecaster}
	a.add("external forecaster", forecaster.Run)
	return nil
}

// outside is a forecaster elsewhere as the controller's Outside.
type outside struct{ forecaster *external.Forecaster }

func (o outside) Ask(id string, s forecast.Series, horizon int, levels []float64) {
	o.forecaster.Ask(toTask(id, s, horizon, levels))
}

func toTask(id string, s forecast.Series, horizon int, levels []float64) external.Task {
	task := external.Task{
		ID: id, Step: s.Step, Origin: s.End, Horizon: horizon, Quantiles: levels, History: s.Values, Saturated: s.Saturated,
		Days: make(map[string]string, len(s.Calendar.Days)), Scales: make(map[string]float64, len(s.Calendar.Scales)),
	}
	if zone := s.Calendar.Location; zone != nil && zone != time.UTC {
		task.TimeZone = zone.String()
	}
	for date, like := range s.Calendar.Days {
		task.Days[date.String()] = like.String()
	}
	for date, times := range s.Calendar.Scales {
		task.Scales[date.String()] = times
	}
	return task
}

func (o outside) Answer(id string) (forecast.Forecast, bool) {
	a, ok := o.forecaster.Answer(id)
	if !ok {
		return forecast.Forecast{}, false
	}
	return forecast.Forecast{Start: a.Origin, Step: a.Step, Levels: a.Levels, Mean: a.Mean, Quantiles: a.Quantiles, Method: methodExternal}, true
}
