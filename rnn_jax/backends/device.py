"""What the computation runs on, for back ends that are not for every device."""

import jax


def kind() -> str:
    """The platform of JAX's default device: `cpu`, `cuda` for an NVIDIA GPU, `rocm` for an AMD one, `tpu`, ..."""
    platform = jax.default_backend()
    if platform != "gpu":
        return platform
    return "rocm" if "rocm" in jax.devices()[0].client.platform_version else "cuda"


SHARED_KIB = {"7.5": 64, "8.0": 163, "8.7": 163, "9.0": 227, "10.0": 227, "10.3": 227, "11.0": 227}
"""Shared memory of a block by compute capability, from the CUDA programming guide; the others have 99 KiB or more."""


def compute_capability() -> str:
    """Of this GPU; where there is none, that of an H100 or H200."""
    return jax.devices()[0].compute_capability if jax.default_backend() == "gpu" else "9.0"


def shared_kib() -> int:
    """The shared memory of a block on this GPU, in KiB; where there is none, that of an H100 or H200."""
    return SHARED_KIB.get(compute_capability(), 99)
