"""Conversion between sensor_msgs images and OpenCV arrays.

bridge = CvBridge()
rgb = bridge.imgmsg_to_cv2(image_message, desired_encoding="rgb8")
message = bridge.cv2_to_imgmsg(rgb, encoding="rgb8", header=image_message.header)
"""

from .core import CvBridge, CvBridgeError

__all__ = ["CvBridge", "CvBridgeError"]
