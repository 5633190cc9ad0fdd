"""A page's boxes cut out and brought to the network's input, as the seed does it, to the bit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backend.geometry import Boxes, clip
from backend.nets.config import INPUT_SIZE

__all__ = ["crop_bounds", "network_input"]


def crop_bounds(boxes: Boxes, *, width: int, height: int) -> NDArray[np.intp]:
    """Whole pixels (N, 4) of each box's crop: every pixel that the box touches, at least one, inside the page."""
    inside = clip(boxes, width=width, height=height)
    low = np.minimum(np.floor(inside[:, :2]), [width - 1, height - 1])
    high = np.maximum(np.ceil(inside[:, 2:]), low + 1)
    return np.concatenate([low, high], axis=1).astype(np.intp)


def network_input(pixels: NDArray[np.uint8], boxes: Boxes) -> NDArray[np.float32]:
    """Crops `boxes` (N, 4) from an (H, W, 3) RGB page: (N, 3, 224, 224) in [0, 1].

    Equals torchvision's `ToTensor()(Resize((224, 224))(crop))` of the seed's model card: Pillow's bilinear filter,
    which averages over all of the crop's pixels when it shrinks. OpenCV's filters give other values.
    """
    height, width = pixels.shape[:2]
    crops = np.empty((len(boxes), INPUT_SIZE, INPUT_SIZE, 3), np.uint8)
    for place, (left, top, right, bottom) in enumerate(crop_bounds(boxes, width=width, height=height)):
        crop = Image.fromarray(pixels[top:bottom, left:right])
        crops[place] = np.asarray(crop.resize((INPUT_SIZE, INPUT_SIZE), Image.Resampling.BILINEAR))
    # Division, and not multiplication by 1/255, which rounds otherwise.
    return np.divide(np.ascontiguousarray(crops.transpose(0, 3, 1, 2)), np.float32(255), dtype=np.float32)
