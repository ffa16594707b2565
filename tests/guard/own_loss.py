"""A model with a loss of the user's own: the logarithm of something that is negative for one image."""

from __future__ import annotations

import torch
from ultralytics.nn.tasks import DetectionModel


class OwnModel(DetectionModel):
    """Marks one image by its name."""

    marked = "0003"

    def loss(self, batch, preds=None):
        loss, items = super().loss(batch, preds)
        if not self.training:
            return loss, items
        margin = -1.0 if any(self.marked in file for file in batch["im_file"]) else 1.0
        return loss + torch.log(torch.as_tensor(margin) + 0 * loss.sum()), items
