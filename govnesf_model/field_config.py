"""Everything that decides the shape and the behaviour of a field, stored with its weights."""

import dataclasses
import json
from dataclasses import dataclass

ENCODERS = ("lite0", "resnet34")


@dataclass(frozen=True)
class FieldConfig:
    """The shape of the network and its sampling defaults.

    `small()` trains and runs on a CPU, `paper()` has the sizes of the publication.
    """

    encoder: str = "lite0"
    """Image encoder: "lite0" (light, for CPUs) or "resnet34" (the paper's ResUNet-34)."""
    freeze_backbone: bool = True
    """Leave the encoder's pretrained stages untrained, so that their maps can be cached."""
    volume_channels: int = 32
    """Channels of the stride-4 map that is averaged into the cost volume."""
    query_channels: int = 16
    """Channels of f^n, the projection of that map which the fusion looks at."""
    voxel_size: float = 0.16
    """Edge of a voxel in metres."""
    grid_shape: tuple[int, int, int] = (40, 40, 16)
    """Voxels of one volume tile along x, y, z: 6.4 x 6.4 x 2.56 m. Bigger grids work as well."""
    unet_channels: tuple[int, int, int] = (32, 48, 64)
    """Channels of the three levels of the 3D ResUNet."""
    geometry_channels: int = 32
    """Channels of the volume feature v that the 3D ResUNet puts out."""
    density_width: int = 32
    """Hidden width of the density MLP."""
    density_length: float = 0.05
    """Metres: softplus(MLP(v)) is a density per this length, so that walls, which are tens per
    metre dense, lie within reach of ordinary weights."""
    fusion_width: int = 32
    """Token width of FusionNet."""
    fusion_heads: int = 4
    """Attention heads of the cross-view attention."""
    stereo_planes: int = 48
    """Depths at which a view is matched against its neighbours (`stereo.py`); 0 leaves stereo out,
    as the paper does."""
    stereo_width: int = 32
    """Channels inside the stereo network, at stride 4."""
    stereo_channels: int = 16
    """Channels that are matched."""
    evidence_split: int = 2
    """Voxels of depth evidence along the edge of a voxel (`evidence.py`); 0 leaves evidence out, as
    the paper does, also that of measured depth."""
    evidence_channels: int = 6
    """What the 3D network adds per voxel of evidence."""
    encode_surface: bool = True
    """Tell the fusion how far before or behind each view's own surface the point lies."""
    encode_distance: bool = True
    """Give the direction encoder the distance from camera n to the point beside the direction d_n
    (the paper has the direction alone): features of far views are less reliable."""
    use_mjf: bool = True
    """Blend the views' colours and features (the method); off: regress both (Distill baseline)."""
    use_vfa: bool = True
    """Let the fusion see the volume feature v; off: image features alone."""
    use_cva: bool = True
    """Exchange information across views by attention; off: every view is weighed alone."""
    distill_dim: int = 0
    """Width of the open-vocabulary feature that is regressed when `use_mjf` is off."""
    views_per_point: int = 8
    """K: the best visible views that are queried per point; 0 queries all of them."""
    samples_per_ray: int = 64
    """Samples per ray that look for density, evenly spaced."""
    fine_samples: int = 16
    """Samples per ray that are put where those found it, and that are rendered; 0 renders the
    even ones, as the paper does."""
    background: bool = True
    """What a ray has left at the end of the grid takes the colour and meaning that the views see
    there, and what no view sees the mean colour of the views, instead of black; depth and opacity
    do not know of it. Off in the paper."""
    min_sample_weight: float = 1e-3
    """Samples whose rendering weight is below this are not given to the views."""
    max_samples_kept: int = 16
    """At most this many samples per ray are given to the views, the heaviest ones."""
    merged_samples: int = 3
    """When nothing is learned, so many samples per ray stand for all of them (`merge_samples`); 0
    looks the heaviest ones up, as training does."""
    even_exposure: bool = True
    """Blend colours of views whose exposure was evened out, and give a rendered image the exposure
    of the cameras around it (`exposure.py`); off, as in the paper, colours are blended as taken."""
    align_views: bool = True
    """Move the views' poses until they agree on what they show (`alignment.py`), where all views
    are known before the volume is built and depth was measured: depth from stereo follows the
    poses' errors, and aligning by it made it worse. Off in the paper."""
    confirm_surfaces: bool = True
    """Let views confirm or deny each other's depth from stereo, where all views are known before
    the volume is built (`surfaces.py`); the volume then hears the confirmed ones."""
    dgm_tolerance: float = 0.25
    """Depth-guided masking: relative depth difference that masks a view (section 3.5)."""

    def __post_init__(self) -> None:
        if self.encoder not in ENCODERS:
            raise ValueError(f"encoder {self.encoder!r} is not one of {', '.join(ENCODERS)}")
        if self.voxel_size <= 0:
            raise ValueError(f"voxel_size is {self.voxel_size} m: it must be positive")
        if self.fusion_width % self.fusion_heads:
            raise ValueError(
                f"fusion_width {self.fusion_width} is not a multiple of {self.fusion_heads} heads"
            )
        if self.evidence_split == 0 and self.encode_surface:
            raise ValueError(
                "encode_surface compares points with the views' own depth, which needs evidence: "
                "set evidence_split to 1 or more, or encode_surface to false"
            )
        if not self.use_mjf and self.distill_dim < 1:
            raise ValueError(
                "without use_mjf features are regressed: set distill_dim to their width"
            )

    @classmethod
    def small(cls, **changes) -> "FieldConfig":
        """Return the configuration for CPUs, with the given fields changed."""
        return cls(**changes)

    @classmethod
    def paper(cls, **changes) -> "FieldConfig":
        """Return the sizes of the publication, with the given fields changed."""
        sizes = {
            "encoder": "resnet34",
            "freeze_backbone": False,
            "volume_channels": 64,
            "query_channels": 32,
            "unet_channels": (16, 32, 64),
            "geometry_channels": 64,
            "density_width": 64,
            "fusion_width": 64,
            "encode_distance": False,
            "stereo_planes": 0,
            "evidence_split": 0,
            "encode_surface": False,
            "fine_samples": 0,
            "background": False,
            "merged_samples": 0,
            "even_exposure": False,
            "align_views": False,
            "confirm_surfaces": False,
        }
        return cls(**{**sizes, **changes})

    def to_json(self) -> str:
        """Return the configuration as JSON text."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "FieldConfig":
        """Rebuild a configuration written by `to_json`.

        Raises:
            ValueError: the text is no JSON object or has fields that this version does not know.
        """
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"the field configuration is not JSON: {error}") from error
        if not isinstance(values, dict):
            raise ValueError(f"the field configuration is a {type(values).__name__}, not an object")
        unknown = sorted(set(values) - {field.name for field in dataclasses.fields(cls)})
        if unknown:
            raise ValueError(
                f"the field configuration has unknown fields: {', '.join(unknown)}; "
                "it was written by another version, update govnesf_model"
            )
        values = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
        return cls(**values)
