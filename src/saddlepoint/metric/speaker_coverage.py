"""Speaker coverage: how many speakers are heard in the fakes, by a classifier of speakers.

    speaker_coverage      #{k : q_k >= p_k / 2}                      of K speakers
    speaker_coverage_kl   KL(q || p) = sum_k q_k ln(q_k / p_k)       in nats; 0 for the frequencies of the reals

p is the frequency of each speaker in the training split (a column of the data), q that of the fakes by the
predictions of a classifier. `class_coverage` and `class_agreement` measure the digits in the same way; a generator of
all digits by one voice scores 1 of 6 here, and ln 6 = 1.79.
"""

from typing import ClassVar

import torch
from torch import Tensor

from saddlepoint.extractor.classifier import Classifier
from saddlepoint.extractor.data_like import DataLike
from saddlepoint.extractor.extractor import Features
from saddlepoint.metric.metric import Metric, Result
from saddlepoint.metric.occupancy import histogram_kl
from saddlepoint.modality import modality_of

SHARE = 0.5  # of its frequency in the reals, from which on a speaker is covered


class SpeakerCoverage(Metric):
    """The number of covered speakers, and the divergence of their frequencies.

    classifier  of stored samples; its classes are the values of the column
    column      of the data, integers from 0
    """

    higher_is_better = True
    needs_reals: ClassVar[bool] = False
    needs_features: ClassVar[bool] = False
    contract_attributes = ("column", "classifier_sha256")

    def __init__(self, classifier: Classifier, column: str = "speaker") -> None:
        super().__init__()
        self.column, self.classifier_sha256 = column, classifier.sha256
        self._classifier = [classifier]  # in a list: not a submodule, so that metrics are moved without it
        self._frequency = torch.empty(0, dtype=torch.float64)
        self.declare_states("counts")  # rows [1, K]

    def directions(self) -> dict[str, bool]:
        return {"": True, "kl": False}

    def setup(self, data: DataLike) -> str | None:
        speakers: Tensor | None = data.split("train").extra_columns.get(self.column)
        classes = self._classifier[0].classes or 0
        if speakers is None or speakers.is_floating_point():
            return f"it needs the integer column {self.column} of the data, which these lack"
        measured = modality_of(data).measured_shape(tuple(data.shape))
        if int(speakers.max()) >= classes or measured != self._classifier[0].shape:
            return f"its classifier {self._classifier[0].name} is of other data"
        self._frequency = speakers.bincount(minlength=classes).to(torch.float64) / len(speakers)
        return None

    def why_not(self, n_real: int, n_fake: int) -> str | None:
        return None if len(self._frequency) else "it needs the data set: call setup first"

    def update(self, features: Features, real: bool) -> None:
        if real:
            return
        if features.x is None:
            raise ValueError("speakers are recognised in samples, and these features have none")
        logits = self._classifier[0](features.x.cpu()).logits
        assert logits is not None
        self.append_rows("counts", logits.argmax(1).bincount(minlength=logits.shape[1])[None])

    def compute(self) -> dict[str, Result]:
        """Return "" and "kl", with the frequency of each speaker in the detail."""
        counts = self.all_rows("counts").sum(0)
        p, q = self._frequency.to(counts.device), counts / counts.sum().to(torch.float64)
        rows = [{"speaker": k, "real": p[k].item(), "fake": q[k].item()} for k in range(len(p))]
        covered = ((q >= SHARE * p) & (p > 0)).sum().to(torch.float64)
        return {"": Result(covered, detail={"speakers": rows}), "kl": Result(histogram_kl(counts, p))}
