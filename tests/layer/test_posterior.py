"""The Gaussian posterior of an encoder: a reparametrised sample of it, by torch's Normal."""

import torch
from torch.distributions import Normal

from saddlepoint.layer.posterior import GaussianPosterior


def test_a_sample_of_noise_is_the_sample_of_torchs_normal() -> None:
    torch.manual_seed(0)
    posterior = GaussianPosterior(5, 3)
    features, noise = 3 * torch.randn(7, 5), torch.randn(7, 3)
    code, (mean, log_variance) = posterior(features, {"noise": noise})
    torch.testing.assert_close(mean, posterior.mean(features))
    normal = Normal(mean, log_variance.exp().sqrt())
    standard = Normal(0.0, 1.0)
    torch.testing.assert_close(normal.cdf(code["z"]), standard.cdf(noise), rtol=1e-4, atol=1e-5)
