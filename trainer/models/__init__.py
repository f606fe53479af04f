"""Model definitions: plain modules that know nothing of training, and the registry of their families."""

import importlib
from typing import Any

from torch import nn

# family -> "module:callable"; the callable takes the rest of the architecture as keywords. By name, so that a run
# imports what it trains and nothing else.
FAMILIES: dict[str, str] = {
    "scripted": "trainer.models.scripted:build",
    "image-classifier": "trainer.models.classifier:build",
    "alexnet": "trainer.models.alexnet:AlexNet",
    "vgg": "trainer.models.vgg:Vgg",
    "googlenet": "trainer.models.googlenet:GoogLeNet",
    "resnet": "trainer.models.resnet:ResNet",
    "resnet9": "trainer.models.resnet9:ResNet9",
    "vit": "trainer.models.vit:VisionTransformer",
    "encoder-classifier": "trainer.models.encoder:EncoderClassifier",
    "encoder-tagger": "trainer.models.encoder:EncoderTagger",
    "encoder-masked-lm": "trainer.models.encoder:EncoderMaskedLM",
    "gpt": "trainer.models.gpt:GPT",
    "transformers": "trainer.models.hf:build_hf",
    "tabular-mlp": "trainer.models.tabular.mlp:TabularMlp",
    "ft-transformer": "trainer.models.tabular.ft_transformer:FTTransformer",
    "text-cnn": "trainer.models.text_cnn:TextCnn",
    "recurrent": "trainer.models.recurrent:RecurrentClassifier",
    "recurrent-tagger": "trainer.models.tagger:RecurrentTagger",
    "matrix-factorization": "trainer.models.recommenders:MatrixFactorization",
    "two-tower": "trainer.models.recommenders:TwoTower",
    "conv-transformer": "trainer.models.speech:ConvTransformer",
}


def build(architecture: dict[str, Any]) -> nn.Module:
    """A fresh model. ``architecture`` is plain JSON: ``{"family": ..., **arguments}``, as packages keep it in config.json."""
    arguments = dict(architecture)
    module, _, name = FAMILIES[arguments.pop("family")].partition(":")
    model: nn.Module = getattr(importlib.import_module(module), name)(**arguments)
    return model
