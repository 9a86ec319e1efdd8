# Phenobarbital in 59 neonates: the fits that examples/phenobarbital.py quotes.
#
# Run it with `Rscript examples/nlme/phenobarbital.R`, where R has nlme (Debian: r-cran-nlme).

library(nlme)
options(contrasts = c("contr.treatment", "contr.poly"))
cat(R.version.string, "with nlme", as.character(packageVersion("nlme")), "\n")

neonates <- Phenobarb
neonates$lWt <- log(neonates$Wt)

# The covariate model of Pinheiro and Bates (2000), section 6.4, has the weight itself where this one
# has its logarithm. nlme goes back and forth between two estimates of theirs and never stops; the
# script of that chapter which comes with nlme leaves it out, saying so. This one stops.
fit <- function(fixed, start) {
  nlme(conc ~ phenoModel(Subject, time, dose, lCl, lV),
    data = neonates, fixed = fixed, random = pdDiag(lCl + lV ~ 1),
    start = start, na.action = NULL, naPattern = ~ !is.na(conc)
  )
}

cat("\nNo covariates\n")
print(fit(lCl + lV ~ 1, c(-5, 0)))

cat("\nLog weight and Apgar score\n")
covariates <- fit(list(lCl ~ lWt, lV ~ lWt + ApgarInd), c(-5, 1, 0, 1, 0))
print(summary(covariates))
cat("\nEstimates\n")
print(fixef(covariates), digits = 4)
print(VarCorr(covariates), digits = 4)

# phenoModel adds the doses of the rows above a row, so that rows decide between trough and peak.
both <- merge(
  subset(neonates, !is.na(conc), c("Subject", "time")),
  subset(neonates, !is.na(dose), c("Subject", "time"))
)
cat("\nConcentrations at the very time of a dose:", nrow(both), "\n")
