"""The encoder and its heads: against PyTorch's own layers, blind to padding, and ready for what is done with models."""

from typing import Any, Literal

import pytest
import torch
from torch import nn

from trainer.models import build
from trainer.models.encoder import Block, Encoder, EncoderMaskedLM, pool

SMALL: dict[str, Any] = {"vocab_size": 50, "max_length": 16, "width": 32, "num_layers": 2, "num_heads": 4}


def ids_and_mask(lengths: list[int], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    mask = torch.arange(max(lengths))[None, :] < torch.tensor(lengths)[:, None]
    ids = torch.randint(5, 50, mask.shape, generator=torch.Generator().manual_seed(seed))
    return ids * mask, mask


def models(**changes: Any) -> list[nn.Module]:
    torch.manual_seed(0)
    families = {"encoder-classifier": {"num_classes": 3}, "encoder-tagger": {"num_classes": 3}, "encoder-masked-lm": {}}
    return [build({"family": name, **more, **SMALL, **changes}).eval() for name, more in families.items()]


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_block_computes_what_torchs_layer_computes(norm: Literal["pre", "post"]) -> None:
    torch.manual_seed(0)
    ours = Block(width=32, hidden=64, num_heads=4, dropout=0.0, drop_path=0.0, norm=norm).eval()
    theirs = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, activation="gelu", batch_first=True, norm_first=norm == "pre").eval()
    by_kind = [ours.attention.qkv.weight.view(4, 3, 8, 32).transpose(0, 1), ours.attention.qkv.bias.view(4, 3, 8).transpose(0, 1)]
    theirs.self_attn.in_proj_weight.data = by_kind[0].reshape(96, 32)
    theirs.self_attn.in_proj_bias.data = by_kind[1].reshape(96)
    pairs = [
        (theirs.self_attn.out_proj, ours.attention.out),
        (theirs.linear1, ours.feed_forward.up),
        (theirs.linear2, ours.feed_forward.down),
    ]
    for there, here in [*pairs, (theirs.norm1, ours.norm1), (theirs.norm2, ours.norm2)]:
        there.load_state_dict(here.state_dict())
    x = torch.randn(3, 7, 32)
    _, mask = ids_and_mask([7, 4, 1])

    expected = theirs(x, src_key_padding_mask=~mask)
    found = ours(x, mask[:, None, None, :])

    torch.testing.assert_close(found[mask], expected[mask], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pooling", ["first", "mean", "max"])
def test_padding_changes_nothing(pooling: str) -> None:
    ids, mask = ids_and_mask([5, 9])
    longer, longer_mask = (torch.nn.functional.pad(t, (0, 4)) for t in (ids, mask))
    classifier, tagger, _ = models()
    classifier.pooling = pooling

    torch.testing.assert_close(classifier(ids, mask), classifier(longer, longer_mask))
    torch.testing.assert_close(tagger(ids, mask)[mask], tagger(longer, longer_mask)[longer_mask])


def test_pooling_by_hand() -> None:
    x = torch.tensor([[[1.0], [-2.0], [9.0]], [[-1.0], [-3.0], [-4.0]]])
    mask = torch.tensor([[True, True, False], [True, True, True]])

    assert pool(x, mask, "first").tolist() == [[1.0], [-1.0]]
    assert pool(x, mask, "max").tolist() == [[1.0], [-1.0]]
    torch.testing.assert_close(pool(x, mask, "mean"), torch.tensor([[-0.5], [-8 / 3]]))


def test_heads_differ_and_encoders_do_not() -> None:
    """What masked-language modelling has learned has a place, by name and shape, in the two others."""
    classifier, tagger, masked = (model.state_dict() for model in models())
    bodies = [{name: tuple(t.shape) for name, t in state.items() if name.startswith("encoder.")} for state in (classifier, tagger, masked)]

    assert bodies[0] == bodies[1] == bodies[2]
    assert all(name.startswith(("encoder.", "head.")) for name in (*classifier, *tagger, *masked))


def test_the_output_of_masked_lm_is_tied_and_can_be_asked_for_some_places() -> None:
    ids, mask = ids_and_mask([6, 8])
    model = models()[2]
    assert isinstance(model, EncoderMaskedLM)
    where = torch.tensor([1, 9, 12])

    torch.testing.assert_close(model(ids, mask, where=where), model(ids, mask).flatten(0, 1)[where])
    before = model(ids, mask)
    with torch.no_grad():
        model.encoder.tokens.weight[7] += 5.0 * torch.sign(torch.randn(32))
    changed = (model(ids, mask) - before).abs().mean((0, 1))
    assert changed.argmax() == 7


def test_types_tell_the_texts_of_a_pair_apart() -> None:
    ids, mask = ids_and_mask([6, 6])
    model = models()[0]

    torch.testing.assert_close(model(ids, mask), model(ids, mask, torch.zeros_like(ids)))
    assert not torch.allclose(model(ids, mask), model(ids, mask, torch.ones_like(ids)))


def test_stochastic_depth_leaves_whole_branches_out_of_some_texts() -> None:
    torch.manual_seed(0)
    encoder = Encoder(**{**SMALL, "num_layers": 1}, dropout=0.0, drop_path=0.9).train()
    ids, mask = ids_and_mask([4] * 64)
    same = ids[:1].expand(64, -1)

    outputs = {tuple(row.flatten().tolist()) for row in encoder(same, mask).detach().round(decimals=3)}

    assert 2 <= len(outputs) <= 4, "attention and feed-forward are each there or not"


def test_what_is_said_of_a_model_is_true_of_it() -> None:
    for model in models():
        names = {name for name, module in model.blocks[0].named_modules() if isinstance(module, nn.Linear)}
        assert set(model.tensor_parallel_plan()) == names
        assert set(model.lora_targets) <= names
        assert any(name.startswith(model.head_names) for name, _ in model.named_parameters())
        assert model.num_heads == 4
        # width² · (3 + 1 + 4 + 4) weights a layer, and their biases and norms
        assert model.flops_per_token(16) == pytest.approx(6 * 2 * 12 * 32**2 + 12 * 2 * 32 * 16, rel=0.05)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_it_exports_for_any_number_and_length_of_texts(number: int) -> None:
    model = models()[number]
    ids, mask = ids_and_mask([5, 9])
    batch, length = torch.export.Dim("batch", min=1), torch.export.Dim("length", min=1, max=16)
    shapes = {name: {0: batch, 1: length} for name in ("ids", "mask")}
    program = torch.export.export(model, (ids, mask), dynamic_shapes=shapes)
    more, more_mask = ids_and_mask([16, 3, 1], seed=2)

    torch.testing.assert_close(program.module()(more, more_mask), model(more, more_mask))
