"""Which way a metric is better. The one place that knows; metrics of a script that are not here have no known direction."""

LOWER_IS_BETTER = ("loss", "perplexity", "bits_per_byte", "wer", "cer", "rmse", "mse", "mae")
HIGHER_IS_BETTER = (
    *("accuracy", "top5", "macro_f1", "f1", "precision", "recall", "r2", "recall_at_10", "ndcg_at_10"),
    *("samples_per_second", "tokens_per_second", "mfu", "goodput"),
)
SPLITS = ("test", "validation")


def split_of(metric: str) -> tuple[str | None, str]:
    """``test_accuracy`` and ``test.accuracy`` are the split test and its accuracy; without a split it is None."""
    for split in SPLITS:
        for joint in "_.":
            if metric.startswith(split + joint):
                return split, metric[len(split) + 1 :]
    return None, metric


def higher_is_better(metric: str) -> bool | None:
    """None when it is not known; the split before the name makes no difference."""
    _, name = split_of(metric)
    if name in LOWER_IS_BETTER:
        return False
    return True if name in HIGHER_IS_BETTER else None
