"""image-classification: a residual network that learns to tell images apart."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from core.spec import Dataset, JobSpec, Section

METRICS = (
    "loss",
    "accuracy",
    "learning_rate",
    "gradient_norm",
    "samples_per_second",
    "validation_loss",
    "validation_accuracy",
    "test_loss",
    "test_accuracy",
)


class Model(Section):
    """A residual network after He et al. 2015 (arXiv:1512.03385), section 4.2: depth is 6n + 2 layers."""

    family: Literal["resnet"] = "resnet"
    depth: int = Field(default=8, ge=8, le=110, description="number of weighted layers: 8, 14, 20, 26, 32, ...")
    width: int = Field(default=16, ge=4, le=256, description="channels of the first stage; each of the two next doubles them")
    stem: Literal["auto", "small", "large"] = Field(
        default="small", description="small: one 3x3 convolution; large: 7x7 stride 2 and pooling; auto: by image size"
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="share of the last layer's inputs that is left out in each step")

    @model_validator(mode="after")
    def _depth_fits_the_family(self) -> Self:
        if self.depth % 6 != 2:
            raise ValueError(f"depth {self.depth} is not 6n + 2 (8, 14, 20, 26, ...)")
        return self


class Training(Section):
    epochs: int = Field(default=20, ge=1, le=10_000)
    batch_size: int = Field(default=64, ge=1, le=65_536, description="images per optimiser step, over all ranks together")
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = Field(default=0.1, gt=0, le=10, description="the peak, reached after warm-up and lowered along a cosine")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="sgd only; with Nesterov's look-ahead")
    weight_decay: float = Field(default=2e-3, ge=0, le=1, description="not on norms and biases")
    warmup_epochs: float = Field(default=1.0, ge=0, le=100)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    gradient_clip: float | None = Field(default=None, gt=0, description="largest L2 norm of the gradient; null for none")
    max_shift: int = Field(default=1, ge=0, le=32, description="augmentation: training images are moved by up to this many pixels")
    flip: bool = Field(default=False, description="augmentation: training images are mirrored half of the time")
    precision: Literal["auto", "fp32", "bf16"] = Field(default="fp32", description="auto: bf16 where a GPU supports it")
    threads_per_rank: int = Field(default=1, ge=1, le=64)
    log_every_steps: int = Field(default=1, ge=1, le=1000)


class Evaluation(Section):
    validation_fraction: float = Field(default=0.15, gt=0, lt=0.5)
    test_fraction: float = Field(default=0.15, gt=0, lt=0.5)
    every_epochs: int = Field(default=1, ge=1, le=1000)
    patience: int | None = Field(
        default=None, ge=1, le=1000, description="early stopping: evaluations without a better accuracy; null for never"
    )
    min_delta: float = Field(default=0.0, ge=0, lt=1, description="how much better counts as better")


class ImageClassificationSpec(JobSpec):
    """Trains a residual network on labelled images and packages the best one.

    A dataset by path is a folder with ``images.npy`` (uint8, count x height x width or count x height x width x
    channels), ``labels.npy`` (integers, count) and ``classes.json`` (a list of names).
    """

    summary: ClassVar[str] = "Residual networks on labelled images, evaluated and exported"
    metrics: ClassVar[tuple[str, ...]] = METRICS

    recipe: Literal["image-classification"]
    dataset: Dataset
    model: Model = Model()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()

    @model_validator(mode="after")
    def _batch_divides_by_the_ranks(self) -> Self:
        num_ranks = self.resources.nodes * self.resources.devices_per_node
        if self.training.batch_size % num_ranks:
            raise ValueError(f"training.batch_size {self.training.batch_size} cannot be shared equally by {num_ranks} ranks")
        return self
