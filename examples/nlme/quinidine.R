# Quinidine in 136 patients: the fit that examples/quinidine.py quotes.
#
# Run it with `Rscript examples/nlme/quinidine.R`, where R has nlme (Debian: r-cran-nlme).

library(nlme)
options(contrasts = c("contr.treatment", "contr.poly"))
cat(R.version.string, "with nlme", as.character(packageVersion("nlme")), "\n")

# Pinheiro and Bates (2000), section 8.2.2, fm2Quin.nlme: clearance depends on the protein. The sd of
# the volume between patients runs to zero.
patients <- Quinidine
patients$protein <- patients$glyco - 1.3
fit <- nlme(
  conc ~ quinModel(Subject, time, conc, dose, interval, lV, lKa, lCl),
  data = patients, fixed = list(lCl ~ protein, lV + lKa ~ 1),
  random = pdDiag(diag(c(0.3, 0.3)), form = lV + lCl ~ 1), groups = ~Subject,
  start = list(fixed = c(2.5, 0, 5.4, -0.2)),
  na.action = NULL, naPattern = ~ !is.na(conc)
)
print(summary(fit))
cat("\nEstimates\n")
print(fixef(fit), digits = 5)
print(VarCorr(fit), digits = 5)
