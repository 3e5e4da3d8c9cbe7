"""The ROS shell around govnesf_model: nodes, conversions, TF-gated frames.

The generated messages and services live in a folder of the same name in the built workspace;
both are one package.
"""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)
