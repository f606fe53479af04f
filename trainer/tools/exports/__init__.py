"""Models as programs for others: each form is a file here and a line below."""

import importlib
from collections.abc import Callable

from trainer.tools.exports.trial import Trial

# format -> "module:function", by name: a run imports the libraries of no other.
EXPORTERS: dict[str, str] = {
    "onnx": "trainer.tools.exports.onnx_program:export_onnx",
    "torch": "trainer.tools.exports.torch_program:export_torch",
    "transformers": "trainer.tools.exports.transformers_folder:export_transformers",
}
Exporter = Callable[[Trial], None]


def find_exporter(form: str) -> Exporter:
    """Writes the export into the trial's folder and compares it. Raises ExportDiffers, or InvalidData for what cannot be exported."""
    module, _, name = EXPORTERS[form].partition(":")
    found: Exporter = getattr(importlib.import_module(module), name)
    return found
