"""The name under which the real package keeps its compiled module; some code imports from it."""

from . import *  # noqa: F403
