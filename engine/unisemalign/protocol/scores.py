"""Scores as they are stored and sent: of a split, of a step, of a round, of a benchmark's run."""

from __future__ import annotations

from pydantic import Field

from unisemalign.protocol.model import VERSION, Count, ProtocolModel, Share


class SplitScores(ProtocolModel):
    """Scores of a network on held-out regions, 0…1; ``None`` where a score is not defined.

    Attributes
    ----------
    images
        How many regions were scored.
    dice_per_class, jaccard_per_class
        ``(C,)``, in the order of the project's classes.
    mdice_interval
        What mDice might be on other regions of the same kind: lower and upper end of its 95 %
        interval over regions. ``None`` below three regions.
    """

    images: Count
    mdice: Share | None
    mjaccard: Share | None
    foreground_dice: Share | None
    per_image_mdice: Share | None
    object_dice: Share | None
    object_f1: Share | None
    dice_per_class: tuple[Share | None, ...]
    jaccard_per_class: tuple[Share | None, ...]
    mdice_interval: tuple[Share, Share] | None = None


class StepScores(SplitScores):
    """Scores after ``step`` training steps, of the network that the method calls ``candidate``."""

    step: Count
    candidate: str | None = None


class FallenClass(ProtocolModel):
    """A class whose Dice on the val regions lies below its best of the round.

    Attributes
    ----------
    name
        The class's.
    best, now
        Its Dice, at best and in this validation, 0…1.
    noise
        What the difference may be by chance; here it is larger.
    step
        When the class was at its best.
    """

    name: str
    best: Share
    now: Share
    noise: float = Field(ge=0)
    step: Count

    def sentence(self) -> str:
        """Return what is told to a person."""
        return (
            f"Held-out Dice of '{self.name}' fell to {100 * self.now:.1f}, from "
            f"{100 * self.best:.1f} at step {self.step}: more than its noise of "
            f"{100 * self.noise:.1f}. The step that suits all classes is kept. If it stays so, "
            f"label more of '{self.name}'."
        )


class TestScores(SplitScores):
    """Scores on test images; ``step`` is absent where the best weights were scored."""

    __test__ = False  # pytest takes the name for a class of tests

    step: Count | None = None


class RoundBefore(ProtocolModel):
    """The round that was in use until then, on the held-out regions of the new one.

    Attributes
    ----------
    round
        Its number.
    mdice
        Its mean Dice on those regions, 0…1.
    noise
        What the difference of the two may be by chance (two standard errors); ``None`` below
        three regions.
    """

    round: Count
    mdice: Share
    noise: float | None = Field(None, ge=0)


class RoundScores(ProtocolModel):
    """What a finished round says of itself: its ``scores.json`` and its row in the project.

    Attributes
    ----------
    best_val, last_val
        Scores on the val regions at the kept step (mean Dice, a class's fall counting twice) and
        at the last one; ``None`` where nothing is held out.
    seconds
        Length of the training, of the part after the last resume.
    seconds_per_step, wait_per_step
        Per step; the second is what of it was spent waiting for crops.
    wait_share
        ``wait_per_step`` over ``seconds_per_step``.
    token_hits, token_misses
        How often the encoder's tokens were in the cache; ``None`` without a cache.
    learned_parameters
        How many numbers learn by gradient.
    peak_memory_mb
        The most memory in use at once, in 10⁶ bytes: of the GPU, or of the process. ``None`` where
        the system does not tell.
    needs
        What the method needs beyond one network and labelled crops, in words.
    before
        What was in use before it, scored on the same regions; ``None`` where there was nothing, or
        nothing is held out.
    """

    version: int = Field(VERSION, ge=1, le=VERSION, description=f"a version up to {VERSION}")
    best_val: StepScores | None
    last_val: StepScores | None
    seconds: float = Field(ge=0)
    seconds_per_step: float = Field(ge=0)
    wait_per_step: float = Field(ge=0)
    wait_share: float = Field(ge=0)
    token_hits: Count | None = None
    token_misses: Count | None = None
    learned_parameters: Count | None = None
    peak_memory_mb: float | None = Field(None, ge=0)
    needs: tuple[str, ...] = ()
    before: RoundBefore | None = None

    @property
    def has_fallen(self) -> bool:
        """Whether the round that was in use before scores higher on the same regions."""
        return self.before is not None and self.dice is not None and self.dice < self.before.mdice

    def verdict(self) -> str:
        """Return in a sentence how the round compares with the one before; empty if it does not."""
        if self.before is None or self.dice is None:
            return ""
        before = self.before
        said = (
            f"Held-out Dice {100 * self.dice:.1f}; round {before.round} has "
            f"{100 * before.mdice:.1f} on the same regions"
        )
        if before.noise is not None and abs(self.dice - before.mdice) <= before.noise:
            said += f", a difference that chance may make (±\u00a0{100 * before.noise:.1f})"
        return f"{said}: round {before.round} stays in use." if self.has_fallen else f"{said}."

    @property
    def dice(self) -> float | None:
        """Mean Dice of the round's weights (the best step's); ``None`` if nothing is held out."""
        return None if self.best_val is None else self.best_val.mdice


class RunScores(RoundScores):
    """``scores.json`` of a benchmark's run: its round's scores and those on the test images.

    Attributes
    ----------
    best_test, last_test
        Scores of the best and of the last step's weights; ``None`` where they were not scored.
    tests
        SHA-256 of the test images that ``best_test`` and ``last_test`` are scores of.
    """

    best_test: TestScores | None = None
    last_test: TestScores | None = None
    tests: str | None = None
