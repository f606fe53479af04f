"""How a model is trained, whatever it learns. A recipe subclasses ``TrainingKnobs`` with its own defaults and additions."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from core.recipes.sections.auto import BatchSize, LearningRate
from core.spec import Section

OptimizerName = Literal["sgd", "adam", "adamw", "adafactor", "lion", "muon"]
ScheduleName = Literal["constant", "linear", "cosine", "one-cycle", "wsd"]
AdversarialMethod = Literal["fgsm", "pgd", "fgm"]

# What the engine itself writes while it trains, whatever the recipe: beside these the throughput in the recipe's unit.
ENGINE_METRICS = (
    "loss",
    "learning_rate",
    "gradient_norm",
    "data_wait_share",
    "memory_bytes",
    "mfu",  # on GPUs that are known
    "checkpoint_stall_seconds",  # after a checkpoint
    *(f"{phase}_seconds" for phase in ("preparing", "training", "evaluating", "packaging")),  # once, at the end
)


class Adversarial(Section):
    """A second pass on inputs that were moved against the model; its loss is added to that of the clean pass.

    FGSM: Goodfellow et al. 2015 (arXiv:1412.6572). PGD: Madry et al. 2018 (arXiv:1706.06083). FGM, on embeddings: Miyato
    et al. 2017 (arXiv:1605.07725).
    """

    method: AdversarialMethod
    epsilon: float = Field(default=0.03, gt=0, le=10, description="how far; of normalised pixels (fgsm, pgd) or in L2 of embeddings (fgm)")
    steps: int = Field(default=3, ge=1, le=50, description="pgd only")
    weight: float = Field(default=1.0, gt=0, le=10, description="of the adversarial loss, beside 1 of the clean one")


class TrainingKnobs(Section):
    settled_by_device: ClassVar[tuple[str, ...]] = ("strategy",)

    epochs: int = Field(default=10, ge=1, le=100_000)
    max_steps: int | None = Field(default=None, ge=1, description="optimiser steps after which training ends, whatever epochs says")
    batch_size: BatchSize = Field(
        default=32, description="rows per optimiser step, over all ranks and micro-batches together; auto: what fits"
    )
    accumulate: int = Field(default=1, ge=1, le=4096, description="micro-batches that one optimiser step is made of")
    optimizer: OptimizerName = Field(default="adamw", description="muon: matrices by Muon, everything else by AdamW")
    learning_rate: LearningRate = Field(default=1e-3, description="the peak; auto: found by a range test before the first step")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="sgd (with Nesterov's look-ahead) and muon")
    beta1: float = Field(default=0.9, ge=0, lt=1, description="adam, adamw, lion")
    beta2: float | None = Field(default=None, ge=0, lt=1, description="adam, adamw, muon (null: 0.999), lion (null: 0.99)")
    weight_decay: float = Field(default=0.01, ge=0, le=10, description="decoupled for adamw, lion, muon; not on norms and biases")
    l1: float = Field(default=0.0, ge=0, le=10, description="penalty on the sum of absolute weights, not on norms and biases")
    l2: float = Field(default=0.0, ge=0, le=10, description="penalty on half the sum of squared weights, not on norms and biases")
    schedule: ScheduleName = "cosine"
    warmup_epochs: float = Field(default=0.0, ge=0, le=10_000)
    warmup_steps: int | None = Field(default=None, ge=0, description="instead of warmup_epochs")
    decay_share: float = Field(default=0.2, gt=0, le=1, description="wsd: share of all steps over which the rate falls at the end")
    final_rate_share: float = Field(default=0.0, ge=0, le=1, description="what is left of the peak at the last step")
    gradient_clip: float | None = Field(default=None, gt=0, description="largest L2 norm of the gradient; null for none")
    ema: float | None = Field(default=None, gt=0, lt=1, description="decay of the exponential moving average that is evaluated and kept")
    swa_share: float | None = Field(default=None, gt=0, lt=1, description="share of all steps, at the end, whose weights are averaged")
    adversarial: Adversarial | None = None
    r_drop: float = Field(default=0.0, ge=0, le=100, description="weight of the divergence between two passes (Liang et al. 2021)")
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = Field(default="fp32", description="auto: bf16 where a GPU supports it")
    strategy: Literal["auto", "ddp", "fsdp"] = Field(
        default="auto", description="auto: fsdp when model and optimiser do not fit one device"
    )
    tensor_parallel: int = Field(default=1, ge=1, le=64, description="ranks that share each transformer block")
    cpu_offload: bool = Field(default=False, description="fsdp: parameters rest in host memory")
    activation_checkpointing: bool = Field(
        default=False, description="computes activations again in the backward pass instead of keeping them"
    )
    compile: bool = Field(default=False, description="torch.compile; pays on GPUs after the first minute")
    channels_last: bool = Field(default=False, description="memory layout of convolutions")
    threads_per_rank: int = Field(default=1, ge=1, le=64)
    log_every_steps: int = Field(default=1, ge=1, le=10_000)

    @model_validator(mode="after")
    def _one_warmup_and_one_average(self) -> Self:
        if self.ema is not None and self.swa_share is not None:
            raise ValueError("ema and swa_share both decide which weights are kept; give one of them")
        if self.cpu_offload and self.strategy != "fsdp":
            raise ValueError("cpu_offload needs strategy fsdp")
        return self


ClassLoss = Literal["cross-entropy", "focal", "binary"]
CLASS_LOSSES = (
    "focal: Lin et al. 2017 (arXiv:1708.02002); binary: a yes-no question for each class (Wightman et al. 2021, arXiv:2110.00476)"
)


class ClassLossKnobs(TrainingKnobs):
    """For recipes whose rows have one class each."""

    loss: ClassLoss = Field(default="cross-entropy", description=CLASS_LOSSES)
    focal_gamma: float = Field(default=2.0, ge=0, le=10, description="focal: how little sure rows count; 0 is cross-entropy")
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
