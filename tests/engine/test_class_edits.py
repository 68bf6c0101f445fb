"""Classes are renamed, recoloured, added and taken away; rounds that learned before still serve."""

import numpy as np
import pytest
import torch

from tests.engine.conftest import QUICK
from unisemalign.errors import ProjectError
from unisemalign.geometry import Rect
from unisemalign.inference import load_predictor, score_split, segment_slide
from unisemalign.model import grow_classes, load_network
from unisemalign.project import ClassInfo, LabelEdit, Origin, Project, Split
from unisemalign.project.info import write_info
from unisemalign.settings import METHODS, build_settings
from unisemalign.training import train_round

NEW = ClassInfo(name="rings", color="#112233", words=("rings",))


def label(project, value):
    """Label a corner of slide a with ``value``."""
    rect = Rect(0, 0, 16, 16)
    values = np.full(rect.shape, value, np.uint8)
    project.accept("a", [LabelEdit(rect, values, Origin.DRAWN, (rect,))], action="accept")


def test_a_renamed_class_keeps_its_rounds(trained):
    first, second = trained.info.classes
    trained.set_classes([first.changed(name="lines", color="#010203"), second])
    with Project.open(trained.root) as again:
        assert again.info.class_names == ("lines", "dots")
        assert again.info.classes[0].former == ("stripes",)
        assert again.info.classes[0].words == ("lines",)
        assert again.info.classes[0].color == "#010203"
        predictor, made = load_predictor(again, None, ["device=cpu"])
        assert segment_slide(again, "b", predictor, made.number).fresh
    renamed = trained.info.classes[0].changed(name="stripes", color="#010203")
    assert renamed.former == ("lines",)


def test_two_names_that_changed_places_are_refused(trained):
    first, second = trained.info.classes
    trained.set_classes([second, first])
    with pytest.raises(ProjectError, match="learned the classes stripes, dots"):
        load_predictor(trained)


def test_an_added_class_is_painted_learned_and_predicted(trained):
    trained.set_classes([*trained.info.classes, NEW])
    predictor, made = load_predictor(trained, None, ["device=cpu"])  # the older round serves still
    segment_slide(trained, "b", predictor, made.number)
    label(trained, 3)
    with pytest.raises(Exception, match="0…3"):
        label(trained, 4)
    settings = build_settings(overrides={**QUICK, "training.steps": 2})
    done = train_round(trained, settings)
    assert done.parent == 1
    network, _, names = load_network(done.layout.weights)
    assert (names, network.n_classes) == (["stripes", "dots", "rings"], 3)
    assert len(done.scores.best_val.dice_per_class) == 3
    # The older round can still be compared with on regions that hold the new class.
    rect = Rect(0, 0, 16, 16)
    trained.accept(
        "c",
        [LabelEdit(rect, np.full(rect.shape, 3, np.uint8), Origin.DRAWN, (rect,))],
        action="accept",
    )
    old, _ = load_predictor(trained, 1, ["device=cpu"])
    assert score_split(trained, old, Split.VAL).summary()["dice_per_class"][2] == 0


def test_growing_keeps_what_was_learned(trained):
    learned, settings, _ = load_network(trained.latest_round().layout.weights)
    from unisemalign.model import build_network

    fresh = build_network(["stripes", "dots", "rings"], settings.model, settings.method)
    grown = grow_classes(learned, fresh)
    before, after = learned.state_dict(), grown.state_dict()
    changed = [name for name in before if before[name].shape != after[name].shape]
    assert changed, "parts with a row a class must be known"
    for name, value in before.items():
        if name in changed:
            if value.shape[0] == 2:
                assert torch.equal(after[name][:2], value), name
        else:
            assert torch.equal(after[name], value), name
    image = torch.rand(1, 3, 64, 64)
    assert grown.eval().decode(grown.features(image)).shape[1] == 3


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_goes_on_with_one_class_more(study, method):
    quick = {**QUICK, "training.steps": 1}
    train_round(study, build_settings(method=method, overrides=quick))
    study.set_classes([*study.info.classes, NEW])
    label(study, 3)
    done = train_round(study, build_settings(method=method, overrides=quick))
    assert (done.state, done.parent) == ("done", 1)


def test_only_a_class_that_was_never_used_goes(study):
    two = study.info.classes
    study.set_classes([*two, NEW])
    study.set_classes(two)
    with Project.open(study.root) as again:
        assert again.info.classes == two
    with pytest.raises(ProjectError, match="found labels of 'dots'"):
        study.set_classes(two[:1])
    study.set_classes([*two, NEW])
    label(study, 3)
    study.undo()
    with pytest.raises(ProjectError, match="or in what can be taken back"):
        study.set_classes(two)
    assert len(study.info.classes) == 3


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": "dots"}, "names that differ"),
        ({"name": " "}, "a name that is not empty"),
        ({"color": "red"}, "a colour such as"),
    ],
)
def test_impossible_classes_get_a_sentence(study, change, sentence):
    first, second = study.info.classes
    with pytest.raises(ProjectError, match=sentence):
        study.set_classes([first.model_copy(update=change), second])
    assert study.info.classes == (first, second)


def test_a_kill_while_a_class_goes_leaves_a_project_that_opens(study, monkeypatch):
    two = study.info.classes
    study.set_classes([*two, NEW])

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("unisemalign.project.project.write_info", killed)
        with pytest.raises(KeyboardInterrupt):
            study.set_classes(two)
    with Project.open(study.root) as again:
        assert len(again.info.classes) == 3
    write_info(study.layout.info, study.info.model_copy(update={"classes": (*two, NEW)}))
    with Project.open(study.root) as again:
        label(again, 3)
