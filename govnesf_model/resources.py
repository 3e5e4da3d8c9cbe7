"""Where the files that travel with the code lie: weights/ and assets/.

A checkout keeps them at its root; `pip install` and `colcon build` put them inside the package.
"""

import os
from pathlib import Path


def resource_dir(kind: str) -> Path:
    """Return the folder of a kind of resource.

    Args:
        kind: "weights" or "assets". The environment variable GOVNESF_<KIND> overrides it.

    Raises:
        FileNotFoundError: no such folder beside the code; names the places that were tried.
    """
    package = Path(__file__).resolve().parent
    candidates = [package / kind, package.parent / kind]
    override = os.environ.get(f"GOVNESF_{kind.upper()}")
    if override:
        candidates = [Path(override)]
    for folder in candidates:
        if folder.is_dir():
            return folder
    tried = ", ".join(str(folder) for folder in candidates)
    raise FileNotFoundError(
        f"the {kind} folder of govnesf is missing (looked in {tried}): reinstall the package, or "
        f"set GOVNESF_{kind.upper()} to the folder"
    )
