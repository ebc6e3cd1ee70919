"""What Levi & Gilboa, ICML 2025, print for ViT-B/32 on the MS-COCO validation set."""

from __future__ import annotations

#: By the name of the figure: (of images, of texts), None where the paper has none. A figure of the
#: pair of modalities stands under the first.
PAPER: dict[str, tuple[float | None, float | None]] = {
    "center_ratio": (0.94, 1.03),
    "shell_mean": (7.5873, None),
    "shell_variance": (0.1914, None),
    "shell_rms": (7.6007, None),
    "shell_relative_error": (0.0018, None),
    "pearson": (0.9998, 0.9998),
    "inverse_slope": (1.461, 1.411),
    "best_alpha_of_loss": (0.0, None),
    "kl_image_text": (0.14, None),
    "best_alpha_of_match": (0.0, None),
}

#: Of a figure that the paper does not have.
NEITHER = (None, None)
