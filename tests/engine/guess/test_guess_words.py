"""A first guess from words: cosines by hand, and a whole pair with random numbers."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tests.engine.model.published_files import (
    image_tower_shapes,
    numbers,
    shrunk,
    tower_shapes,
    write,
)
from unisemalign.errors import SettingsError
from unisemalign.geometry import Rect
from unisemalign.guess import find_pair, guess_by_words, words
from unisemalign.guess.network import GuessNetwork
from unisemalign.guess.words import PROMPTS, class_vectors
from unisemalign.model import Encoder
from unisemalign.project import ClassInfo, FirstGuess, Project
from unisemalign.runtime import CancelToken, SilentEvents
from unisemalign.slides.synthetic import draw_slide
from unisemalign.weights import PUBLISHED, find_published


@pytest.fixture(autouse=True)
def own_home(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))


class Colours(Encoder):
    """Says of each pixel its own colour."""

    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    low_channels = high_channels = 3
    low_stride = high_stride = multiple = 1
    pretrained = True

    def forward(self, images):
        return images, images


def test_a_feature_gets_the_answer_whose_directions_it_points_to():
    directions = F.normalize(torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]), dim=1)
    network = GuessNetwork(Colours(), directions, [0, 1, 1], zoom=1.0, temperature=0.5).eval()
    pixels = torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.8, 0.2]]).T.view(1, 3, 1, 2)
    with torch.inference_mode():
        logits = network.logits(network.features(pixels), network.words(), 0.1)
        shares = (F.normalize(pixels, dim=1)[0, :, 0].T / 0.5).softmax(1)
    found = logits.decoder.softmax(1)[0, :, 0].T
    assert torch.allclose(found[:, 0], shares[:, 0], atol=1e-6)
    assert torch.allclose(found[:, 1], shares[:, 1] + shares[:, 2], atol=1e-6)
    assert torch.equal(logits.prototype, logits.decoder)
    assert torch.equal(logits.text, logits.decoder)


def pair_file(name, folder):
    small = shrunk(find_published(name))
    return small, write(small, numbers(tower_shapes(small) | image_tower_shapes(small)), folder)


CLASSES = [
    ClassInfo(name="background", color="#999999", words=("background",)),
    ClassInfo(name="gland", color="#e69f00", words=("gland", "colonic gland")),
]


def test_every_word_of_a_class_is_said_in_every_prompt(tmp_path, monkeypatch):
    small, path = pair_file("quiltnet-b-16", tmp_path)
    said = []
    real = words.load_text

    def listening(entry, place, sentences, **options):
        said.extend(sentences)
        return real(entry, place, sentences, **options)

    monkeypatch.setattr(words, "load_text", listening)
    vectors = class_vectors(small, path, CLASSES)
    assert said == [p.format(w) for w in ("background", "gland", "colonic gland") for p in PROMPTS]
    assert vectors.shape == (2, small.arguments["output_dim"])
    assert torch.allclose(vectors.norm(dim=1), torch.ones(2))
    wordless = [CLASSES[0].model_copy(update={"words": ()}), CLASSES[1]]
    assert torch.allclose(class_vectors(small, path, wordless), vectors), "a name is a word"


@pytest.mark.parametrize("name", ["quiltnet-b-16", "plip"])
def test_words_alone_make_round_0(name, tmp_path):
    small, path = pair_file(name, tmp_path)
    events, cancel = SilentEvents(), CancelToken()
    with Project.create(tmp_path / "p.unisem", classes=CLASSES) as project:
        project.add_slide(draw_slide(tmp_path / "a.tif", size_px=256))
        note = guess_by_words(project, ["a"], None, small, path=path, events=events, cancel=cancel)
        assert (note.made_by, note.model, note.waiting) == ("words", name, False)
        assert FirstGuess(project).note() == note
        assert project.rounds()[0].preset == f"words: {name}"
        classes = project.predictions(0, "a").read(Rect(0, 0, 256, 256))
        assert set(np.unique(classes)) <= {0, 1, 2}
        assert classes.any()
        assert not project.labels("a").labelled_rects()


def test_a_pair_is_taken_where_there_is_one(tmp_path, monkeypatch):
    assert find_pair(None, "free") is None
    (tmp_path / "w.bin").touch()
    entry, path = find_pair(f"plip={tmp_path / 'w.bin'}", "free")
    assert (entry.name, path) == ("plip", tmp_path / "w.bin")
    assert find_pair(None, f"keep={tmp_path / 'w.bin'}")[0].name == "keep"
    monkeypatch.setattr(words, "is_here", lambda entry: entry.name in {"plip", "biomedclip"})
    assert find_pair(None, "free")[0].name == "plip"
    assert find_pair(None, "biomedclip")[0].name == "biomedclip"
    for wrong in ("uni", "free", "nothing"):
        with pytest.raises(SettingsError, match="vision-language pair"):
            find_pair(wrong, "free")


def test_every_pair_of_the_registry_is_named_when_another_is_asked_for():
    with pytest.raises(SettingsError) as told:
        find_pair("uni", "free")
    assert all(entry.name in str(told.value) for entry in PUBLISHED if entry.image_tower)
