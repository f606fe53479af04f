"""``python -m trainer.predict MODEL_DIR INPUT [--json]``: predicts offline. Exit code 2 and one line for what cannot be done."""

import argparse
import json
import os
import sys
from pathlib import Path

import torch

from trainer.predict import predictor_class
from trainer.predict.inputs import find_inputs
from trainer.predict.loading import check_device, load_model, read_config
from trainer.predict.predictor import BadInput
from trainer.predict.table import render


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m trainer.predict", description="Predicts with a packaged model. Works offline.")
    parser.add_argument("model", type=Path, metavar="MODEL_DIR", help="the folder of a downloaded package")
    parser.add_argument("input", metavar="INPUT", help="a file, a folder, a text, or - for standard input")
    parser.add_argument("--json", action="store_true", help="one JSON object a line instead of a table")
    parser.add_argument("--batch-size", type=int, default=32, metavar="N")
    parser.add_argument("--device", default="cpu", help="cpu (the default), cuda or cuda:N")
    return parser.parse_args()


def main() -> None:
    asked = arguments()
    device = check_device(asked.device)
    if asked.batch_size < 1:
        raise BadInput("--batch-size must be at least 1")
    # The input is looked at before the weights are read: a mistyped name is answered at once.
    config = read_config(asked.model)
    found = predictor_class(config["recipe"])
    inputs = find_inputs(asked.input, found.suffixes, or_texts=found.or_texts)
    predictor = found(asked.model, config, load_model(asked.model, config, device))
    predictor.batch_size = asked.batch_size
    with torch.inference_mode():
        if asked.json:
            for row in predictor.predict(inputs):
                print(json.dumps(row, ensure_ascii=False), flush=True)
        else:
            print(render(list(predictor.predict(inputs))))


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        main()
    except BadInput as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        # Nobody reads on (`| head`). What is left in the buffer must not be flushed into the closed pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
