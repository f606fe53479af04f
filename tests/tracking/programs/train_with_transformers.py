"""A script that trains a tiny model with transformers' Trainer. Arguments: what to report to, and the seconds between status reports."""

import sys

import torch
from torch.utils.data import Dataset
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments
from transformers.integrations.integration_utils import KubeflowCallback

REPORT_TO, SECONDS = sys.argv[1], float(sys.argv[2])


class Rows(Dataset):
    """Eight rows of made-up tokens."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, place: int) -> dict[str, torch.Tensor]:
        return {"input_ids": torch.arange(4) + place, "labels": torch.tensor(place % 2)}


KubeflowCallback._MIN_UPDATE_INTERVAL = SECONDS
torch.set_num_threads(1)
config = BertConfig(
    vocab_size=32, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, max_position_embeddings=8, num_labels=2
)
arguments = TrainingArguments(
    output_dir="out",
    max_steps=6,
    per_device_train_batch_size=2,
    logging_steps=2,
    report_to=REPORT_TO,
    save_strategy="no",
    use_cpu=True,
    disable_tqdm=True,
)
Trainer(model=BertForSequenceClassification(config), args=arguments, train_dataset=Rows()).train()
