"""token-classification: a network that finds names in texts: persons, places, whatever the tags say."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, Tag

from core.recipes.sections.auto import BatchSize, LearningRate
from core.recipes.sections.data import DataKnobs
from core.recipes.sections.evaluation import EvaluationKnobs
from core.recipes.sections.families import by_family
from core.recipes.sections.text import TokenizerKnobs
from core.recipes.sections.trained import TrainedSpec
from core.recipes.sections.training import ENGINE_METRICS, AdversarialMethod, TrainingKnobs
from core.recipes.sections.transformers import Transformers
from core.recipes.text_models import EncoderSize
from core.spec import Section

METRICS = (
    *ENGINE_METRICS,
    "accuracy",
    "tokens_per_second",
    *(f"{split}_{name}" for split in ("validation", "test") for name in ("loss", "accuracy", "precision", "recall", "f1")),
)


class Data(DataKnobs):
    """Tags are O, B-<type> where an entity begins, and I-<type> where it goes on."""

    tokens_column: str = Field(default="tokens", max_length=128, description="of a table: the words of a sentence")
    tags_column: str | None = Field(
        default=None, max_length=128, description="of a table; null: the first of ner_tags, tags, labels that there is"
    )
    scheme: Literal["iob2", "iob1"] = Field(
        default="iob2", description="iob2: an I- tag that continues nothing is an error; iob1: it begins an entity"
    )
    tokenizer: TokenizerKnobs = Field(
        default=TokenizerKnobs(), description="bilstm: max_length counts words, vocab_size, lowercase and min_frequency are for whole words"
    )


class BiLstm(Section):
    """Words by their embeddings and their letters, read from both ends, tags chosen together: Ma and Hovy 2016 (arXiv:1603.01354)."""

    family: Literal["bilstm"] = "bilstm"
    embedding: int = Field(default=100, ge=4, le=4096, description="numbers per word")
    character_embedding: int = Field(default=30, ge=2, le=512, description="numbers per letter")
    character_channels: int = Field(default=50, ge=2, le=1024, description="of the convolution over the letters of a word")
    width: int = Field(default=128, ge=4, le=4096, description="units of a layer, in each direction")
    num_layers: int = Field(default=1, ge=1, le=8)
    dropout: float = Field(default=0.5, ge=0, lt=1, description="of what goes into the first layer and comes out of each")
    crf: bool = Field(default=True, description="learns which tag follows which (a conditional random field)")


class Encoder(EncoderSize):
    """With a base model, width, layers, heads, hidden and norm are the base model's. A word's tag is read off its first token."""

    family: Literal["encoder"]
    head_dropout: float = Field(default=0.1, ge=0, lt=1, description="share of the last layer's inputs that is left out in each step")


Model = Annotated[
    Annotated[BiLstm, Tag("<bilstm>")] | Annotated[Encoder, Tag("<encoder>")] | Annotated[Transformers, Tag("<transformers>")],
    by_family("bilstm", "encoder", "transformers", default="bilstm"),
]


class Training(TrainingKnobs):
    epochs: int = Field(default=20, ge=1, le=100_000)
    batch_size: BatchSize = Field(
        default=32, description="sentences per optimiser step, over all ranks and micro-batches together; auto: what fits"
    )
    learning_rate: LearningRate = Field(default=2e-3, description="the peak; auto: found by a range test before the first step")
    warmup_epochs: float = Field(default=0.5, ge=0, le=10_000)
    gradient_clip: float | None = Field(default=1.0, gt=0, description="largest L2 norm of the gradient; null for none")
    word_dropout: float = Field(default=0.05, ge=0, lt=1, description="augmentation: share of words that become unknown (bilstm)")


class Evaluation(EvaluationKnobs):
    """An entity is right when its type and both its ends are (strict, as CoNLL 2003 counts)."""

    metric: Literal["f1", "precision", "recall", "accuracy", "loss"] | None = Field(
        default=None, description="the validation metric that decides which weights are kept; null: f1"
    )


class TokenClassificationSpec(TrainedSpec):
    """Trains a tagger on sentences whose words are tagged and packages the best one with its vocabulary.

    A dataset by path is a table (.jsonl, .json, .parquet) with a list of words and a list of tags in each row, tags as text
    or as numbers with their names in ``labels.json`` beside; or CoNLL columns (.conll, .bio, .iob, .txt): a word and, last in
    the line, its tag, an empty line between sentences; or a folder of either, named train, validation and test. A base model is
    a package of this recipe or of masked-language-modeling (family encoder), or a folder of the Transformers library.
    """

    summary: ClassVar[str] = "Named entities: BiLSTM-CRFs and Transformer encoders on tagged words, scored by whole entities"
    metrics: ClassVar[tuple[str, ...]] = METRICS
    attacks: ClassVar[tuple[AdversarialMethod, ...]] = ("fgm",)
    allows_r_drop: ClassVar[bool] = True

    recipe: Literal["token-classification"]
    data: Data = Data()
    model: Model = BiLstm()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
