"""What running the 3D network only where something changed costs, and how far off it leaves it.

    python -m benchmarks.volume_margin assets/demo_room --keyframes 24

Keyframes of a scene are added one by one, as a robot brings them. For several widths of the ring
that is taken anew and of the margin that the network sees beyond, the table gives CPU time per
keyframe, and the difference in opacity over 5 cm and in the fusion's input to one run over all.
"""

import argparse
import time
from pathlib import Path

import torch

from govnesf_model.checkpoint import load_field
from govnesf_model.data.posed_scene import open_scene
from govnesf_model.field import GovNesf, VolumeField
from govnesf_model.gather import gather
from govnesf_model.keyframes import Keyframe, MapConfig
from govnesf_model.map_views import encode_frame
from govnesf_model.map_volume import MapVolume
from govnesf_model.vlm import load_vlm

WIDTHS = ((0, 0), (0, 4), (0, 8), (4, 4), (4, 8))  # ring, margin
POINTS = 60000
STEP = 0.05  # metres


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("scene", type=Path)
    parser.add_argument("--keyframes", type=int, default=24)
    parser.add_argument("--field", default="small")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    field, vlm = load_field(arguments.field), load_vlm("embedded")
    scene, config = open_scene(arguments.scene), MapConfig()
    keyframes: list[Keyframe] = []
    for number in range(min(arguments.keyframes, len(scene))):
        keyframes.append(encode_frame(field, vlm, scene[number], config, number, others=keyframes))
    whole = MapVolume(field, config)
    for keyframe in keyframes:
        whole.add(keyframe)
    start = time.process_time()
    reference = whole.run()
    print(f"{len(keyframes)} keyframes, {whole.voxels} voxels, {whole.bytes / 2**20:.0f} MiB;")
    print(f"all at once {1e3 * (time.process_time() - start):.0f} ms\n")
    print("| ring | margin | add, ms | network, ms | opacity, mean | opacity, 99 % | fusion |")
    print("|---|---|---|---|---|---|---|")
    for ring, margin in WIDTHS:
        volume = MapVolume(field, config)
        adding = running = 0.0
        for keyframe in keyframes:
            start = time.process_time()
            volume.add(keyframe)
            middle = time.process_time()
            result = volume.run(margin, ring)
            adding += middle - start
            running += time.process_time() - middle
        mean, most, fusion = difference(field, result, reference)
        spent = [f"{1e3 * seconds / len(keyframes):.0f}" for seconds in (adding, running)]
        print(
            f"| {ring} | {margin} | {' | '.join(spent)} | {mean:.5f} | {most:.4f} | {fusion:.4f} |"
        )


def difference(
    field: GovNesf, volume: VolumeField, other: VolumeField
) -> tuple[float, float, float]:
    """Return mean and 99 % of the difference in opacity, and the relative one of the fusion."""
    grid = other.grid
    random = torch.rand(POINTS, 3, generator=torch.Generator().manual_seed(0))
    points = grid.lower + (grid.upper - grid.lower) * random
    opaque = [-torch.expm1(-STEP * field.density(points, v)) for v in (volume, other)]
    error = (opaque[0] - opaque[1]).abs()
    fusion = [gather(v.fusion_table, *v.grid.taps(points)) for v in (volume, other)]
    relative = (fusion[0] - fusion[1]).norm() / fusion[1].norm()
    return float(error.mean()), float(error.quantile(0.99)), float(relative)


if __name__ == "__main__":
    main()
