"""``weights list``, ``weights get``, ``weights check``: published weights."""

from __future__ import annotations

import sys

from unisemalign.cli.options import AsJson
from unisemalign.cli.output import (
    FAILED,
    choose_events,
    errors_as_sentences,
    printable,
    say,
    say_done,
)


def list_all(as_json: AsJson = False) -> None:
    """List encoders and text towers: what is here, what needs a licence, the disk each takes."""
    with errors_as_sentences(as_json):
        from unisemalign.cli.weights import list_weights, state_of
        from unisemalign.protocol import WeightsListDone

        rows = list_weights()
        if as_json:
            return say_done(WeightsListDone(weights=tuple(rows)))
        for row in rows:
            size = f"{row['megabytes']:.0f} MB" if row["megabytes"] else ""
            speed = row["speed"] or ""
            say(
                f"{row['name']:18} {row['kind']:8} {size:>8}  {speed:7} {row['licence']:21} "
                f"{state_of(row)}"
            )
        say(
            "Any other timm (encoder) or open_clip (text) name works too, and NAME=PATH for your "
            "file."
        )
    return None


def get(name: str, as_json: AsJson = False) -> None:
    """Fetch published weights once; they work offline from then on. The one verb that goes online.

    A download that broke off goes on where it stopped; what arrives is checked by its hash.
    """
    with errors_as_sentences(as_json):
        from unisemalign.cli.starting import begin_work
        from unisemalign.cli.weights import get_weights

        begin_work()
        events = choose_events(as_json)
        got = get_weights(name, events)
        events.emit(got)
        if as_json:
            return
        for file in got.files:
            say(f"{file.file}: {file.megabytes} MB, SHA-256 {file.sha256}")
        if got.here:
            say(f"'{name}' is here now. Next: unisemalign weights check {name}")


def check(names: list[str], as_json: AsJson = False) -> None:
    """Load weights by name and shape, and run one forward pass."""
    with errors_as_sentences(as_json):
        from unisemalign.cli.weights import check_all
        from unisemalign.protocol import WeightsCheckDone

        rows = check_all(names)
        if as_json:
            say_done(WeightsCheckDone(weights=tuple(rows)))
        for row in [] if as_json else rows:
            if row["ok"]:
                shapes = " and ".join("×".join(map(str, shape)) for shape in row["outputs"])
                say(
                    f"{row['name']}: loads and runs; gives {shapes}; "
                    f"{row['parameters'] / 1e6:.1f} million parameters; loaded in "
                    f"{row['seconds_to_load']} s, ran in {row['seconds']} s"
                )
            else:
                sys.stderr.write(printable(f"{row['name']}: {row['text']}\n"))
    if not all(row["ok"] for row in rows):
        raise SystemExit(FAILED)
