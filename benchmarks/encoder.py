"""Time and memory of an open-vocabulary encoder on images of one size.

    python -m benchmarks.encoder embedded --threads 2
    python -m benchmarks.encoder open_clip:ViT-B-16 --threads 1
    python -m benchmarks.encoder lseg --threads 1 --runs 2

`open_clip:MODEL` and `lseg` without weights get random ones, since no time depends on their values,
in a temporary file. The time is a median of several runs; the peak is that of the whole process,
libraries and loading included.
"""

import argparse
import resource
import statistics
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import save_file

from govnesf_model.vlm import load_vlm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("vlm")
    parser.add_argument("--size", type=int, nargs=2, default=[320, 240], metavar=("W", "H"))
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        spec = with_weights(arguments.vlm, Path(folder))
        began = time.perf_counter()
        vlm = load_vlm(spec, arguments.device)
        loading = time.perf_counter() - began
    width, height = arguments.size
    image = torch.rand(1, 3, height, width)
    seconds = []
    for _ in range(arguments.runs + 1):
        began = time.perf_counter()
        features = vlm.encode_images(image).cpu()  # waits for a GPU
        seconds.append(time.perf_counter() - began)
    print(f"{arguments.vlm} on {arguments.device}, {torch.get_num_threads()} threads")
    print(f"map           {tuple(features.shape)} of a {width}x{height} image")
    print(f"loading       {loading:.1f} s")
    print(f"first image   {1e3 * seconds[0]:.0f} ms")
    print(f"image         {1e3 * statistics.median(seconds[1:]):.0f} ms")
    print(f"peak memory   {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def with_weights(spec: str, folder: Path) -> str:
    """Return the spec, with a file of random weights where it names none."""
    kind, _, argument = spec.partition(":")
    model, mark, options = argument.partition("?")
    file = folder / "random.safetensors"
    if kind == "open_clip" and "/" not in model:
        write_open_clip(model, file)
        return f"{kind}:{model}/{file}{mark}{options}"
    if kind == "lseg" and not model:
        write_lseg(file)
        return f"{kind}:{file}{mark}{options}"
    return spec


def write_open_clip(model: str, file: Path) -> None:
    from govnesf_model.vlm.open_clip_weights import build

    state = {k: v.contiguous() for k, v in build(model, False)[0].state_dict().items()}
    save_file(state, file)


def write_lseg(file: Path) -> None:
    from govnesf_model.vlm.base import tensors_digest
    from govnesf_model.vlm.lseg_checkpoint import LSegWeights, used_layout, write_converted
    from govnesf_model.vlm.lseg_network import LSegConfig

    config = LSegConfig()
    tensors = {
        name: torch.ones(shape) if name.endswith("_var") else 0.02 * torch.randn(shape)
        for name, shape in used_layout(config).items()
    }
    write_converted(file, LSegWeights(config, tensors, tensors_digest(tensors)))


if __name__ == "__main__":
    main()
