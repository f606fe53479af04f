"""A script that uses the ``mlflow`` client as scripts do, and prints what the client tells it back."""

import json
import math
import tempfile
import time
from pathlib import Path

import mlflow
from mlflow.entities import Metric, Param, RunTag

work = Path(tempfile.mkdtemp())
(work / "folder" / "deep").mkdir(parents=True)
(work / "folder" / "one.bin").write_bytes(bytes(range(256)) * 4096)
(work / "folder" / "deep" / "empty.txt").write_bytes(b"")
(work / "a name with spaces é.txt").write_text("spaces")

mlflow.set_experiment("an experiment of mine")
with mlflow.start_run(run_name="first try", tags={"team": "blue"}) as run:
    mlflow.log_param("lr", 0.1)
    mlflow.log_params({"batch_size": 32, "optimizer": "adamw", "note": "x" * 5000})
    mlflow.log_param("lr", 0.2)
    for step in range(5):
        mlflow.log_metric("loss", 1.0 / (step + 1), step=step)
    mlflow.log_metrics({"accuracy": 0.5, "f1": 0.25}, step=4)
    mlflow.log_metric("broken", math.nan, step=1)
    mlflow.log_metric("broken", math.inf, step=2)
    mlflow.log_metric("later", 1.0, step=2, synchronous=False).wait()
    mlflow.log_metric("later", 0.5, step=1, synchronous=False).wait()
    now = int(time.time() * 1000)
    client = mlflow.MlflowClient()
    client.log_batch(run.info.run_id, metrics=[Metric("batch", float(i), now, i) for i in range(1000)])
    client.log_batch(run.info.run_id, params=[Param(f"p{i}", "v") for i in range(100)], tags=[RunTag(f"t{i}", "v") for i in range(100)])
    mlflow.set_tag("kind", "baseline")
    mlflow.set_tag("gone", "soon")
    mlflow.delete_tag("gone")
    mlflow.log_artifact(work / "a name with spaces é.txt", "texts")
    mlflow.log_artifacts(work / "folder", "folder")
    mlflow.log_text("hello", "texts/hello.txt")
    mlflow.log_dict({"a": 1}, "config.json")
    with mlflow.start_run(run_name="fold 1", nested=True) as child:
        mlflow.log_metric("loss", 9.0, step=0)
        mlflow.log_param("lr", 7)
        mlflow.log_text("of the child", "notes.txt")

run_id = run.info.run_id
data = client.get_run(run_id).data
downloaded = Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="folder", dst_path=str(work / "back")))
print(
    json.dumps(
        {
            "run_id": run_id,
            "experiment": mlflow.get_experiment_by_name("an experiment of mine").experiment_id,
            "status": client.get_run(run_id).info.status,
            "params": {key: value for key, value in data.params.items() if not key.startswith("p")},
            "num_params": len(data.params),
            "tags": {key: value for key, value in data.tags.items() if key in ("team", "kind", "gone")},
            "source": data.tags.get("mlflow.source.name", ""),
            "metrics": {key: repr(value) for key, value in data.metrics.items()},
            "history": [(metric.step, metric.value) for metric in client.get_metric_history(run_id, "loss")],
            "num_batch": len(client.get_metric_history(run_id, "batch")),
            "artifacts": sorted(item.path for item in client.list_artifacts(run_id)),
            "texts": sorted(item.path for item in client.list_artifacts(run_id, "texts")),
            "listed_file": client.list_artifacts(run_id, "config.json"),
            "hello": mlflow.artifacts.load_text(f"{run.info.artifact_uri}/texts/hello.txt"),
            "spaces": mlflow.artifacts.load_text(f"{run.info.artifact_uri}/texts/a name with spaces é.txt"),
            "same_bytes": (downloaded / "one.bin").read_bytes() == (work / "folder" / "one.bin").read_bytes(),
            "empty": (downloaded / "deep" / "empty.txt").stat().st_size,
            "found": sorted(mlflow.search_runs(filter_string="params.lr = '0.2'", output_format="list"), key=str)[0].info.run_id,
            "children": [
                [child.info.run_name, child.data.metrics["loss"], child.data.params["lr"]]
                for child in client.search_runs([run.info.experiment_id], f"tags.mlflow.parentRunId = '{run_id}'")
            ],
            "child_artifacts": [item.path for item in client.list_artifacts(child.info.run_id)],
        }
    )
)
