"""Time and memory of an open-vocabulary encoder on images of one size.

    python -m benchmarks.encoder embedded --threads 2
    python -m benchmarks.encoder open_clip:ViT-B-16 --threads 1

`open_clip:MODEL` without weights gets random ones, since no time depends on their values. The time
is a median of several runs; the peak is that of the whole process, libraries and loading included.
"""

import argparse
import resource
import statistics
import tempfile
import time
from pathlib import Path

import torch

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
        began = time.perf_counter()
        vlm = load_vlm(with_weights(arguments.vlm, Path(folder)), arguments.device)
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
    """Return the spec, with a file of random weights where open_clip's model stands alone."""
    kind, _, argument = spec.partition(":")
    model, mark, options = argument.partition("?")
    if kind != "open_clip" or "/" in model:
        return spec
    from safetensors.torch import save_file

    from govnesf_model.vlm.open_clip_weights import build

    state = {k: v.contiguous() for k, v in build(model, False)[0].state_dict().items()}
    save_file(state, folder / "random.safetensors")
    return f"{kind}:{model}/{folder}/random.safetensors{mark}{options}"


if __name__ == "__main__":
    main()
