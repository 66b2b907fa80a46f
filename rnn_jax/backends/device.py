"""What the computation runs on, for back ends that are not for every device."""

import jax


def kind() -> str:
    """The platform of JAX's default device: `cpu`, `cuda` for an NVIDIA GPU, `rocm` for an AMD one, `tpu`, ..."""
    platform = jax.default_backend()
    if platform != "gpu":
        return platform
    return "rocm" if "rocm" in jax.devices()[0].client.platform_version else "cuda"
