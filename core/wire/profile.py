"""The profile of a dataset as a client reads it: the document that the validation job left, unchanged."""

from core.profile import AudioProfile, Caution, ColumnProfile, Finding, ImagesProfile, LabelsProfile, Profile

__all__ = ["AudioProfile", "Caution", "ColumnProfile", "Finding", "ImagesProfile", "LabelsProfile", "Profile"]
