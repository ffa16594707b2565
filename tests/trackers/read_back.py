"""Prints what TensorBoard's and MLflow's own readers find in a run, as JSON.

python read_back.py RUN_FOLDER MLFLOW_URI
"""

from __future__ import annotations

import io
import json
import sys

from mlflow import MlflowClient
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def tensorboard(folder):
    events = EventAccumulator(folder, size_guidance={"tensors": 0, "images": 0, "scalars": 0})
    events.Reload()
    tags = events.Tags()
    texts = events.Tensors("nanfix/events/text_summary") if "nanfix/events/text_summary" in tags["tensors"] else []
    images = events.Images("nanfix/suspect") if "nanfix/suspect" in tags["images"] else []
    return {
        "scalars": {name: [(e.step, e.value) for e in events.Scalars(name)] for name in tags["scalars"]},
        "texts": [(e.step, e.tensor_proto.string_val[0].decode()) for e in texts],
        "images": [(e.step, *corner(Image.open(io.BytesIO(e.encoded_image_string)))) for e in images],
    }


def corner(image):
    return image.size, image.convert("RGB").getpixel((0, 0))


def mlflow(uri, folder):
    client = MlflowClient(uri)
    (run,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    name = run.info.run_id
    files = sorted(f.path for f in client.list_artifacts(name, "nanfix"))
    texts = [f for f in files if f.endswith(".txt")]
    images = [f for f in files if f.endswith(".png")]
    return {
        "scalars": {k: [(m.step, m.value) for m in client.get_metric_history(name, k)] for k in run.data.metrics},
        "texts": [open(client.download_artifacts(name, f, folder), encoding="utf-8").read() for f in texts],
        "images": [(f, *corner(Image.open(client.download_artifacts(name, f, folder)))) for f in images],
        "status": run.info.status,
    }


if __name__ == "__main__":
    found = {"tensorboard": tensorboard(sys.argv[1]), "mlflow": mlflow(sys.argv[2], sys.argv[1])}
    print("\n" + json.dumps(found))
