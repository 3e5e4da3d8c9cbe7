"""Helpers for sensor_msgs: `from sensor_msgs_py import point_cloud2`."""
