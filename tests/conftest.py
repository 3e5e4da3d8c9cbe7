"""Fixtures for all tests: shapes are checked, real data is found or its absence is said."""

import os
from pathlib import Path

# Two threads on tiny tensors wait for each other longer than they work.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import jaxtyping
import pytest

jaxtyping.install_import_hook("govnesf_model", "beartype.beartype")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the real sequence and bag, which the repository does not carry."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is not there")
    return folder
