"""A script whose training raises inside its run."""

import mlflow

with mlflow.start_run():
    mlflow.log_metric("loss", 1.0, step=1)
    raise ZeroDivisionError("the loss is gone")
