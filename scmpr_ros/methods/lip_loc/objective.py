"""LIP-Loc's one loss: symmetric InfoNCE between images and the windows they look through."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from scmpr_ros.methods.contrast import ambiguous_pairs, contrastive_loss, cosines
from scmpr_ros.methods.lip_loc.network import LipLocNetwork
from scmpr_ros.methods.objective import Objective, viewpoints
from scmpr_ros.methods.pair_batch import PairBatch
from scmpr_ros.methods.views import QueryView
from scmpr_ros.networks.distributed import gather


class LipLocObjective(Objective):
    """Contrasts each image with one window of each place: the one at the image's own heading."""

    def losses(self, batch: PairBatch) -> dict[str, Tensor]:
        """The contrastive loss of a batch."""
        network = cast(LipLocNetwork, self.network)
        images, places = viewpoints(batch)
        query = network.describe_query(
            QueryView(batch.view, batch.seen), batch.view.new_zeros(0, 0)
        )
        image = network.range_image(batch.panorama.range_m)
        windows = gather(network.describe_windows(image, batch.yaw_rad + batch.turned_rad))
        headings_rad = (images.yaw_rad + places.yaw_rad)[:, None]
        similarity = cosines(gather(query.descriptor), windows[:, None])
        target, nothing = torch.ones_like(headings_rad), similarity.new_zeros(len(similarity), 0)
        ambiguous = ambiguous_pairs(images, places, headings_rad, *self.config.ambiguity)
        return {"contrastive": contrastive_loss(similarity, target, ambiguous, self.scale, nothing)}
