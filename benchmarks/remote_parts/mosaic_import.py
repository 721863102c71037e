"""Makes `import streaming` work beside a torch without CUDA: import this first.

mosaicml-streaming imports torchvision, which it does not need for tokens. Without its library torchvision's import
fails over two operators, which are defined here.
"""

import torch

OPERATORS = torch.library.Library("torchvision", "DEF")  # kept: they end with it
for name in ("nms", "qnms"):
    OPERATORS.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
