"""Names that older code imports from here; numpy has had them since 1.16."""

from numpy.lib.recfunctions import structured_to_unstructured, unstructured_to_structured

__all__ = ["structured_to_unstructured", "unstructured_to_structured"]
