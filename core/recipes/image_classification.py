"""image-classification: a network that learns to tell images apart."""

from typing import ClassVar, Literal

from pydantic import Field

from core.recipes.image_models import Model, ResNet
from core.recipes.sections.auto import BatchSize, ImageSize, LearningRate
from core.recipes.sections.data import ClassKnobs
from core.recipes.sections.evaluation import EvaluationKnobs
from core.recipes.sections.trained import TrainedSpec
from core.recipes.sections.training import ENGINE_METRICS, AdversarialMethod, ClassLossKnobs, OptimizerName
from core.spec import Section

METRICS = (
    *ENGINE_METRICS,
    "accuracy",
    "samples_per_second",
    *(f"{split}_{name}" for split in ("validation", "test") for name in ("loss", "accuracy", "top5", "macro_f1")),
)


class Data(ClassKnobs):
    """Images are decoded once, to one size, and kept as they are then shown to the model."""

    validation_fraction: float = Field(default=0.15, gt=0, lt=0.5, description="of the rows that no given split covers")
    test_fraction: float = Field(default=0.15, gt=0, lt=0.5, description="of the rows that no given split covers")
    image_size: ImageSize = Field(
        default="auto",
        description="side in pixels: the shorter side is scaled to it, the middle is cut out; auto: as they are when all have one size, "
        "else the median of the shorter sides, 224 at most",
    )
    channels: Literal["auto", "grey", "rgb"] = Field(default="auto", description="auto: rgb when any image has colours")
    image_column: str = Field(default="image", max_length=128, description="of a table: the image's bytes, or its path beside the table")
    label_column: str = Field(default="label", max_length=128, description="of a table: the class, a name or a number")
    label_name_column: str = Field(default="label_name", max_length=128, description="of a table: names for numbers; may be absent")


class Progressive(Section):
    """The first epochs on fewer pixels, which cost less: a first course of coarse images (Tan and Le 2021, arXiv:2104.00298)."""

    share: float = Field(default=0.5, gt=0, le=1, description="of all epochs, the first ones")
    size: float = Field(default=0.75, ge=0.25, lt=1, description="of the side")
    how: Literal["crop", "resize"] = Field(default="crop", description="crop: a random part of each image; resize: all of it, coarser")


class Training(ClassLossKnobs):
    """Augmentation is drawn anew for each image in each step, from the seed alone, and applies to the training split only."""

    epochs: int = Field(default=20, ge=1, le=100_000)
    batch_size: BatchSize = Field(
        default=64, description="images per optimiser step, over all ranks and micro-batches together; auto: what fits"
    )
    optimizer: OptimizerName = Field(default="sgd", description="muon: matrices by Muon, everything else by AdamW")
    learning_rate: LearningRate = Field(
        default=0.1, description="the peak, reached after warm-up; auto: found by a range test before the first step"
    )
    weight_decay: float = Field(default=2e-3, ge=0, le=10, description="decoupled for adamw, lion, muon; not on norms and biases")
    warmup_epochs: float = Field(default=1.0, ge=0, le=10_000)
    max_shift: int = Field(
        default=1, ge=0, le=128, description="augmentation: moved by up to this many pixels along both axes, the border is 0"
    )
    flip: bool = Field(default=False, description="augmentation: mirrored half of the time")
    colour_jitter: float = Field(
        default=0.0, ge=0, le=1, description="augmentation: brightness, contrast and saturation times 1 - this to 1 + this"
    )
    randaugment: int = Field(
        default=0, ge=0, le=8, description="augmentation: this many of 14 operations on each image (Cubuk et al. 2019, arXiv:1909.13719)"
    )
    randaugment_magnitude: float = Field(default=9.0, ge=0, le=30, description="strength of its operations")
    cutout: int = Field(
        default=0, ge=0, le=512, description="augmentation: a square of this side is set to 0 (DeVries and Taylor 2017, arXiv:1708.04552)"
    )
    mixup: float = Field(
        default=0.0,
        ge=0,
        le=10,
        description="augmentation: alpha of the Beta that blends pairs (Zhang et al. 2017, arXiv:1710.09412); 0: off",
    )
    cutmix: float = Field(
        default=0.0,
        ge=0,
        le=10,
        description="augmentation: alpha of the Beta that pastes parts (Yun et al. 2019, arXiv:1905.04899); 0: off",
    )
    mix_share: float = Field(default=1.0, gt=0, le=1, description="share of steps with mixup or cutmix; with both, each takes half of them")
    progressive: Progressive | None = None


class Evaluation(EvaluationKnobs):
    metric: Literal["accuracy", "top5", "macro_f1", "loss"] | None = Field(
        default=None, description="the validation metric that decides which weights are kept; null: accuracy"
    )
    mirrored: bool = Field(
        default=False,
        description="answer with the mean over an image and its mirror image, when evaluating and in the package, at twice the cost",
    )


class ImageClassificationSpec(TrainedSpec):
    """Trains a network on labelled images and packages the best one.

    A dataset by path is one of: images in folders named after their class (with ``train`` and ``test`` above, or not), such
    folders in a .zip, a table (.parquet with the images' bytes, or .csv and .jsonl with paths) with a label column, the four
    .gz files of MNIST's format, or ``images.npy`` (uint8, count x height x width or count x height x width x channels),
    ``labels.npy`` (integers, count) and ``classes.json`` (a list of names).
    """

    summary: ClassVar[str] = "Classic and residual networks and vision transformers on labelled images, evaluated and exported"
    metrics: ClassVar[tuple[str, ...]] = METRICS
    attacks: ClassVar[tuple[AdversarialMethod, ...]] = ("fgsm", "pgd")
    allows_r_drop: ClassVar[bool] = True

    recipe: Literal["image-classification"]
    data: Data = Data()
    model: Model = ResNet()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
