# One model in lme4 or nlme: seconds of the call, and its log-likelihood.
#
#     Rscript with_lme4.R MODEL TABLE

arguments <- commandArgs(trailingOnly = TRUE)
model <- arguments[1]
suppressPackageStartupMessages({
  library(nlme)
  library(lme4)
})
if (model %in% c("radon", "counts")) table <- read.csv(arguments[2])

begun <- proc.time()
fit <- switch(model,
  radon = lmer(y ~ floor + (1 | county), table, REML = FALSE),
  counts = glmer(y ~ x + (1 | subject), table, family = poisson),
  phenobarbital = {
    neonates <- Phenobarb
    neonates$lWt <- log(neonates$Wt)
    nlme(conc ~ phenoModel(Subject, time, dose, lCl, lV),
      data = neonates, fixed = list(lCl ~ lWt, lV ~ lWt + ApgarInd),
      random = pdDiag(lCl + lV ~ 1), start = c(-5, 1, 0, 1, 0),
      na.action = NULL, naPattern = ~ !is.na(conc)
    )
  },
  theophylline = nlme(conc ~ SSfol(Dose, Time, lKe, lKa, lCl),
    data = Theoph, fixed = lKe + lKa + lCl ~ 1, random = pdDiag(lKa + lCl ~ 1),
    start = c(lKe = -2.5, lKa = 0.5, lCl = -3.2)
  )
)
took <- proc.time() - begun
cat(sprintf(
  "%.2f s, cpu %.2f s, log-likelihood %.5f\n",
  took[["elapsed"]], took[["user.self"]] + took[["sys.self"]], as.numeric(logLik(fit))
))
