"""Penalties, averages, adversarial passes and R-Drop: against autograd and formulas, and that they leave no trace where they must not."""

import math
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, init_device_mesh
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn

from core.recipes.sections.training import Adversarial, TrainingKnobs
from trainer.regularise.adversarial import embeddings_moved, fgsm, pgd, second_loss
from trainer.regularise.averaging import WeightAverage
from trainer.regularise.penalties import add_penalties
from trainer.regularise.r_drop import divergence
from trainer.tasks.task import Batch, Outcome

NUM_STEPS = 10


def new_net() -> nn.Sequential:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))


def new_reader() -> nn.Sequential:
    torch.manual_seed(6)
    return nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 3))


def batch_of(step: int) -> Batch:
    generator = torch.Generator().manual_seed(step)
    return {"x": torch.randn(8, 4, generator=generator), "labels": torch.randint(3, (8,), generator=generator)}


def outcome_of(model: nn.Module, batch: Batch) -> Outcome:
    return Outcome(loss=functional.cross_entropy(model(batch["x"]), batch["labels"]), weight=len(batch["labels"]))


def walk(model: nn.Module, steps: range) -> Iterator[int]:
    """Plain gradient descent; yields after each step."""
    for step in steps:
        model.zero_grad()
        outcome_of(model, batch_of(step)).loss.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.grad is not None:
                    parameter -= 0.1 * parameter.grad
        yield step


def copies(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def gradients(model: nn.Module) -> list[torch.Tensor]:
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


@pytest.mark.parametrize(("l1", "l2"), [(0.3, 0.0), (0.0, 0.2), (0.3, 0.2), (0.0, 0.0)])
def test_penalties_are_the_gradient_of_the_penalised_loss(l1: float, l2: float) -> None:
    ours, theirs = new_net(), new_net()
    outcome_of(ours, batch_of(0)).loss.backward()
    add_penalties(ours, TrainingKnobs(l1=l1, l2=l2))
    weights = [theirs[0].weight, theirs[3].weight]
    penalty = l1 * sum(w.abs().sum() for w in weights) + l2 / 2 * sum(w.square().sum() for w in weights)
    (outcome_of(theirs, batch_of(0)).loss + penalty).backward()

    for mine, other in zip(gradients(ours), gradients(theirs), strict=True):
        torch.testing.assert_close(mine, other)


def test_the_moving_average_is_torchs_with_a_quick_start() -> None:
    """Torch's has no quick start: its decay is set to ours before each update."""
    model = new_net()
    average = WeightAverage(model, ema=0.6)
    reference: AveragedModel | None = None
    for step in walk(model, range(NUM_STEPS)):
        if reference is None:
            reference = AveragedModel(model, use_buffers=True)
            reference.update_parameters(model)
        else:
            reference.avg_fn = get_ema_avg_fn(min(0.6, (1 + step) / (10 + step)))
            reference.update_parameters(model)
        average.update(model, step=step, num_steps=NUM_STEPS)

    assert reference is not None
    assert average.num_updates == NUM_STEPS
    for name, tensor in reference.module.named_parameters():
        torch.testing.assert_close(average.tensors[name], tensor.detach())
    assert average.share_of_new() == pytest.approx(1 - 0.55) == pytest.approx(1 - 11 / 20)
    assert set(average.tensors) == set(model.state_dict()) - {"1.num_batches_tracked"}


def test_the_plain_average_is_the_mean_over_the_last_share_of_the_steps() -> None:
    model = new_net()
    average = WeightAverage(model, swa_share=0.3)
    seen = []
    for step in walk(model, range(NUM_STEPS)):
        average.update(model, step=step, num_steps=NUM_STEPS)
        assert average.is_started == (step >= 7)
        seen.append(copies(model))

    for name, tensor in average.tensors.items():
        torch.testing.assert_close(tensor, torch.stack([weights[name] for weights in seen[7:]]).mean(0))
    assert "1.running_var" in average.tensors


@pytest.mark.parametrize("kind", [{"ema": 0.9}, {"swa_share": 0.8}])
def test_averaged_weights_go_in_and_come_out_to_the_bit_and_training_goes_on_as_if_nothing_was(kind: dict[str, float]) -> None:
    disturbed, undisturbed = new_net(), new_net()
    average = WeightAverage(disturbed, **kind)
    for step in walk(disturbed, range(6)):
        average.update(disturbed, step=step, num_steps=NUM_STEPS)
        if average.is_started:
            before = copies(disturbed)
            with average.in_place_of(disturbed):
                assert same({name: disturbed.state_dict()[name] for name in average.tensors}, average.tensors)
            assert same(copies(disturbed), before)
    assert list(walk(undisturbed, range(6)))
    assert same(copies(disturbed), copies(undisturbed))


def test_own_weights_come_back_when_an_evaluation_fails() -> None:
    model = new_net()
    average = WeightAverage(model, ema=0.9)
    average.load({name: tensor + 1 for name, tensor in copies(model).items() if tensor.is_floating_point()}, 1)
    before = copies(model)
    with pytest.raises(KeyError), average.in_place_of(model):
        raise KeyError
    assert same(copies(model), before)


def test_a_loaded_average_goes_on_to_the_same_bits() -> None:
    """In another layout and order too, as files give them back."""
    model = nn.Sequential(nn.Conv2d(3, 7, 3)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    whole = WeightAverage(model, ema=0.99)
    resumed = WeightAverage(model, ema=0.99)
    for step in range(6):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(step))
        whole.update(model, step=step, num_steps=None)
        if step > 2:
            resumed.update(model, step=step, num_steps=None)
        elif step == 2:
            resumed.load({name: whole.tensors[name].clone().contiguous() for name in sorted(whole.tensors)}, whole.num_updates)
    assert same(whole.tensors, resumed.tensors)
    assert resumed.tensors["0.weight"].stride() == model[0].weight.stride()


@pytest.fixture
def process_group(tmp_path: Path) -> Iterator[None]:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("process_group")
def test_sharded_weights_are_averaged_penalised_and_moved_alike() -> None:
    plain, sharded = new_reader(), new_reader()
    fully_shard(sharded, mesh=init_device_mesh("cpu", (1,)))
    averages = []
    for model in (plain, sharded):
        average = WeightAverage(model, ema=0.9)
        for step in range(3):
            model.zero_grad()
            words = torch.randint(9, (8, 3), generator=torch.Generator().manual_seed(step))
            functional.cross_entropy(model(words), words[:, 0] % 3).backward()
            add_penalties(model, TrainingKnobs(l1=0.1, l2=0.1))
            with embeddings_moved(model, 0.5):
                functional.cross_entropy(model(words), words[:, 0] % 3).backward()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter -= 0.1 * parameter.grad
            average.update(model, step=step, num_steps=None)
        averages.append(average)

    unsharded, cut = averages
    for name, tensor in unsharded.tensors.items():
        other = cut.tensors[name]
        assert isinstance(other, DTensor)
        torch.testing.assert_close(other.full_tensor(), tensor)
    cut.load(unsharded.tensors, unsharded.num_updates)
    with cut.in_place_of(sharded):
        assert torch.equal(sharded[2].weight.full_tensor(), unsharded.tensors["2.weight"])


def test_fgsm_moves_every_number_by_epsilon_to_where_the_loss_is_higher() -> None:
    model, batch = new_net(), batch_of(0)
    x = batch["x"].clone().requires_grad_()
    functional.cross_entropy(model(x), batch["labels"]).backward()
    assert x.grad is not None
    model.zero_grad()

    moved = fgsm(lambda b: outcome_of(model, b), batch, "x", 0.05)
    torch.testing.assert_close(moved, batch["x"] + 0.05 * x.grad.sign())
    assert not batch["x"].requires_grad
    assert not gradients(model), "the search differentiates by the input alone"
    assert outcome_of(model, {**batch, "x": moved}).loss > outcome_of(model, batch).loss


def test_pgd_stays_within_epsilon_and_finds_more_than_fgsm() -> None:
    model, batch = new_net().eval(), batch_of(1)
    knobs = Adversarial(method="pgd", epsilon=0.5, steps=10)
    torch.manual_seed(0)
    moved = pgd(lambda b: outcome_of(model, b), batch, "x", knobs)
    torch.manual_seed(0)
    again = pgd(lambda b: outcome_of(model, b), batch, "x", knobs)

    assert torch.equal(moved, again), "the start is drawn from torch's generator and nothing else"
    assert (moved - batch["x"]).abs().max() <= 0.5 + 1e-6
    by_one_step = fgsm(lambda b: outcome_of(model, b), batch, "x", 0.5)
    assert outcome_of(model, {**batch, "x": moved}).loss >= outcome_of(model, {**batch, "x": by_one_step}).loss - 1e-4


def test_fgm_moves_the_tables_along_their_gradient_and_back_to_the_bit() -> None:
    model, words = new_reader(), torch.tensor([[1, 2, 3], [4, 5, 6]])
    functional.cross_entropy(model(words), torch.tensor([0, 1])).backward()
    table = model[0].weight
    assert table.grad is not None
    clean, expected = table.detach().clone(), table.detach() + 0.7 * table.grad / table.grad.norm()

    with embeddings_moved(model, 0.7):
        torch.testing.assert_close(table.detach(), expected)
    assert torch.equal(table.detach(), clean)
    table.grad.zero_()
    with embeddings_moved(model, 0.7):
        assert torch.equal(table.detach(), clean), "no gradient, no direction"


@pytest.mark.parametrize("method", ["fgsm", "pgd", "fgm"])
def test_a_second_pass_adds_its_gradient_and_leaves_weights_and_statistics_alone(method: str) -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.norm, self.head = nn.Embedding(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.head(self.norm(x) * self.table.weight[:2].sum(0))
            return logits

    torch.manual_seed(0)
    model, batch = Words(), batch_of(2)
    knobs = Adversarial.model_validate({"method": method, "epsilon": 0.2, "weight": 0.5})
    outcome_of(model, batch).loss.backward()
    clean, before = gradients(model), copies(model)
    torch.manual_seed(1)
    with second_loss(lambda b: outcome_of(model, b), model, batch, None if method == "fgm" else "x", knobs) as loss:
        loss.backward()

    assert same(copies(model), before)
    assert any(not torch.equal(left, right) for left, right in zip(gradients(model), clean, strict=True))
    assert loss.item() > 0.5 * outcome_of(model, batch).loss.item()
    assert model.norm.track_running_stats


def test_an_adversary_without_a_target_is_refused() -> None:
    model = new_net()
    for method, key in (("fgm", None), ("fgsm", None)):
        knobs = Adversarial.model_validate({"method": method})
        with pytest.raises(ValueError, match=method), second_loss(lambda b: outcome_of(model, b), model, batch_of(0), key, knobs):
            pass


def test_the_divergence_is_the_mean_of_both_kullback_leiblers() -> None:
    first, second = torch.randn(2, 7, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    p, q = first.softmax(-1), second.softmax(-1)
    both = functional.kl_div(q.log(), p, reduction="batchmean") + functional.kl_div(p.log(), q, reduction="batchmean")

    torch.testing.assert_close(divergence(first, second), both / 2)
    assert divergence(first, first).item() == 0.0
    assert math.isfinite(divergence(first * 1e4, second * 1e4).item())
    for mine, theirs in zip(
        torch.autograd.grad(divergence(first, second), (first, second)), torch.autograd.grad(both / 2, (first, second)), strict=True
    ):
        torch.testing.assert_close(mine, theirs)


def test_averaging_a_deep_copy_leaves_the_original_alone() -> None:
    model = new_net()
    average = WeightAverage(model, ema=0.5)
    average.update(model, step=0, num_steps=None)
    other, before = deepcopy(model), copies(model)
    with torch.no_grad():
        other[0].weight += 1
    average.update(other, step=1, num_steps=None)
    assert same(copies(model), before)
    assert not torch.equal(average.tensors["0.weight"], before["0.weight"])
