"""GOV-NeSF: generalizable open-vocabulary neural semantic fields, without ROS.

from govnesf_model.data.posed_scene import open_scene
from govnesf_model.checkpoint import load_field
from govnesf_model.vlm import load_vlm

scene, field, vlm = open_scene("room"), load_field("small"), load_vlm("embedded")
"""

import os

# Threads of a parallel step must not spin for long while they wait for each other. On a processor
# that others use too, a robot's or a laptop's, steps of microseconds then take milliseconds. Those
# that sleep at once are woken too late for the next step. A thousand turns are a few microseconds,
# what OpenMP itself takes where there are more threads than cores: see benchmarks/waiting.py. It
# reads this when torch is loaded.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

__version__ = "0.1.0"
