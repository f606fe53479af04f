"""A program of torch.export: https://docs.pytorch.org/docs/stable/export.html"""

import inspect

import torch

from trainer.package import Export
from trainer.package.export import export_program
from trainer.tools.exports.trial import Batch, Trial, padded

FILE = "model.pt2"


def export_torch(trial: Trial) -> None:
    """``model.pt2``, which ``torch.export.load`` reads. It takes its inputs by place, in the order of ``forward``."""
    path, example = trial.folder / FILE, trial.example()
    names = [name for name in inspect.signature(trial.model.forward).parameters if name in example]
    dynamic = {name: trial.axes[name] for name in names}
    export_program(trial.model, Export(tuple(example[name] for name in names), dynamic), path, tolerance=trial.knobs.tolerance)
    program = torch.export.load(path).module()
    sizes = trial.predictor.fixed_sizes(trial.records)

    def ask(batch: Batch) -> torch.Tensor:
        with torch.no_grad():
            found: torch.Tensor = program(*(padded(batch[name], sizes.get(name, {})) for name in names))
        return found

    if sizes:
        trial.facts["fixed_sizes"] = sizes
    trial.facts["inputs"] = names
    trial.compare(lambda batch: cut_back(ask(batch), batch[names[0]], sizes.get(names[0], {})))


def cut_back(output: object, given: torch.Tensor, sizes: dict[int, int]) -> object:
    """Of an output with a place for each place of the input, those that were given."""
    if isinstance(output, tuple):
        return tuple(cut_back(part, given, sizes) for part in output)
    assert isinstance(output, torch.Tensor)
    return output[:, : given.shape[1]] if output.dim() > 2 and output.shape[1] == sizes.get(1) else output
