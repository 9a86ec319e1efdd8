# TMB on one case; the protocol is that of worker.py, and the data come as text.
#
#     Rscript with_tmb.R FAMILY STATES DATA STRIDE
#
# Every line of DATA is an array: its name, its sizes, its values row by row.

arguments <- commandArgs(trailingOnly = TRUE)
family <- arguments[1]
states <- as.integer(arguments[2])
stride <- as.numeric(arguments[4])
here <- dirname(sub("--file=", "", grep("--file=", commandArgs(), value = TRUE)))

suppressPackageStartupMessages(library(TMB))
say <- function(text) {
  cat(text, "\n", sep = "", file = stdout())
  flush(stdout())
}
peak <- function() {
  status <- readLines("/proc/self/status")
  as.numeric(gsub("[^0-9]", "", grep("VmHWM", status, value = TRUE))) * 1024 / 1e6
}
seconds <- function(call) {
  begun <- proc.time()[["elapsed"]]
  call()
  proc.time()[["elapsed"]] - begun
}

read <- function(line) {
  parts <- strsplit(line, ";")[[1]]
  size <- as.integer(strsplit(parts[2], ",")[[1]])
  values <- as.numeric(strsplit(parts[3], " ")[[1]])
  # R counts along the first axis first.
  list(name = parts[1], value = if (length(size) > 1) matrix(values, size[1], size[2], byrow = TRUE) else values)
}
arrays <- lapply(readLines(arguments[3]), read)
arrays <- setNames(lapply(arrays, `[[`, "value"), sapply(arrays, `[[`, "name"))

# The template is compiled once and kept beside its source.
source_file <- file.path(here, "with_tmb.cpp")
library_file <- dynlib(sub("\\.cpp$", "", source_file))
if (!file.exists(library_file) || file.mtime(library_file) < file.mtime(source_file))
  # In a process of its own, since what the compiler prints would be taken for a report.
  system2(
    file.path(R.home("bin"), "Rscript"),
    c("-e", shQuote(sprintf("TMB::compile('%s')", source_file))),
    stdout = FALSE
  )
dyn.load(library_file)

start <- peak()
begun <- proc.time()[["elapsed"]]
returns <- family == "volatility"
y <- if (returns) matrix(arrays[["data:y"]], ncol = 1) else t(arrays[["data:y"]])
middle <- if (returns) "atanh_phi" else "log_rate"
at <- unlist(arrays[paste0("point:", c("mu", middle, "log_sd"))], use.names = FALSE)
objective <- MakeADFun(
  data = list(
    returns = as.integer(returns), gap = diff(arrays[["data:times"]][1:2]), y = y,
    centres = arrays[["data:centres"]]
  ),
  parameters = list(
    mu = at[1], persistence = at[2], log_sd = at[3], x = array(0, c(states, dim(y)))
  ),
  random = "x", DLL = "with_tmb", silent = TRUE
)
built <- proc.time()[["elapsed"]]
value <- -objective$fn(at)
gradient <- -objective$gr(at)
first <- proc.time()[["elapsed"]]
say(sprintf(
  paste0(
    '{"build_s": %.17g, "first_call_s": %.17g, "value": %.17g, ',
    '"gradient": {"mu": %.17g, "%s": %.17g, "log_sd": %.17g}, ',
    '"versions": {"TMB": "%s", "R": "%s"}, "peak_mb": %.17g, "growth_mb": %.17g}'
  ),
  built - begun, first - built, value, gradient[1], middle, gradient[2], gradient[3],
  packageVersion("TMB"), getRversion(), peak(), peak() - start
))

# From one point to the next as in worker.py; the search for the paths begins at the best that were found.
chain <- function(calls) {
  point <- at
  total <- 0
  for (k in seq_len(calls)) {
    aside <- point + stride * (-1)^(k - 1)
    total <- total - objective$fn(aside)
    point <- point - 1e-12 * as.vector(objective$gr(aside))
  }
  total
}
each <- seconds(function() chain(3)) / 3
input <- file("stdin", "r")
while (length(line <- readLines(input, 1)) > 0) {
  wanted <- as.numeric(gsub('[^0-9.e-]', "", sub('.*:', "", line)))
  calls <- max(1, round(wanted / each))
  each <- seconds(function() chain(calls)) / calls
  say(sprintf('{"in_chain": %.17g, "lone": %.17g}', each, each))
}
