"""A script that logs a model by the steps of every flavour's ``log_model`` (which itself wants pandas), finds it and loads it again."""

import json
import tempfile
from pathlib import Path

import mlflow
from mlflow.entities import LoggedModelOutput
from mlflow.models import Model

folder = Path(tempfile.mkdtemp()) / "model"
folder.mkdir()
client = mlflow.MlflowClient()
with mlflow.start_run() as run:
    logged = mlflow.initialize_logged_model(name="doubling", params={"seed": 7}, tags={"stage": "first"}, model_type="factor")
    (folder / "factor.json").write_text("2")
    Model(run_id=run.info.run_id, model_id=logged.model_id).add_flavor("factor", data="factor.json").save(str(folder / "MLmodel"))
    client.log_model_artifacts(logged.model_id, str(folder))
    mlflow.finalize_logged_model(logged.model_id, "READY")
    mlflow.set_logged_model_tags(logged.model_id, {"stage": "second"})
    mlflow.log_outputs(models=[LoggedModelOutput(logged.model_id, step=0)])

model = mlflow.get_logged_model(logged.model_id)
loaded = Path(mlflow.artifacts.download_artifacts(logged.model_uri))
by_name = Path(mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/doubling"))
told = {
    "model_id": logged.model_id,
    "status": str(model.status),
    "params": model.params,
    "stage": model.tags["stage"],
    "answers": [json.loads((place / "factor.json").read_text()) for place in (loaded, by_name)],
    "found": [one.name for one in client.search_logged_models([run.info.experiment_id])],
    "source": model.source_run_id,
}
print(json.dumps(told))
