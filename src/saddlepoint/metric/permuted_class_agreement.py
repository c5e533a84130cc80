"""Class agreement after the best permutation of classes: max over permutations p of P(predicted class = p(own class)).

For translations without pairs, own class is that of the source. A cycle that turns every 3 into an 8 and back has no
error of its own, so a high permuted agreement beside a low `class_agreement` shows classes that were exchanged. The
permutation is chosen on the same samples, so the score of random predictions is above 1 / classes.
"""

from saddlepoint.extractor.extractor import Features
from saddlepoint.metric.class_agreement import ClassAgreement
from saddlepoint.metric.metric import Result
from saddlepoint.metric.per_class import predicted_classes


class PermutedClassAgreement(ClassAgreement):
    """The agreement under the best one-to-one map of classes, and the map in the detail; does not use the reals."""

    def __init__(self) -> None:
        super().__init__()
        self.declare_states("predicted")

    def update(self, features: Features, real: bool) -> None:
        super().update(features, real)
        if not real:
            self.append_rows("predicted", predicted_classes(features))

    def compute(self) -> Result:
        """Return the share of samples, with the class that each class is mapped to in the detail."""
        from scipy.optimize import linear_sum_assignment  # imported here: it takes 0.3 s

        label, predicted, k = self.all_rows("label"), self.all_rows("predicted"), self._classes
        counts = (label * k + predicted).bincount(minlength=k * k).view(k, k)
        rows, columns = linear_sum_assignment(counts.cpu().numpy(), maximize=True)
        share = counts[rows, columns].sum().double() / len(label)
        return Result(share, None, {"permutation": columns.tolist()}, n=len(label))
