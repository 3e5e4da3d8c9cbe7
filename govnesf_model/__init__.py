"""GOV-NeSF: generalizable open-vocabulary neural semantic fields, without ROS.

from govnesf_model.data.posed_scene import open_scene
from govnesf_model.checkpoint import load_field
from govnesf_model.vlm import load_vlm

scene, field, vlm = open_scene("room"), load_field("small"), load_vlm("embedded")
"""

__version__ = "0.1.0"
