// Panels of counts, and returns, whose log-mean or log-variance is a latent path of one or two
// states; TMB integrates the paths out by Laplace's approximation. All priors have a standard
// deviation of 1. Data (time, subject), paths (state, time, subject).
#include <TMB.hpp>

template<class Type>
Type objective_function<Type>::operator() ()
{
  DATA_INTEGER(returns);  // 1: returns in discrete time; 0: counts in continuous time
  DATA_SCALAR(gap);
  DATA_MATRIX(y);
  DATA_VECTOR(centres);  // of the priors
  PARAMETER(mu);
  PARAMETER(persistence);  // atanh(phi) of returns, log(rate) of counts
  PARAMETER(log_sd);
  PARAMETER_ARRAY(x);

  int states = x.dim[0], times = y.rows(), subjects = y.cols();
  Type sd = exp(log_sd), rate = exp(persistence);
  Type value = dnorm(mu, centres(0), Type(1), true);
  value += dnorm(persistence, centres(1), Type(1), true);
  value += dnorm(log_sd, centres(2), Type(1), true);

  if (states == 1) {
    Type decay = returns ? tanh(persistence) : exp(-rate * gap);
    Type width = sqrt(1 - decay * decay);
    Type stationary = returns ? Type(sd / width) : sd;
    Type kick = returns ? sd : Type(sd * width);
    for (int i = 0; i < subjects; i++) {
      value += dnorm(x(0, 0, i), Type(0), stationary, true);
      for (int k = 1; k < times; k++)
        value += dnorm(x(0, k, i), decay * x(0, k - 1, i), kick, true);
    }
  } else {
    matrix<Type> F(2, 2), P(2, 2);
    Type decay = exp(-rate * gap);
    F << 1 + rate * gap, gap, -rate * rate * gap, 1 - rate * gap;
    F *= decay;
    P << sd * sd, Type(0), Type(0), sd * sd * rate * rate;
    matrix<Type> Q = P - F * P * F.transpose();
    density::MVNORM_t<Type> first(P), kick(Q);
    vector<Type> here(2), before(2);
    for (int i = 0; i < subjects; i++) {
      before << x(0, 0, i), x(1, 0, i);
      value -= first(before);
      for (int k = 1; k < times; k++) {
        here << x(0, k, i), x(1, k, i);
        value -= kick(vector<Type>(here - F * before));
        before = here;
      }
    }
  }
  for (int i = 0; i < subjects; i++)
    for (int k = 0; k < times; k++) {
      Type at = mu + x(0, k, i);
      value += returns ? dnorm(y(k, i), Type(0), exp(at / 2), true)
                       : dpois(y(k, i), exp(at), true);
    }
  return -value;
}
