"""The last layer of an encoder: a diagonal Gaussian q(z|x), and a sample of it, z = mean + exp(log_variance / 2) noise.

Kingma & Welling 2013 (arXiv:1312.6114), eq. 10.
"""

from torch import Tensor, nn

from saddlepoint.error import Mistake
from saddlepoint.turn import Condition

Posterior = tuple[Tensor, Tensor]  # mean and log variance, [N, dim] each


class GaussianPosterior(nn.Module):
    """Features [N, features] -> ({z: [N, dim]}, (mean, log_variance)).

    The sample uses the condition's entry `noise` [N, dim], standard normal: a named draw of the game, so that it is
    drawn once for the batch of all ranks.
    """

    def __init__(self, features: int, dim: int) -> None:
        super().__init__()
        self.mean, self.log_variance = nn.Linear(features, dim), nn.Linear(features, dim)

    def forward(self, features: Tensor, condition: Condition) -> tuple[dict[str, Tensor], Posterior]:
        """Return a sample of q(z|x), and its mean and log variance.  Raises Mistake if the condition has no noise.

        Also raises it if the noise has another size than the code.
        """
        mean, log_variance = self.mean(features), self.log_variance(features)
        if "noise" not in condition:
            raise Mistake(
                "the encoder samples a posterior by the condition noise, which this game does not have: set "
                "architecture.encoder.posterior=false (game=bigan), or use game=vae, binary_vae or vae_gan"
            )
        noise = condition["noise"]
        if noise.shape[1] != mean.shape[1]:
            raise Mistake(
                f"the encoder makes codes of {mean.shape[1]} numbers, and the noise of its posterior has "
                f"{noise.shape[1]}: set architecture.encoder.dim to the size of the latent, whose prior must be one "
                "normal part (prior=[normal])"
            )
        return {"z": mean + (log_variance / 2).exp() * noise}, (mean, log_variance)
