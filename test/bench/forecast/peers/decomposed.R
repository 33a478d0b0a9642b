# R's forecast package as a forecaster: mstl takes day and week off, ETS or theta forecasts the rest.
#
#   Rscript decomposed.R METHOD < tasks.jsonl > forecasts.jsonl
#
# METHOD is ets or theta. The week is taken off where two are known. What fails is said on stderr.
suppressMessages({
  library(forecast)
  library(jsonlite)
})

# Intervals of 20, 40 … percent have the deciles as their ends; 90 and 98 percent those of .95 and .99.
intervals <- c(20, 40, 60, 80, 90, 98)
upper <- c("0.6", "0.7", "0.8", "0.9", "0.95", "0.99")
lower <- c("0.4", "0.3", "0.2", "0.1", "0.05", "0.01")

# seasonal_path repeats the last day and the last week of what mstl found.
seasonal_path <- function(parts, periods, horizon) {
  path <- rep(0, horizon)
  columns <- grep("^Seasonal", colnames(parts))
  for (i in seq_along(columns)) {
    path <- path + rep(tail(as.numeric(parts[, columns[i]]), periods[i]), length.out = horizon)
  }
  path
}

predict_task <- function(task, method) {
  day <- 86400 / task$step_seconds
  periods <- if (length(task$history) >= 14 * day) c(day, 7 * day) else day
  series <- msts(task$history, periods)
  if (method == "ets") {
    return(stlf(series, h = task$horizon, level = intervals))
  }
  parts <- mstl(series)
  made <- thetaf(ts(as.numeric(seasadj(parts))), h = task$horizon, level = intervals)
  path <- seasonal_path(parts, periods, task$horizon)
  made$mean <- made$mean + path
  made$lower <- made$lower + path
  made$upper <- made$upper + path
  made
}

# row rounds to six digits; demand is not below 0.
row <- function(values) pmax(0, signif(as.numeric(values), 6))

answer <- function(task, method) {
  begin <- proc.time()
  made <- predict_task(task, method)
  seconds <- sum((proc.time() - begin)[1:2])
  quantiles <- list("0.5" = row(made$mean))
  for (i in seq_along(intervals)) {
    quantiles[[lower[i]]] <- row(made$lower[, i])
    quantiles[[upper[i]]] <- row(made$upper[, i])
  }
  list(id = unbox(task$id), mean = row(made$mean), quantiles = quantiles, seconds = unbox(seconds))
}

method <- match.arg(commandArgs(TRUE)[1], c("ets", "theta"))
tasks <- file("stdin", "r")
while (length(line <- readLines(tasks, 1)) > 0) {
  task <- fromJSON(line)
  made <- tryCatch(answer(task, method), error = function(e) {
    cat(task$id, ": ", conditionMessage(e), "\n", sep = "", file = stderr())
    NULL
  })
  if (!is.null(made)) {
    cat(toJSON(made, digits = NA), "\n", sep = "")
  }
}
