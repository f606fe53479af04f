"""causal-language-modeling: a model that continues text, learned from scratch or fine-tuned."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, Tag, model_validator

from core.recipes.sections.data import DataKnobs
from core.recipes.sections.evaluation import EvaluationKnobs
from core.recipes.sections.families import by_family
from core.recipes.sections.trained import TrainedSpec
from core.recipes.sections.training import ENGINE_METRICS, AdversarialMethod, OptimizerName, TrainingKnobs
from core.recipes.sections.transformers import Transformers
from core.spec import Section

METRICS = (
    *ENGINE_METRICS,
    "tokens_per_second",
    *(f"{split}_{name}" for split in ("validation", "test") for name in ("loss", "perplexity", "bits_per_byte")),
)


class Data(DataKnobs):
    """Texts become one row of tokens, cut into pieces of ``context_length``; chats and completions are one row each."""

    format: Literal["auto", "text", "documents", "chat", "completions"] = Field(
        default="auto",
        description="text: .txt files, one after the other; documents: a table with a column of texts; chat: records with messages "
        "of role and content; completions: records with prompt and completion; auto: by what the files hold",
    )
    text_column: str = Field(default="text", max_length=128, description="documents")
    prompt_column: str = Field(default="prompt", max_length=128, description="completions")
    completion_column: str = Field(default="completion", max_length=128, description="completions: what the loss counts")
    messages_column: str = Field(default="messages", max_length=128, description="chat: the loss counts what the assistant says")
    test_fraction: float = Field(
        default=0.0, ge=0, lt=0.5, description="0: no test split is set apart, and the test figures are those of the validation split"
    )
    context_length: int = Field(default=256, ge=8, le=131_072, description="tokens that the model sees at once, at most")
    sampling: Literal["blocks", "random"] = Field(
        default="blocks",
        description="blocks: consecutive pieces in a random order, every token once an epoch; random: pieces from random places",
    )
    tokenizer: Literal["bpe", "char"] = Field(
        default="bpe", description="trained on the training split; a base model brings its own instead"
    )
    vocabulary: int = Field(default=8192, ge=260, le=1_000_000, description="tokens of a tokenizer that is trained, at most")


class Gpt(Section):
    """A decoder after GPT-2 (Radford et al. 2019), with tied embeddings. 12 layers, 12 heads, width 768 are its smallest."""

    family: Literal["gpt"] = "gpt"
    num_layers: int = Field(default=6, ge=1, le=200)
    num_heads: int = Field(default=6, ge=1, le=256)
    width: int = Field(default=384, ge=8, le=16_384)
    dropout: float = Field(default=0.0, ge=0, lt=1, description="pays where the same text is seen for many epochs")
    bias: bool = Field(default=False, description="in linear layers and norms, as GPT-2 had it")

    @model_validator(mode="after")
    def _width_divides_by_the_heads(self) -> Self:
        if self.width % self.num_heads:
            raise ValueError(f"width {self.width} cannot be shared equally by {self.num_heads} heads")
        return self


Model = Annotated[
    Annotated[Gpt, Tag("<gpt>")] | Annotated[Transformers, Tag("<transformers>")], by_family("gpt", "transformers", default="gpt")
]


class Training(TrainingKnobs):
    """``batch_size`` counts pieces of ``context_length`` tokens, chats or completions."""

    optimizer: OptimizerName = Field(default="adamw", description="muon: matrices by Muon, everything else by AdamW")
    beta2: float = Field(default=0.99, ge=0, lt=1, description="adam, adamw, lion")
    weight_decay: float = Field(default=0.1, ge=0, le=10, description="decoupled for adamw, lion, muon; not on norms and biases")
    warmup_epochs: float = Field(default=0.1, ge=0, le=10_000)
    final_rate_share: float = Field(default=0.1, ge=0, le=1, description="what is left of the peak at the last step")
    gradient_clip: float | None = Field(default=1.0, gt=0, description="largest L2 norm of the gradient; null for none")


class Evaluation(EvaluationKnobs):
    """The whole validation split, in consecutive pieces; then the model continues a prompt, for the log and the package."""

    metric: Literal["loss", "perplexity", "bits_per_byte"] | None = Field(
        default=None, description="the validation metric that decides which weights are kept; null: loss"
    )
    sample_tokens: int = Field(default=100, ge=0, le=10_000, description="length of the sampled text; 0 for none")
    sample_prompt: str | None = Field(default=None, max_length=10_000, description="null: how the validation split begins")
    temperature: float = Field(default=0.8, ge=0, le=10, description="of the sampled text; 0: the likeliest token each time")
    top_k: int | None = Field(default=200, ge=1, description="of the sampled text: only so many likeliest tokens; null for all")


class CausalLanguageModelingSpec(TrainedSpec):
    """Trains a decoder to continue text, chats or prompts, and packages it with its tokenizer.

    A dataset by path is a .txt file or a folder of them (named train, validation and test, or cut in order), or a table
    (.jsonl, .json, .csv, .parquet) with a column ``text``; or with ``messages``, each a list of {"role": "system", "user" or
    "assistant", "content": text}; or with ``prompt`` and ``completion``.
    """

    summary: ClassVar[str] = (
        "Decoders that continue text: GPT-2 style or any of the Transformers library, from scratch, fine-tuned or by LoRA"
    )
    metrics: ClassVar[tuple[str, ...]] = METRICS
    attacks: ClassVar[tuple[AdversarialMethod, ...]] = ("fgm",)
    allows_r_drop: ClassVar[bool] = True
    trains_on_rows: ClassVar[bool] = False

    recipe: Literal["causal-language-modeling"]
    data: Data = Data()
    model: Model = Gpt()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
