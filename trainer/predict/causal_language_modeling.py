"""Continuing prompts with a packaged language model. Of one that learned from chats, a prompt is what the user says."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from trainer.data.corpus import ROLES
from trainer.data.text.tokenizers import FILE, Tokenizer
from trainer.data.token_files import encode_plain, mark_ids
from trainer.models.generate import generate
from trainer.predict.predictor import Axes, BadInput, Record, text_in, without_input
from trainer.predict.predictor import Predictor as Base
from trainer.predict.texts import made_up_texts

NUM_TOKENS = 200
TEMPERATURE = 0.8
TOP_K = 200
SEED = 0
PROMPT = "prompt"


class Predictor(Base):
    """The same prompt is continued alike each time."""

    def __init__(self, folder: Path, config: dict[str, Any], model: nn.Module) -> None:
        super().__init__(folder, config, model)
        self.tokenizer = Tokenizer.load(folder / FILE)
        self.context = int(config["preprocessing"]["context_length"])
        self.is_chat = config["preprocessing"]["format"] == "chat"

    def predict(self, inputs: list[Path] | list[str]) -> Iterator[dict[str, Any]]:
        for prompt in map(str, inputs):
            ids = self._ids(prompt)
            if not ids:
                raise BadInput("the prompt has no token that the model knows")
            draws = torch.Generator().manual_seed(SEED)
            row = torch.tensor([ids], device=self.device)
            how: dict[str, Any] = {"context": self.context, "temperature": TEMPERATURE, "top_k": TOP_K, "stop": self.tokenizer.end_id}
            found = generate(self.model, row, NUM_TOKENS, **how, draws=draws)[0, len(ids) :]
            yield {"input": prompt, "text": self.tokenizer.decode(found.tolist())}

    def answer(self, records: Sequence[Record]) -> list[dict[str, Any]]:
        """A record's prompt, or its text, is continued."""
        return [without_input(next(self.predict([text_in(record, PROMPT)]))) for record in records]

    def prepare(self, records: Sequence[Record]) -> dict[str, torch.Tensor]:
        """Token numbers (N, T), padded behind: a decoder does not look ahead."""
        rows = [torch.tensor(self._ids(text_in(record, PROMPT))[-self.context :] or [0]) for record in records]
        return {self._argument: torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)}

    def axes(self) -> Axes:
        return {self._argument: {0: "batch", 1: f"time<={self.context}"}}

    def made_up(self, num: int) -> Sequence[Record]:
        return [{PROMPT: text} for text in made_up_texts(self.tokenizer, num)]

    @property
    def _argument(self) -> str:
        return "tokens" if "architecture" in self.config else "ids"

    def _ids(self, prompt: str) -> list[int]:
        own = encode_plain(self.tokenizer, [prompt])[0]
        if not self.is_chat:
            return own
        end = [] if self.tokenizer.end_id is None else [self.tokenizer.end_id]
        return [*mark_ids(self.tokenizer, ROLES["user"]), *own, *end, *mark_ids(self.tokenizer, ROLES["assistant"])]
