"""The model card of an image classifier, as Markdown."""

from typing import Any

import torch

from core.recipes.image_classification import ImageClassificationSpec
from trainer.state import Run, State

MAX_LISTED_CLASSES = 50


def card(run: Run, state: State, spec: ImageClassificationSpec, config: dict[str, Any], metrics: dict[str, Any]) -> str:
    """``config`` and ``metrics`` are the contents of the package's files of that name."""
    parts = [_head(run, spec, config), _scores(metrics), _use(config), _data(spec, config, metrics), _training(run, state, spec, metrics)]
    return "\n\n".join(parts) + "\n"


def _head(run: Run, spec: ImageClassificationSpec, config: dict[str, Any]) -> str:
    model = config["architecture"]
    return (
        f"# {spec.name or 'Image classifier'}\n\n"
        f"A residual network with {model['depth']} layers, width {model['width']} and {config['num_parameters']:,} parameters, "
        f"that tells {len(config['labels'])} classes apart. Trained by job `{run.file.job_id}`."
    )


def _scores(metrics: dict[str, Any]) -> str:
    rows = [f"| {split} | {score['accuracy']:.4f} | {score['loss']:.4f} | {score['num_samples']} |" for split, score in _named(metrics)]
    return "\n".join(["## How good it is", "", "| split | accuracy | loss | images |", "|---|---|---|---|", *rows]) + (
        "\n\nThe weights are those with the best validation accuracy; the test split was used once, for the figures above. "
        "`predictions.csv` has every test image, `metrics.json` the confusion matrix."
    )


def _named(metrics: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(split, metrics[split]) for split in ("test", "validation") if metrics[split]]


def _use(config: dict[str, Any]) -> str:
    shape = ", ".join(map(str, config["input"]["shape"]))
    return f"""## How to use it

Needs torch {torch.__version__.split("+")[0]} or a later one that reads its exported programs, and nothing else.

```python
import torch

model = torch.export.load("model.pt2").module()
logits = model(images)  # images: uint8 tensor ({shape}), pixels as stored in the dataset
classes = logits.argmax(1)  # numbers of the labels in config.json
```

Do not scale or normalise the pixels: the program does that itself, with the training split's mean and deviation."""


def _data(spec: ImageClassificationSpec, config: dict[str, Any], metrics: dict[str, Any]) -> str:
    num = metrics["num_images"]
    names = ", ".join(config["labels"][:MAX_LISTED_CLASSES]) + (", ..." if len(config["labels"]) > MAX_LISTED_CLASSES else "")
    return (
        f"## Data\n\nDataset: `{spec.dataset.model_dump_json()}`. {num['train']} images for training, {num['validation']} for validation, "
        f"{num['test']} for the test, each class in the same proportion, chosen by seed {spec.seed}.\n\nClasses: {names}."
    )


def _training(run: Run, state: State, spec: ImageClassificationSpec, metrics: dict[str, Any]) -> str:
    knobs = "\n".join(f"| {name} | {value} |" for name, value in spec.training.model_dump().items())
    rows = (
        f"- {metrics['num_steps']} steps in {metrics['num_epochs']} epochs, {state.seconds:.1f} s of training on "
        f"{run.ranks.world_size} rank(s), {run.ranks.device.type}\n"
        f"- seed {spec.seed}, deterministic: {str(spec.deterministic).lower()}, torch {torch.__version__}"
    )
    return f"## Training\n\n{rows}\n\n| knob | value |\n|---|---|\n{knobs}"
