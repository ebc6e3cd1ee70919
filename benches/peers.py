"""What a user would write instead, and the best that could be tuned in Python.

Every function takes rows and gives what clipsoid gives. Chunk sizes were tried in powers of two and
are the fastest of those.
"""

import importlib.util

import numpy as np

HAS_TORCH = importlib.util.find_spec("torch") is not None

#: Rows of a chunk of the linear jobs: float32 chunks stay in cache between two uses. numpy is
#: several times slower from 1024 rows on, torch slower below them.
NUMPY_CHUNK = 512
TORCH_CHUNK = 1024
#: Rows of a chunk whose products are made at once.
SCATTER_CHUNK = 8192
#: Rows of a block of the matrix of cosines.
PAIR_BLOCK = 1024


def parts(x, size):
    """Chunks of rows."""
    return (x[start : start + size] for start in range(0, len(x), size))


# ------------------------------------------------------------------- conformity, linear


def conformity_numpy(x):
    """Normalise, then multiply."""
    u = x.astype(np.float32, copy=False)
    u = u / np.linalg.norm(u, axis=1, keepdims=True)
    return (u @ u.sum(axis=0) - 1) / (len(u) - 1)


def conformity_numpy_chunked(x):
    """Norms kept, rows never divided, one product per chunk and pass."""
    inverse = np.empty(len(x), np.float32)
    total = np.zeros(x.shape[1])
    for part, inv in zip(parts(x, NUMPY_CHUNK), parts(inverse, NUMPY_CHUNK), strict=True):
        part = part.astype(np.float32, copy=False)
        inv[:] = 1 / np.sqrt(np.einsum("ij,ij->i", part, part))
        total += inv @ part
    out, total = np.empty(len(x)), total.astype(np.float32)
    for part, slot in zip(parts(x, NUMPY_CHUNK), parts(out, NUMPY_CHUNK), strict=True):
        slot[:] = part.astype(np.float32, copy=False) @ total
    return (out * inverse - 1) / (len(x) - 1)


def conformity_torch(x):
    """Normalise, then multiply."""
    import torch

    u = torch.nn.functional.normalize(torch.from_numpy(x).float(), dim=1)
    return ((u @ u.sum(dim=0) - 1) / (len(u) - 1)).numpy()


def conformity_torch_chunked(x):
    """As `conformity_numpy_chunked`; float16 goes through one buffer."""
    import torch

    rows = torch.from_numpy(x)
    buffer = torch.empty(TORCH_CHUNK, x.shape[1])

    def wide(part):
        return part if part.dtype == torch.float32 else buffer[: len(part)].copy_(part)

    inverse, products = torch.empty(len(x)), torch.empty(len(x))
    total = torch.zeros(x.shape[1], dtype=torch.float64)
    for part, inv in zip(rows.split(TORCH_CHUNK), inverse.split(TORCH_CHUNK), strict=True):
        part = wide(part)
        torch.linalg.vector_norm(part, dim=1, out=inv)
        inv.reciprocal_()
        total += inv @ part
    total = total.float()
    for part, slot in zip(rows.split(TORCH_CHUNK), products.split(TORCH_CHUNK), strict=True):
        torch.mv(wide(part), total, out=slot)
    return ((products.double() * inverse - 1) / (len(x) - 1)).numpy()


# ----------------------------------------------------------------- conformity, pairwise


def unit_rows(x):
    """Rows of length one."""
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def pairwise_numpy(x):
    """The whole matrix of cosines."""
    u = unit_rows(x)
    return ((u @ u.T).sum(axis=1) - 1) / (len(u) - 1)


def pairwise_numpy_blocks(x):
    """Blocks of one triangle of it, each used for its rows and its columns."""
    u = unit_rows(x)
    sums = np.zeros(len(u))
    for i in range(0, len(u), PAIR_BLOCK):
        for j in range(i, len(u), PAIR_BLOCK):
            block = u[i : i + PAIR_BLOCK] @ u[j : j + PAIR_BLOCK].T
            sums[i : i + PAIR_BLOCK] += block.sum(axis=1)
            if i != j:
                sums[j : j + PAIR_BLOCK] += block.sum(axis=0)
    return (sums - 1) / (len(u) - 1)


def pairwise_torch_blocks(x):
    """As `pairwise_numpy_blocks`."""
    import torch

    u = torch.nn.functional.normalize(torch.from_numpy(x), dim=1)
    sums = torch.zeros(len(u), dtype=torch.float64)
    blocks = range(0, len(u), PAIR_BLOCK)
    buffer = torch.empty(PAIR_BLOCK * PAIR_BLOCK)
    for i in blocks:
        left = u[i : i + PAIR_BLOCK]
        for j in blocks[i // PAIR_BLOCK :]:
            right = u[j : j + PAIR_BLOCK]
            block = buffer[: len(left) * len(right)].view(len(left), len(right))
            torch.mm(left, right.T, out=block)
            sums[i : i + PAIR_BLOCK] += block.sum(dim=1)
            if i != j:
                sums[j : j + PAIR_BLOCK] += block.sum(dim=0)
    return ((sums - 1) / (len(u) - 1)).numpy()


# ----------------------------------------------------------------------------- covariance


def covariance_numpy(x):
    """In float64, whatever the rows."""
    return np.cov(x, rowvar=False)


def covariance_numpy_chunked(x):
    """Chunks centred on their own means, float32 within and float64 across."""
    count, mean, scatter = 0, np.zeros(x.shape[1]), np.zeros((x.shape[1],) * 2)
    for part in parts(x, SCATTER_CHUNK):
        own = part.mean(axis=0, dtype=np.float64)
        centred = part - own.astype(np.float32)
        # The rounding of the mean is a shift of the chunk that its scatter must not keep.
        rest = own - own.astype(np.float32)
        gap, weight = own - mean, count * len(part) / (count + len(part))
        scatter += centred.T @ centred
        scatter += weight * np.outer(gap, gap) - len(part) * np.outer(rest, rest)
        count += len(part)
        mean += gap * (len(part) / count)
    return scatter / (count - 1)


def covariance_torch_chunked(x):
    """As `covariance_numpy_chunked`."""
    import torch

    rows = torch.from_numpy(x)
    count, mean = 0, torch.zeros(x.shape[1], dtype=torch.float64)
    scatter = torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64)
    for part in rows.split(SCATTER_CHUNK):
        own = part.mean(dim=0)
        centred = part - own
        gap, weight = own.double() - mean, count * len(part) / (count + len(part))
        scatter += centred.T @ centred
        scatter += weight * torch.outer(gap, gap)
        count += len(part)
        mean += gap * (len(part) / count)
    return (scatter / (count - 1)).numpy()
