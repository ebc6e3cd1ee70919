"""The oracle of the contrastive loss: by hand, against torch and open_clip, and by its own laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from oracle import contrast
from oracle.reference import wide

#: Units of the images (1, 0), (0.6, 0.8); of the texts (1, 0), (0, 1).
IMAGE = np.array([[2.0, 0.0], [3.0, 4.0]])
TEXT = np.array([[5.0, 0.0], [0.0, 0.5]])


def close(got: object, want: object, rtol: float = 1e-14) -> None:
    np.testing.assert_allclose(got, want, rtol=rtol, atol=1e-15)


def sample(n: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([seed, n, d])
    common = rng.standard_normal((n, d)) + 0.4
    return common + rng.standard_normal((n, d)), common - 0.3 * rng.standard_normal((n, d))


def test_logits_and_loss_by_hand() -> None:
    # Rows are texts, columns images.
    logits = contrast.logits(IMAGE, TEXT, 0.5)
    close(logits, [[2, 1.2], [0, 1.6]])
    found = contrast.contrastive_loss(IMAGE, TEXT, 0.5)
    to_text = [math.log(1 + math.exp(-2)), math.log(1 + math.exp(1.2 - 1.6))]
    to_image = [math.log(1 + math.exp(1.2 - 2)), math.log(1 + math.exp(-1.6))]
    close(found.per_pair_image_to_text, to_text)
    close(found.per_pair_text_to_image, to_image)
    close(found.loss_image_to_text, sum(to_text) / 2)
    close(found.loss_text_to_image, sum(to_image) / 2)
    close(found.loss, sum(to_text + to_image) / 4)
    close(found.alignment, -1.8)
    close(found.uniformity, sum(to_text + to_image) / 4 + 1.8)
    assert found.accuracy_image_to_text == found.accuracy_text_to_image == 1


@pytest.mark.parametrize("shift", ["image", "text", "both"])
def test_rows_are_moved_by_their_own_mean(shift: str) -> None:
    # The means are (2.5, 2) and (2.5, 0.25).
    v, t = contrast.moved(IMAGE, TEXT, 2.0, shift)
    close(v, IMAGE if shift == "text" else [[-3, -4], [-2, 0]])
    close(t, TEXT if shift == "image" else [[0, -0.5], [-5, 0]])


def test_a_moved_logit_by_hand() -> None:
    # Units of the moved images: (-0.6, -0.8), (-1, 0); of the moved texts: (0, -1), (-1, 0).
    close(contrast.logits(IMAGE, TEXT, 1.0, 2.0, "image"), [[-0.6, -1], [-0.8, 0]])
    both = [[0.8, 0], [0.6, 1]]
    close(contrast.logits(IMAGE, TEXT, 1.0, 2.0, "both"), both)


def test_ties_are_misses_and_a_constant_embedding_never_hits() -> None:
    tied = np.array([[1.0, 1, 0], [0, 1, 1], [0, 0, 0.5]])
    found = contrast.contrast(tied)
    # Image 0 has text 0 alone on top, image 1 ties, image 2 prefers text 1; rows alike.
    assert found.hits_image_to_text.tolist() == [True, False, False]
    assert found.hits_text_to_image.tolist() == [False, False, True]
    image, _ = sample(300, 7)
    constant = np.broadcast_to(np.array([0.1, 0.2, -0.7, 0.3, 0.9, 0.1, 0.2]), image.shape)
    found = contrast.contrastive_loss(image, constant, 0.01)
    assert found.accuracy_image_to_text == 0
    close(found.loss_image_to_text, math.log(300))
    assert found.accuracy_text_to_image == 1 / 300


def test_equal_rows_tie_whatever_the_product_of_matrices_does() -> None:
    image, text = sample(500, 129)
    same = [0, 1, 7, 255, 256, 499]
    image[same], text[same[2:]] = image[3], text[5]
    logits = contrast.logits(image, text, 0.01, 0.3, "both")
    assert (logits[:, [*same, 3]] == logits[:, [3]]).all()
    assert (logits[[*same[2:], 5]] == logits[[5]]).all()


@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.01, 0.005, 0.003])
@pytest.mark.parametrize(("n", "d"), [(2, 1), (3, 5), (257, 64)])
def test_the_loss_is_torch_cross_entropy(n: int, d: int, temperature: float) -> None:
    image, text = sample(n, d)
    logits = torch.from_numpy(contrast.logits(image, text, temperature))
    units = [normalize(torch.from_numpy(x), dim=1) for x in (image, text)]
    np.testing.assert_allclose(logits * temperature, units[1] @ units[0].T, rtol=0, atol=1e-14)
    found, target = contrast.contrastive_loss(image, text, temperature), torch.arange(n)
    for got, matrix in (
        (found.per_pair_image_to_text, logits.T),
        (found.per_pair_text_to_image, logits),
    ):
        want = cross_entropy(matrix, target, reduction="none").numpy()
        # torch subtracts two large numbers where the loss is small.
        np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-15 / temperature)


@pytest.mark.parametrize("temperature", [1.0, 0.07, 0.01, 0.005])
@pytest.mark.parametrize(("n", "d"), [(2, 3), (31, 8), (300, 64)])
def test_the_loss_is_that_of_open_clip(n: int, d: int, temperature: float) -> None:
    from open_clip.loss import ClipLoss

    image, text = sample(n, d)
    v, t = (normalize(torch.from_numpy(x), dim=1) for x in (image, text))
    scale = torch.tensor(1 / temperature, dtype=torch.float64)
    want = float(ClipLoss()(v, t, scale))
    assert abs(contrast.contrastive_loss(image, text, temperature).loss - want) < 1e-12


def test_small_losses_have_their_digits() -> None:
    # Orthonormal pairs: own cosine 1, rivals 0, so log(1 + (n - 1) exp(-1 / tau)).
    for temperature in (0.2, 0.05, 0.01, 0.003):
        found = contrast.contrastive_loss(np.eye(40), np.eye(40), temperature)
        close(found.per_pair, math.log1p(39 * math.exp(-1 / temperature)))


def test_loss_is_alignment_and_uniformity_and_the_mean_of_two_directions() -> None:
    for alpha in (-1.0, 0.0, 0.7):
        image, text = sample(100, 12)
        found = contrast.contrast(contrast.logits(image, text, 0.01, alpha, "both"))
        close(found.alignment + found.uniformity, found.loss, 1e-12)
        close(found.loss, found.per_pair.mean())
        close((found.loss_image_to_text + found.loss_text_to_image) / 2, found.loss)


def test_classes_follow_the_partition() -> None:
    image, text = sample(120, 6)
    alphas = [-0.5, 0.0, 0.8]
    at_zero = contrast.contrastive_loss(image, text)
    for partition in ("fixed", "each"):
        for row in contrast.sweep(image, text, alphas, "text", 0.01, partition):
            one = contrast.contrast(contrast.logits(image, text, 0.01, row["alpha"], "text"))
            hit = (at_zero if partition == "fixed" else one).hits_image_to_text
            assert 0 < row["count_correct"] == hit.sum() < 120
            close(row["loss_correct"], one.per_pair[hit].mean())
            close(row["loss_misclassified"], one.per_pair[~hit].mean())
            mixed = hit.mean() * row["loss_correct"] + (~hit).mean() * row["loss_misclassified"]
            close(mixed, row["loss"], 1e-13)


def test_a_class_without_pairs_has_no_loss() -> None:
    row = contrast.sweep(np.eye(3), np.eye(3), [0.0])[0]
    assert (row["count_correct"], row["loss_misclassified"]) == (3, None)
    row = contrast.sweep(np.ones((3, 2)), np.eye(3)[:, :2] + 1, [0.0])[0]
    assert row["count_correct"] == 1
    row = contrast.sweep(np.eye(3), np.ones((3, 3)), [0.0])[0]
    assert (row["count_correct"], row["loss_correct"]) == (0, None)


def test_images_and_texts_may_change_places() -> None:
    image, text = sample(50, 9)
    for row, mirror in zip(
        contrast.sweep(image, text, [-1.0, 0.4], "image"),
        contrast.sweep(text, image, [-1.0, 0.4], "text"),
        strict=True,
    ):
        close(row["loss_image_to_text"], mirror["loss_text_to_image"], 1e-12)
        assert row["accuracy_text_to_image"] == mirror["accuracy_image_to_text"]


def test_the_vertex_of_a_parabola() -> None:
    x = [-0.5, 0.0, 0.25]
    close(contrast.vertex(x, [3 * (a - 0.1) ** 2 + 7 for a in x]), 0.1, 1e-13)
    close(contrast.refined([-1, *x, 1], [9, 2, 1, 3, 9]), contrast.vertex(x, [2, 1, 3]))
    assert contrast.refined(x, [1, 2, 3]) == -0.5
    assert contrast.refined(x, [3, 2, 1]) == 0.25


def test_narrow_rows_are_widened_first() -> None:
    image, text = (x.astype(np.float16) for x in sample(40, 5))
    got = contrast.contrastive_loss(image, text).loss
    assert got == contrast.contrastive_loss(wide(image), wide(text)).loss
