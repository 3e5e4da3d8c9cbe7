"""GOV-NeSF: generalizable open-vocabulary neural semantic fields, without ROS.

from govnesf_model.data.posed_scene import open_scene
from govnesf_model.checkpoint import load_field
from govnesf_model.vlm import load_vlm

scene, field, vlm = open_scene("room"), load_field("small"), load_vlm("embedded")
"""

import os

# Threads of a parallel step must not spin while they wait for each other. On a processor that
# others use too, a robot's or a laptop's, steps of microseconds then take milliseconds: two
# processes that encode images side by side took 2 s an image instead of 0.13. OpenMP reads this
# when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
