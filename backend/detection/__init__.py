"""A page becomes candidate boxes: paper-relative optical density, layers of ink, grouping."""

from backend.detection.candidates import Candidates
from backend.detection.config import DetectionConfig
from backend.detection.detector import ColourDetector
from backend.detection.refine import refine

__all__ = ["Candidates", "ColourDetector", "DetectionConfig", "refine"]
