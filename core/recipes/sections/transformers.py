"""Models of the Transformers library: by their configuration, or as they were uploaded. Nothing is ever fetched from a hub."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from core.spec import Section


class Transformers(Section):
    family: Literal["transformers"]
    config: dict[str, Any] | None = Field(
        default=None,
        description="what a config.json of the library holds, model_type above all; null: that of the base model. "
        "The recipe sets the sizes that the data decides",
        max_length=200,
    )

    @model_validator(mode="after")
    def _config_names_its_type(self) -> Self:
        if self.config is not None and not isinstance(self.config.get("model_type"), str):
            raise ValueError("config needs a model_type, such as bert or gpt2")
        return self
