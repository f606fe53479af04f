"""Checkpoints: folders that are whole or invisible, written beside training, each rank its part, readable by any number of ranks.

Every rank writes into ``.tmp-step-N-<attempt>``; rank 0 makes it durable, seals it with a manifest and renames it. A folder holds

    tensors/*.safetensors  weights and buffers (``model.``), the optimiser's memory (``optimizer.``), the averaged weights
                           (``average.``) and the best ones so far (``best.``): of what all ranks have, each wrote a part
    state.json             ``State``: position, best score, early stopping
    learner.json           numbers beside the tensors: of the optimiser, the average and the scaler of fp16
    rank-R.safetensors     random states of rank R, and its own buffers
    rank-R.json            random states of Python and NumPy on rank R
    manifest.json          size and SHA-256 of each

so that any one of them is enough to go on: exactly on as many ranks, on another number of them with other random draws. The
newest two are kept.
"""

from trainer.checkpoint.checkpointer import Checkpointer

__all__ = ["Checkpointer"]
