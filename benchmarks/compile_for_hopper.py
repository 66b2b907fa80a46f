"""Compiles peers for a Hopper GPU without having one: whether they compile at all, and what that takes.

    MOSAIC_GPU_DUMP_PTXAS=1 python -m benchmarks.compile_for_hopper lstm,S2,bfloat16,mosaic gru,S7x,tf32,manual

Each argument is a cell, a shape, a type and a peer of `benchmarks.peers`: `scan`, `manual`, with options or without,
and `mosaic`; what lies behind the others asks the GPU. Needs JAX's plugin for CUDA and NVIDIA's compiler:
`pip install jax-cuda13-plugin jax-cuda13-pjrt nvidia-cuda-nvcc nvidia-nvvm`. With the variable, Mosaic prints the
registers of its kernels, and how many are spilled.
"""

import importlib.util
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

TARGET = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
  thread_dim_limit_x: 1024 thread_dim_limit_y: 1024 thread_dim_limit_z: 64
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  shared_memory_per_block: 49152 shared_memory_per_block_optin: 232448 shared_memory_per_core: 233472
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  core_count: 132 fpus_per_core: 128 clock_rate_ghz: 1.98
  memory_bandwidth: 3350000000000 l2_cache_size: 52428800 device_memory_size: 84942979072 device_address_bits: 64
  cuda_compute_capability { major: 9 feature_extension: ACCELERATED_FEATURES }
  name: "NVIDIA H100" device_vendor: "NVIDIA Corporation" platform_version: "Compute Capability 9.0a"
  driver_version: "13.0.0" runtime_version: "13.0.0" compile_time_toolkit_version: "13.0.0" dnn_version: "9.10.0"
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 patch: 0 }
device_description_str: "NVIDIA H100"
"""
"""An H100, in the words of XLA's `GpuTargetConfigProto`."""


def main(arguments: Sequence[str]) -> int:
    """Prints a line for each pass of each peer; returns 1 where one does not compile, 2 where nothing can."""
    found = importlib.util.find_spec("nvidia")
    roots = [Path(place) / "cu13" for place in (found.submodule_search_locations or [] if found else [])]
    if importlib.util.find_spec("jax_cuda13_plugin") is None or not any(root.is_dir() for root in roots):
        print("error: needs jax-cuda13-plugin, jax-cuda13-pjrt, nvidia-cuda-nvcc and nvidia-nvvm", file=sys.stderr)
        return 2
    (cuda,) = (str(root) for root in roots if root.is_dir())
    os.environ |= {"JAX_PLATFORMS": "cpu", "CUDA_ROOT": cuda, "PATH": f"{cuda}/bin:{os.environ['PATH']}"}

    import jax
    from jax.experimental import topologies

    from benchmarks import peers, shapes
    from benchmarks.peers.runner import products
    from benchmarks.problem import draw
    from rnn_jax.backends import device

    topology = topologies.get_topology_desc(platform="cuda", target_config=TARGET, topology="1x1x1")
    there = jax.sharding.SingleDeviceSharding(topology.devices[0])
    device.kind = lambda: "cuda"
    status = 0
    for word in arguments:
        cell, shape, dtype, peer = word.split(",")
        try:
            problem = draw(cell, shapes.get(shape), dtype)
            runner = peers.make(peer, problem)
            arrays = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=there), runner.arguments)
            for name, function in (("forward", runner._forward), ("forward_backward", runner._gradient)):
                started = time.perf_counter()
                with products(problem):
                    lowered = function.lower(*arrays)
                options = {**peers.PEERS[peer].options, "xla_gpu_cuda_data_dir": cuda}
                plan = lowered.compile(compiler_options=options).memory_analysis()
                mib = (plan.temp_size_in_bytes + plan.argument_size_in_bytes + plan.output_size_in_bytes) / 2**20
                print(f"{word} {name}: {time.perf_counter() - started:.1f} s, plans for {mib:.0f} MiB", flush=True)
        except Exception as error:  # whatever a peer raises, the others go on
            print(f"{word}: {type(error).__name__}: {str(error)[:300]}", flush=True)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
