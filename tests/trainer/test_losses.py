"""Objective functions against torch's and their formulas; and that neither batch nor ranks decide what a row counts."""

import pytest
import torch
from torch.nn import functional

from trainer.losses import IGNORED, LossName, binary, cross_entropy, ctc, focal, loss_function

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(12, 5, generator=GENERATOR)
CLASSES = torch.randint(5, (12,), generator=GENERATOR)
SOFT = torch.rand(12, 5, generator=GENERATOR).softmax(-1)
WEIGHTS = torch.tensor([0.5, 2.0, 1.0, 0.25, 1.5])


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("targets", [CLASSES, SOFT], ids=["classes", "probabilities"])
def test_cross_entropy_is_torchs(targets: torch.Tensor, smoothing: float) -> None:
    close(
        loss_function("cross_entropy", label_smoothing=smoothing)(LOGITS, targets),
        functional.cross_entropy(LOGITS, targets, label_smoothing=smoothing),
    )


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "binary"])
def test_weights_count_per_row_however_rows_are_batched(name: LossName) -> None:
    """Torch's weighted mean divides by the sum of the weights of the batch; two halves then do not have the mean of the whole."""
    loss = loss_function(name, class_weights=WEIGHTS, label_smoothing=0.1)
    close((loss(LOGITS[:6], CLASSES[:6]) + loss(LOGITS[6:], CLASSES[6:])) / 2, loss(LOGITS, CLASSES))
    rows = torch.stack([loss(LOGITS[row : row + 1], CLASSES[row : row + 1]) for row in range(12)])
    close(rows.mean(), loss(LOGITS, CLASSES))
    plain = functional.cross_entropy(LOGITS, CLASSES, reduction="none")
    close(cross_entropy(LOGITS, CLASSES, class_weights=WEIGHTS), (plain * WEIGHTS[CLASSES]).mean())


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "binary"])
def test_ignored_tokens_are_not_there(name: LossName) -> None:
    loss = loss_function(name, class_weights=WEIGHTS, label_smoothing=0.2)
    tokens = CLASSES.view(3, 4).clone()
    tokens[1, :3] = IGNORED
    counted = tokens.flatten() != IGNORED

    close(loss(LOGITS.view(3, 4, 5), tokens), loss(LOGITS[counted], CLASSES[counted]))
    nothing = loss(LOGITS.clone().requires_grad_(), torch.full((12,), IGNORED))
    assert nothing.item() == 0.0
    nothing.backward()


def test_focal_by_its_formula_and_without_focus() -> None:
    p = LOGITS.double().softmax(-1).gather(-1, CLASSES[:, None])[:, 0]
    close(focal(LOGITS, CLASSES, gamma=1.5), (-((1 - p) ** 1.5) * p.log()).mean().float())
    close(focal(LOGITS, CLASSES, gamma=0.0, label_smoothing=0.1), functional.cross_entropy(LOGITS, CLASSES, label_smoothing=0.1))
    close(focal(LOGITS, SOFT, gamma=0.0), functional.cross_entropy(LOGITS, SOFT))


def test_binary_asks_a_question_for_each_class() -> None:
    answers = functional.one_hot(CLASSES, 5).float()
    close(loss_function("binary")(LOGITS, CLASSES), functional.binary_cross_entropy_with_logits(LOGITS, answers) * 5)
    close(binary(LOGITS, SOFT), functional.binary_cross_entropy_with_logits(LOGITS, SOFT) * 5)
    smoothed = answers * 0.8 + 0.2 / 5
    close(binary(LOGITS, CLASSES, label_smoothing=0.2), functional.binary_cross_entropy_with_logits(LOGITS, smoothed) * 5)
    weighed = -(WEIGHTS * answers * functional.logsigmoid(LOGITS) + (1 - answers) * functional.logsigmoid(-LOGITS))
    close(binary(LOGITS, CLASSES, class_weights=WEIGHTS), weighed.sum(-1).mean())


def test_regressions_are_torchs() -> None:
    outputs, targets = LOGITS, LOGITS.flip(0)
    close(loss_function("mse")(outputs, targets), functional.mse_loss(outputs, targets))
    close(loss_function("mae")(outputs, targets), functional.l1_loss(outputs, targets))
    close(loss_function("huber", delta=0.3)(outputs, targets), functional.huber_loss(outputs, targets, delta=0.3))


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        loss_function("mse")(torch.zeros(4, 1), torch.zeros(4))
    with pytest.raises(ValueError, match="no classes"):
        loss_function("huber", label_smoothing=0.1)


def test_ctc_is_torchs_and_a_row_that_cannot_be_said_counts_nothing() -> None:
    logits = torch.randn(3, 7, 5, generator=torch.Generator().manual_seed(1)).requires_grad_()
    targets, num_frames, num_targets = torch.randint(1, 5, (3, 4)), torch.tensor([7, 6, 2]), torch.tensor([3, 2, 4])
    log_p = logits.log_softmax(-1).transpose(0, 1)
    expected = functional.ctc_loss(log_p[:, :2], targets[:2], num_frames[:2], num_targets[:2], reduction="mean")

    loss = ctc(logits.log_softmax(-1), targets, num_frames, num_targets).mean()
    close(loss, expected * 2 / 3)
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "binary", "mse"])
def test_low_precision_outputs_are_compared_in_full(name: LossName) -> None:
    targets = torch.rand(12, 5)
    low = LOGITS.bfloat16()
    assert torch.equal(loss_function(name)(low, targets), loss_function(name)(low.float(), targets))
