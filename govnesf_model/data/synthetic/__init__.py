"""Rendered rooms from open furniture models: training data and the demo scene."""
