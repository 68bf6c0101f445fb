"""The project folder: slides, labels with a journal, regions, rounds and predictions."""

from unisemalign.project.cleaning import CleanedMap, Cleaning
from unisemalign.project.edits import LabelEdit
from unisemalign.project.first_guess import NO_CLASS, FirstGuess, GuessNote
from unisemalign.project.info import ClassInfo, ProjectInfo
from unisemalign.project.labels import LabelStore
from unisemalign.project.merging import merge_classes
from unisemalign.project.names import safe_name
from unisemalign.project.predictions import PredictionStore
from unisemalign.project.project import Project
from unisemalign.project.records import (
    JournalEntry,
    Origin,
    Region,
    RegionState,
    Round,
    SecondReading,
    SlideRecord,
)
from unisemalign.project.tissue import TissueChange, TissueStore, corrected
from unisemalign.protocol import FIRST_ROUND
from unisemalign.terms import Split

__all__ = [
    "FIRST_ROUND",
    "NO_CLASS",
    "ClassInfo",
    "CleanedMap",
    "Cleaning",
    "FirstGuess",
    "GuessNote",
    "JournalEntry",
    "LabelEdit",
    "LabelStore",
    "Origin",
    "PredictionStore",
    "Project",
    "ProjectInfo",
    "Region",
    "RegionState",
    "Round",
    "SecondReading",
    "SlideRecord",
    "Split",
    "TissueChange",
    "TissueStore",
    "corrected",
    "merge_classes",
    "safe_name",
]
