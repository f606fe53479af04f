"""The package: all that a user needs to run a trained model, and to judge it, without this software.

model.safetensors   its weights by name
config.json         architecture, labels, preprocessing, input, output; for Transformers models theirs, with ours under "trainyard"
model.pt2           the exported program, any batch size; ``torch.export.load("model.pt2").module()`` (own models only)
metrics.json        scores, and what a recipe adds
predictions.csv     each test row, what is right and what the model says
confusion.csv       counts, a row per label, a column per prediction (recipes with classes)
data_report.json    what was found in the data and what was done about it
plots/              curves and the confusion matrix, PNG and SVG
README.md           the model card
manifest.json       size and SHA-256 of each, written last

Tokenizers, vocabularies and the like are the recipe's own files.
"""

from trainer.package.contents import Export, Package, described
from trainer.package.write import write_package

__all__ = ["Export", "Package", "described", "write_package"]
