"""A script that logs two hundred steps of one metric."""

import mlflow

with mlflow.start_run():
    for step in range(200):
        mlflow.log_metric("loss", 1.0 / (step + 1), step=step)
