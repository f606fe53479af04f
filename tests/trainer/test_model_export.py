"""model-export: every recipe's package exports, or says why not; what is handed out answers as the package does."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from core.manifest import MANIFEST, verify
from core.recipes import RECIPES
from core.recipes.model_export import Model as Knobs
from core.states import Reason
from tests.trainer.launching import Attempt
from tests.trainer.packages import Packages, Trained
from trainer.errors import ExportDiffers, InvalidData
from trainer.predict import PREDICTORS, predictor_class
from trainer.predict.loading import load_model, read_config
from trainer.predict.onnx_model import OnnxModel
from trainer.predict.predictor import BadInput, Predictor
from trainer.tools.exports import find_exporter
from trainer.tools.exports.trial import Trial

# One of each recipe, and what is apart: a network that is unrolled, and one of the Transformers library.
ONNX = (*PREDICTORS, "text-gru", "causal-gpt2")
FEW = {"num_rows": 6}


def predictor_of(folder: Path) -> Predictor:
    config = read_config(folder)
    return predictor_class(config["recipe"])(folder, config, load_model(folder, config, "cpu"))


def exported(packages: Packages, trained: Trained, root: Path, rows: Path | None = None, **model: Any) -> Attempt:
    attempt = packages.use("model-export", trained, rows, root, model={**FEW, **model})
    attempt.expect(Reason.COMPLETED)
    verify(attempt.run_dir.artifacts)
    return attempt


def told(attempt: Attempt) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((attempt.run_dir.artifacts / "export.json").read_text())
    return found


@pytest.mark.parametrize("name", ONNX)
def test_a_package_of_any_recipe_becomes_onnx_and_answers_alike(name: str, packages: Packages, tmp_path: Path) -> None:
    trained = packages(name)
    attempt = exported(packages, trained, tmp_path)

    original, export = predictor_of(trained.folder), predictor_of(attempt.run_dir.artifacts)
    assert isinstance(export.model, OnnxModel)
    records = original.made_up(3)
    with torch.inference_mode():
        batch = original.prepare(records)
        expected, found = original.model(**batch), export.model(**batch)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    result = attempt.result()
    assert result is not None
    assert result.metrics.keys() == set(RECIPES["model-export"].metrics)
    assert result.metrics["max_error"] == told(attempt)["max_error"] < 1e-4
    assert told(attempt)["rows"] == "package"
    assert not (attempt.run_dir.artifacts / "model.safetensors").exists()


def test_rows_of_a_dataset_are_what_it_is_compared_on(packages: Packages, tmp_path: Path) -> None:
    """And the folder predicts as the package does."""
    trained = packages("tabular")
    attempt = exported(packages, trained, tmp_path, trained.data, opset=20, num_rows=40)

    assert (told(attempt)["num_rows"], told(attempt)["opset"], told(attempt)["rows"]) == (40, 20, "dataset")
    with torch.inference_mode():
        ours, theirs = (list(predictor_of(folder).predict([trained.data])) for folder in (attempt.run_dir.artifacts, trained.folder))
    assert [row["prediction"] for row in ours] == [row["prediction"] for row in theirs]


@pytest.mark.parametrize("name", ["image-classification", "token-classification"])
def test_a_program_of_torch_is_written_anew(name: str, packages: Packages, tmp_path: Path) -> None:
    trained = packages(name)
    attempt = exported(packages, trained, tmp_path, format="torch")

    predictor = predictor_of(trained.folder)
    trial = Trial(predictor, Knobs(), tmp_path, predictor.made_up(4))
    batch = trial.example()
    program = torch.export.load(attempt.run_dir.artifacts / "model.pt2").module()
    with torch.no_grad():
        torch.testing.assert_close(program(*batch.values()), predictor.model(*batch.values()), rtol=1e-4, atol=1e-4)
    assert told(attempt)["inputs"] == list(batch)


@pytest.mark.parametrize("name", ["causal-language-modeling", "causal-gpt2", "text-bert"])
def test_a_folder_of_transformers_is_one_that_the_library_loads(name: str, packages: Packages, tmp_path: Path) -> None:
    """Our own decoder is GPT-2 exactly."""
    trained = packages(name)
    folder = exported(packages, trained, tmp_path, format="transformers").run_dir.artifacts

    kind = AutoModelForSequenceClassification if name == "text-bert" else AutoModelForCausalLM
    theirs = kind.from_pretrained(folder, local_files_only=True).eval()
    text = "a warm film"
    ids = AutoTokenizer.from_pretrained(folder, local_files_only=True)(text, return_tensors="pt")["input_ids"]
    predictor = predictor_of(trained.folder)
    own = next(iter(predictor.prepare([{"text": text}]).values()))
    with torch.inference_mode():
        torch.testing.assert_close(theirs(ids).logits, predictor.model(own[:, : ids.shape[1]]), rtol=1e-4, atol=1e-4)
        assert predictor_of(folder).prepare([{"text": text}]).keys()


def test_what_transformers_does_not_have_is_refused_with_the_reason(packages: Packages, tmp_path: Path) -> None:
    attempt = packages.use("model-export", packages("tabular"), None, tmp_path, model={"format": "transformers"})

    message = attempt.expect(Reason.INVALID_DATA).message
    assert "a model of family tabular-mlp is none of the Transformers library; formats torch and onnx are for it" in message


def test_an_export_that_differs_by_more_than_it_may_is_not_handed_out(packages: Packages, tmp_path: Path) -> None:
    attempt = packages.use("model-export", packages("image-classification"), None, tmp_path, model={"tolerance": 1e-12})

    assert "the export differs from the trained model by up to" in attempt.expect(Reason.PROTOCOL).message
    assert not (attempt.run_dir.artifacts / MANIFEST).exists()


def test_rows_that_cannot_be_used_are_no_proof(packages: Packages, tmp_path: Path) -> None:
    table = tmp_path / "new.csv"
    table.write_text("weight,age,island\nheavy,2,north\n")
    attempt = packages.use("model-export", packages("tabular"), table, tmp_path)

    assert "no row of the dataset can be used\nnew.csv, row 2: column weight: 'heavy'" in attempt.expect(Reason.INVALID_DATA).message


def test_a_node_without_the_libraries_says_what_to_install(packages: Packages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = predictor_of(packages("tabular").folder)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(InvalidData, match=r"onnxscript is not there: pip install trainyard\[onnx\]"):
        find_exporter("onnx")(Trial(predictor, Knobs(), tmp_path, predictor.made_up(2)))

    (tmp_path / "config.json").write_bytes((packages("tabular").folder / "config.json").read_bytes())
    (tmp_path / "model.onnx").write_bytes(b"no program")
    with pytest.raises(BadInput, match=r"model\.onnx cannot be run"):
        load_model(tmp_path, read_config(tmp_path), "cpu")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BadInput, match=r"pip install trainyard\[onnx\]"):
        load_model(tmp_path, read_config(tmp_path), "cpu")


def test_another_answer_or_another_shape_is_found_out(packages: Packages, tmp_path: Path) -> None:
    predictor = predictor_of(packages("tabular").folder)
    trial = Trial(predictor, Knobs(), tmp_path, predictor.made_up(4))

    with pytest.raises(ExportDiffers, match=r"differs from the trained model by up to 0\.5"):
        trial.compare(lambda batch: predictor.model(**batch).detach() + 0.5)
    with pytest.raises(ExportDiffers, match=r"gives \(4, 1\) where the trained model gives \(4, 2\)"):
        trial.compare(lambda batch: predictor.model(**batch).detach()[:, :1])
    trial.compare(lambda batch: predictor.model(**batch).detach() + 1e-6)
    assert 0 < trial.max_error < 1e-4
