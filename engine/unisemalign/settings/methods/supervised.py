"""Settings of the supervised yardstick."""

from __future__ import annotations

from typing import Literal

from unisemalign.settings.methods.base import LabelledLosses


class SupervisedSettings(LabelledLosses):
    """Labelled tissue only: the yardstick for every semi-supervised method."""

    name: Literal["supervised"] = "supervised"
