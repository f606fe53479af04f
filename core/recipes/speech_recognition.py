"""speech-recognition: a network that writes down what is said."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, Tag, model_validator

from core.recipes.sections.auto import OR_AUTO, Auto, BatchSize, LearningRate
from core.recipes.sections.data import DataKnobs
from core.recipes.sections.evaluation import EvaluationKnobs
from core.recipes.sections.families import by_family
from core.recipes.sections.trained import TrainedSpec
from core.recipes.sections.training import ENGINE_METRICS, TrainingKnobs
from core.recipes.sections.transformers import Transformers
from core.spec import Section

METRICS = (
    *ENGINE_METRICS,
    "samples_per_second",
    *(f"{split}_{name}" for split in ("validation", "test") for name in ("loss", "wer", "cer")),
)

ColumnName = Annotated[str, Field(min_length=1, max_length=512)]
SampleRate = Annotated[Annotated[int, Field(ge=4000, le=48_000), Tag("<number>")] | Auto, OR_AUTO]
Speed = Annotated[float, Field(ge=0.5, le=2.0)]


class Data(DataKnobs):
    """Recordings become features once (logarithms of energies in mel bands, 25 ms every 10 ms), which jobs of a node share."""

    audio_column: ColumnName | None = Field(default=None, description="null: one called file_name, file, filename, path, audio or wav")
    text_column: ColumnName | None = Field(
        default=None, description="null: one called text, transcription, transcript, sentence or normalized_text"
    )
    lowercase: bool = Field(default=True, description="texts are compared and written in small letters")
    sample_rate: SampleRate = Field(
        default="auto", description="of the features; recordings are resampled to it. auto: the most frequent one, 16,000 at most"
    )
    num_mels: int = Field(default=64, ge=8, le=256, description="bands between 20 Hz and half the sample rate")
    max_seconds: float = Field(default=30.0, gt=0, le=3600, description="longer recordings are bad rows")
    normalisation: Literal["utterance", "training"] = Field(
        default="utterance", description="each band to mean 0 and deviation 1, of the utterance or of all training utterances"
    )


class ConvTransformer(Section):
    """Convolutions that shorten the time, then a Transformer encoder; with ``convolution``, its blocks have the convolution of the
    Conformer (Gulati et al. 2020, arXiv:2005.08100) behind their attention."""

    family: Literal["conv-transformer"] = "conv-transformer"
    width: int = Field(default=144, ge=8, le=4096)
    num_layers: int = Field(default=4, ge=1, le=64)
    num_heads: int = Field(default=4, ge=1, le=64)
    subsampling: Literal[1, 2, 4, 8] = Field(default=4, description="feature frames, 10 ms each, per output frame")
    convolution: int = Field(default=15, ge=0, le=127, description="frames that the convolution of a block sees, an odd number; 0: none")
    dropout: float = Field(default=0.1, ge=0, lt=1)

    @model_validator(mode="after")
    def _shapes_agree(self) -> Self:
        if self.width % (2 * self.num_heads):
            raise ValueError(f"width {self.width} is not a multiple of twice the {self.num_heads} heads")
        if self.convolution and self.convolution % 2 == 0:
            raise ValueError(f"convolution {self.convolution} is not an odd number")
        return self


Model = Annotated[
    Annotated[ConvTransformer, Tag("<conv-transformer>")] | Annotated[Transformers, Tag("<transformers>")],
    by_family("conv-transformer", "transformers", default="conv-transformer"),
]


class Training(TrainingKnobs):
    """Augmentation is drawn anew for each utterance in each epoch, from the seed alone, and applies to the training split only."""

    epochs: int = Field(default=50, ge=1, le=100_000)
    batch_size: BatchSize = Field(
        default=32, description="utterances per optimiser step, over all ranks and micro-batches together; auto: what fits"
    )
    learning_rate: LearningRate = Field(default=1e-3, description="the peak; auto: found by a range test before the first step")
    warmup_epochs: float = Field(default=2.0, ge=0, le=10_000)
    gradient_clip: float | None = Field(default=1.0, gt=0, description="largest L2 norm of the gradient; null for none")
    bucket: bool = Field(default=True, description="batches of utterances of similar length, which wastes less on padding")
    speeds: tuple[Speed, ...] = Field(
        default=(1.0,), min_length=1, max_length=8, description="augmentation: one of these speeds (Ko et al. 2015), such as 0.9, 1, 1.1"
    )
    frequency_masks: int = Field(default=2, ge=0, le=16, description="augmentation: SpecAugment (Park et al. 2019, arXiv:1904.08779)")
    frequency_mask_share: float = Field(default=0.2, ge=0, le=1, description="of the bands that one mask hides, at most")
    time_masks: int = Field(default=2, ge=0, le=64, description="augmentation: SpecAugment")
    time_mask_share: float = Field(default=0.1, ge=0, le=1, description="of the utterance that one mask hides, at most")
    noise: float = Field(default=0.0, ge=0, le=1, description="augmentation: share of utterances that get white noise")
    noise_snr: float = Field(default=10.0, ge=-20, le=60, description="decibels that speech is above it at least; 30 more at most")


class Evaluation(EvaluationKnobs):
    metric: Literal["wer", "cer", "loss"] | None = Field(
        default=None, description="the validation metric that decides which weights are kept; null: wer"
    )
    beam_width: int = Field(default=1, ge=1, le=256, description="1: the best letter of each frame; more: prefix beam search")


class SpeechRecognitionSpec(TrainedSpec):
    """Learns to write down what is said from recordings and their texts, by CTC on letters (Graves et al. 2006).

    A dataset by path is a folder, or a .zip of one, with a table such as ``metadata.csv``: a column of files (.wav, .flac and
    whatever libsndfile reads; where they stand seen from the table), a column of texts, and maybe one that names the split.
    Family ``transformers`` takes models that hear the wave itself, such as wav2vec2; of augmentation they get speeds alone.
    """

    summary: ClassVar[str] = "Recordings to text, by CTC on letters"
    metrics: ClassVar[tuple[str, ...]] = METRICS

    recipe: Literal["speech-recognition"]
    data: Data = Data()
    model: Model = ConvTransformer()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
