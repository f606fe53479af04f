"""What a script's spec may say, and how a refusal tells where it is wrong."""

import json
from typing import Any

import pytest

from core.errors import InvalidInput
from core.recipes import parse_spec
from core.recipes.script import ScriptSpec, UploadedCode

SCRIPT: dict[str, Any] = {"recipe": "script", "code": {"files": {"train.py": "print(1)"}}, "entrypoint": "train.py"}
SHA = "a" * 64


def parsed(**changes: Any) -> ScriptSpec:
    spec = parse_spec(json.dumps({**SCRIPT, **changes}))
    assert isinstance(spec, ScriptSpec)
    return spec


def problems(**changes: Any) -> dict[str, str]:
    with pytest.raises(InvalidInput) as caught:
        parsed(**changes)
    return {problem.pointer: problem.message for problem in caught.value.problems}


def test_a_script_needs_little() -> None:
    spec = parsed()
    assert (spec.launcher, spec.args, spec.isolation) == ("torchrun", (), "any")
    assert parse_spec(spec.model_dump_json()) == spec


def test_an_archive_is_named_by_its_digest() -> None:
    assert parsed(code={"sha256": SHA, "size": 10}, requirements="requirements.txt").code == UploadedCode(sha256=SHA, size=10)


def test_datasets_are_channels() -> None:
    spec = parsed(dataset={"builtin": "digits"}, datasets={"validation": "reviews@3"})
    assert list(spec.channels()) == ["training", "validation"]


@pytest.mark.parametrize(
    "name",
    ["LD_PRELOAD", "PYTHONPATH", "PYTHONSTARTUP", "TRAINYARD_ATTEMPT", "PATH", "HOME", "RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR",
     "SM_MODEL_DIR", "AIP_MODEL_DIR", "TORCHELASTIC_ERROR_FILE", "CUDA_VISIBLE_DEVICES", "GLIBC_TUNABLES", "BASH_ENV", "PET_NNODES"],
)  # fmt: skip
def test_variables_that_would_break_the_node_are_refused(name: str) -> None:
    assert "set by the service" in problems(env={name: "x"})[f"/env/{name}/[key]"]


def test_other_variables_pass() -> None:
    assert parsed(env={"NCCL_DEBUG": "INFO", "HF_HUB_OFFLINE": "0", "RANKING": "1", "PATHS": "x"}).env["RANKING"] == "1"


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"code": {}}, "/code"),
        ({"code": {"files": {}}}, "/code/files"),
        ({"code": {"files": {"../train.py": ""}}}, "/code/files/..~1train.py/[key]"),
        ({"code": {"files": {"train.py": "x" * 600_000}}}, "/code/files"),
        ({"code": {"files": {"train.py": "", "train.py/b": ""}}}, "/code/files"),
        ({"code": {"sha256": "zz", "size": 1}}, "/code/sha256"),
        ({"code": {"sha256": SHA}}, "/code/size"),
        ({"code": {"path": "relative"}}, "/code/path"),
        ({"entrypoint": "other.py"}, ""),
        ({"entrypoint": "../train.py"}, "/entrypoint"),
        ({"entrypoint": "train.sh", "code": {"files": {"train.sh": ""}}}, ""),
        ({"args": ["a\0"]}, "/args/0"),
        ({"args": ["x" * 4000] * 3}, ""),
        ({"env": {"A": "x" * 4000, "B": "x" * 4000, "C": "x" * 4000, "D": "x" * 4000, "E": "x" * 4000}}, ""),
        ({"hyperparameters": {"sagemaker_program": "x"}}, ""),
        ({"hyperparameters": {"a b": 1}}, "/hyperparameters/a b/[key]"),
        ({"hyperparameters": {"a": "x" * 9000}}, ""),
        ({"hyperparameters": {"a": {"b": "\0"}}}, ""),
        ({"launcher": "bash"}, "/launcher"),
        ({"env": {"A B": "x"}}, "/env/A B/[key]"),
        ({"secrets": ["../key"]}, "/secrets/0"),
        ({"secrets": ["KEY", "KEY"]}, ""),
        ({"requirements": ["--index-url=http://evil"]}, "/requirements"),
        ({"requirements": ["torch @ https://evil/torch.whl"]}, "/requirements"),
        ({"requirements": ["./local"]}, "/requirements"),
        ({"requirements": ["einops --hash=x"]}, "/requirements"),
        ({"requirements": "../requirements.txt"}, "/requirements"),
        ({"requirements": "absent.txt"}, ""),
        ({"datasets": {"Upper": {"builtin": "digits"}}}, "/datasets/Upper/[key]"),
        ({"dataset": {"builtin": "digits"}, "datasets": {"training": {"builtin": "digits"}}}, ""),
        ({"metric_patterns": [{"name": "loss", "pattern": "loss: [0-9]+"}]}, "/metric_patterns/0/pattern"),
        ({"metric_patterns": [{"name": "loss", "pattern": "loss: ("}]}, "/metric_patterns/0/pattern"),
        ({"metric_patterns": [{"name": "loss", "pattern": r"(a)\1"}]}, "/metric_patterns/0/pattern"),
        ({"metric_patterns": [{"name": "loss", "pattern": r"(?=a)(b)"}]}, "/metric_patterns/0/pattern"),
        ({"metric_patterns": [{"name": "loss", "pattern": "(" + "a" * 600 + ")"}]}, "/metric_patterns/0/pattern"),
        ({"isolation": "some"}, "/isolation"),
    ],
)
def test_a_wrong_value_is_refused_where_it_stands(changes: dict[str, Any], pointer: str) -> None:
    found = problems(**changes)
    assert any(place == pointer or (pointer and place.startswith(pointer)) for place in found), found
