# Indomethacin in six subjects: the fits that examples/indometh.py quotes.
#
# Run it with `Rscript examples/nlme/indometh.R`, where R has nlme (Debian: r-cran-nlme).

library(nlme)
cat(R.version.string, "with nlme", as.character(packageVersion("nlme")), "\n")

# Pinheiro and Bates (2000), section 6.2: the sum of two exponentials, noise of one size throughout.
cat("\nConstant noise on the concentration\n")
by_subject <- nlsList(conc ~ SSbiexp(time, A1, lrc1, A2, lrc2), data = Indometh)
independent <- nlme(by_subject,
  random = pdDiag(A1 + lrc1 + A2 ~ 1), control = list(tolerance = 1e-4)
)
constant <- update(independent, random = A1 + lrc1 + A2 ~ 1)
print(constant)

# The same curves by compartments, noise proportional to the concentration. Named as in the example.
log_conc <- function(time, log_cl, log_v1, log_q, log_v2) {
  elimination <- exp(log_cl - log_v1)
  out <- exp(log_q - log_v1)
  back <- exp(log_q - log_v2)
  total <- elimination + out + back
  root <- sqrt(total^2 - 4 * elimination * back)
  fast <- (total + root) / 2
  slow <- (total - root) / 2
  left <- ((fast - back) * exp(-fast * time) + (back - slow) * exp(-slow * time)) / (fast - slow)
  log(25) - log_v1 + log(left)
}

cat("\nConstant noise on the log of the concentration\n")
subjects <- as.data.frame(Indometh)
subjects$Subject <- factor(as.character(subjects$Subject))
proportional <- nlme(log(conc) ~ log_conc(time, log_cl, log_v1, log_q, log_v2),
  data = subjects, groups = ~Subject, fixed = log_cl + log_v1 + log_q + log_v2 ~ 1,
  random = log_cl + log_v1 + log_q + log_v2 ~ 1,
  start = c(log_cl = 2, log_v1 = 2, log_q = 2, log_v2 = 3),
  control = list(tolerance = 1e-4, maxIter = 300)
)
print(proportional)

cat("\nEstimates\n")
print(fixef(proportional), digits = 4)
print(VarCorr(proportional), digits = 4)
jacobian <- -sum(log(subjects$conc))
cat(
  "\nLog-likelihoods of the concentrations:", format(c(logLik(constant))), "constant,",
  format(c(logLik(proportional)) + jacobian), "proportional\n"
)
