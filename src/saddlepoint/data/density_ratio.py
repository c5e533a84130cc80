"""Importance weights of biased samples from a small unbiased set: Choi et al. 2020 (arXiv:1910.12008), section 3.

    w(x) = p_ref(x) / p_bias(x) = gamma c(x) / (1 - c(x)),        gamma = n_bias / n_ref,        E_bias[w] = 1

c(x) is the probability, by a classifier of both sets, that x is a reference sample.  It is

    a logistic regression on the samples, averaged to 8 x 8 cells, l2-regularised (C = 0.01),
    cross-fitted: five folds, and each sample's logit is that of the fit without its fold,
    calibrated: Platt scaling of these logits, another logistic regression of one number (Platt 1999).

C was chosen on the coloured digits from .001, .01, .1 and 1, by comparing the weights with the oracle's; on other
data nothing was compared.  The paper trains a convolutional network.  With cross-fitting each weight is that of a
held-out sample, although all samples are used: a network may fit the few reference samples exactly.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

CELLS, FOLDS, C = 8, 5, 0.01


def density_ratio(biased: Tensor, reference: Tensor, seed: int) -> Tensor:
    """Return w of each of the biased samples, float32 [n], above 0; both sets are uint8 images [n, C, H, W].

    seed   of the folds
    Raises ValueError if either set has fewer samples than there are folds.
    """
    from sklearn.linear_model import LogisticRegression  # takes a second, so only if weights are computed
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    n = len(biased)
    cells = adaptive_avg_pool2d(torch.cat([biased, reference]).to(torch.float64) / 255, CELLS).flatten(1).numpy()
    is_reference = np.arange(n + len(reference)) >= n
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    regression = LogisticRegression(C=C, max_iter=1000)
    held_out_logit = cross_val_predict(regression, cells, is_reference, cv=folds, method="decision_function")
    scores = np.asarray(held_out_logit, np.float64).reshape(-1, 1)
    platt = LogisticRegression(C=np.inf).fit(scores, is_reference)
    logit = platt.decision_function(scores[:n])  # log c / (1 - c)
    return torch.from_numpy(n / len(reference) * np.exp(logit)).to(torch.float32)
