#!/usr/bin/python3
"""Exponential smoothing of statsmodels as a forecaster.

    exponential.py METHOD < tasks.jsonl > forecasts.jsonl

METHOD is holt-winters (additive day, damped trend; quantiles from 100 paths of resampled residuals) or stl-ets (STL takes the day
off, a damped additive ETS forecasts the rest with its own variance). Both look at the last 14 days. What fails is said on stderr.
"""
import json
import sys
import time
import warnings

import numpy as np
import pandas
import scipy.stats
from statsmodels.tsa.exponential_smoothing.ets import ETSModel
from statsmodels.tsa.holtwinters import ExponentialSmoothing
from statsmodels.tsa.seasonal import STL

DAYS = 14
PATHS = 100


def holt_winters(history, day, horizon, levels):
    """Fits level, damped trend and day; returns the path and a row of quantiles for each level."""
    model = ExponentialSmoothing(
        history, trend="add", damped_trend=True, seasonal="add", seasonal_periods=day, initialization_method="heuristic"
    )
    fitted = model.fit(method="L-BFGS-B", minimize_kwargs={"options": {"maxiter": 40}})
    paths = fitted.simulate(horizon, anchor="end", repetitions=PATHS, error="add", random_errors="bootstrap")
    return fitted.forecast(horizon), np.quantile(np.asarray(paths).reshape(horizon, PATHS), levels, axis=1)


def stl_ets(history, day, horizon, levels):
    """Forecasts what STL leaves, and repeats its last day on top."""
    seasonal = STL(history, period=day).fit().seasonal
    fitted = ETSModel(pandas.Series(history - seasonal), error="add", trend="add", damped_trend=True).fit(disp=False, maxiter=50)
    last = len(history) + horizon - 1
    variance = np.asarray(fitted.get_prediction(start=len(history), end=last).forecast_variance)
    path = np.asarray(fitted.forecast(horizon)) + np.resize(seasonal[-day:], horizon)
    return path, path + np.outer(scipy.stats.norm.ppf(levels), np.sqrt(variance))


METHODS = {"holt-winters": holt_winters, "stl-ets": stl_ets}


def row(values):
    """Rounds to six digits; demand is not below 0."""
    return [float(f"{max(0.0, v):.6g}") for v in values]


def answer(task, method):
    """Forecasts one task."""
    day = 86400 // task["step_seconds"]
    history = np.array(task["history"], dtype=float)[-DAYS * day :]
    history = history[len(history) % day :]
    begin = time.process_time()
    path, bands = method(history, day, task["horizon"], task["quantiles"])
    seconds = time.process_time() - begin
    quantiles = {str(level): row(band) for level, band in zip(task["quantiles"], bands)}
    return {"id": task["id"], "mean": row(path), "quantiles": quantiles, "seconds": round(seconds, 6)}


def main():
    """Answers every task on stdin."""
    warnings.simplefilter("ignore")
    np.random.seed(0)  # simulate draws from numpy's own generator
    method = METHODS[sys.argv[1]]
    for line in sys.stdin:
        task = json.loads(line)
        try:
            print(json.dumps(answer(task, method), separators=(",", ":")), flush=True)
        except Exception as error:  # whatever a fit may throw: the others are to go on
            print(f"{task['id']}: {error!r}", file=sys.stderr)


if __name__ == "__main__":
    main()
