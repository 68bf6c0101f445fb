"""A round's model as one file for other programs: TorchScript, ONNX or a bioimage.io package."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import logging
import tempfile
import warnings
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from unisemalign.errors import DataError, SettingsError, WeightsError
from unisemalign.exchange.exporting import writing_project_results
from unisemalign.inference.loading import load_predictor
from unisemalign.inference.model_files import portable_weights
from unisemalign.inference.predictor import Predictor
from unisemalign.project import Project, Round
from unisemalign.terms import ModelFormat

_SUFFIX = {
    "torchscript": ".pt",
    "onnx": ".onnx",
    "bioimageio": ".zip",
    "unisemalign": ".safetensors",
}
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""Time of every member of a package: the same model is the same file."""
_ALIKE = 1e-4
_CARDS = "napari-unisemalign's, see its model card"
_ORIGIN = {
    "embedded": f"The encoder began as 'embedded', {_CARDS}: trained on EBHI-SEG (Shi et al. 2023, "
    "CC BY 4.0).\n\n",
    "organs": f"The encoder began as 'organs', {_CARDS}: ImageNet's EfficientNet-Lite0 "
    "(Apache-2.0), EBHI-SEG (CC BY 4.0) and fields of many organs, CC BY-SA 4.0 among them.\n\n",
}
_SPEC = "0.5.3"


class StandaloneModel(nn.Module):
    """From pixels to class probabilities, with nothing outside: what a :class:`Predictor` answers.

    Float32, on the CPU. The class texts are numbers in here; no text tower is.
    """

    words: Tensor

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self.network = copy.deepcopy(predictor.network).cpu().float().eval().requires_grad_(False)
        self.network.tokens = None
        with torch.no_grad():
            self.register_buffer("words", self.network.words())
        method = predictor.settings.method
        self._temperature = method.temperature
        self._fused = predictor.settings.inference.answer == "fused"
        self._shares = (method.eta_prototype, method.eta_text)

    def forward(self, images: Tensor) -> Tensor:
        """Return probabilities ``(B, C, H, W)`` of RGB pixels ``(B, 3, H, W)`` in 0…255."""
        net = self.network
        features = net.features(images / 255)
        if not self._fused:
            return net.decode(features).softmax(1)
        logits = net.logits(features, self.words, self._temperature)
        return logits.fused(*self._shares).softmax(1)


def export_model(
    project: Project,
    number: int | None,
    fmt: ModelFormat,
    out: Path,
    *,
    authors: Sequence[str] = (),
    licence: str | None = None,
) -> Path:
    """Write a round's model into the folder ``out`` and return the file.

    Windows have the round's size (``inference.window_px``) and the project's pixel size; a note
    beside the file says both, and the classes. Only an earlier result of this name is replaced.

    Parameters
    ----------
    project
        Whose.
    number
        Which round; ``None``: the newest with weights.
    fmt
        ``torchscript``: traced, for PyTorch, DJL or C++. ``onnx``: for ONNX Runtime; needs the
        extra ``onnx``. ``bioimageio``: the same in a package with
        test tensors, of specification 0.5.3. ``unisemalign``: for a project of this program
        (:func:`~unisemalign.inference.create_from_model`), with any encoder, whose own weights
        stay out of it.
    out
        The folder.
    authors, licence
        Whose model it is, and under which terms it may be used (an SPDX name, such as
        ``CC-BY-4.0``). A package names both; nobody but the person who trained it can say so.

    Raises
    ------
    DataError
        If something else lies there, or a package is asked for without authors or licence.
    ProjectError
        If there is no such round, or the disk is full.
    SettingsError
        If ONNX is asked for and its packages are not installed.
    WeightsError
        If its encoder's weights are someone else's, or the written model answers otherwise.
    """
    if fmt == "onnx":
        _require_onnx()
    if fmt == "bioimageio" and not (authors and licence):
        raise DataError(
            "A bioimage.io package needs an author and a licence, found "
            f"{'no licence' if authors else 'no author'}. Name yours: "
            '--author "Name" (more than once for several) and --licence CC-BY-4.0 (an SPDX name).'
        )
    predictor, made = load_predictor(project, number, ["device=cpu", "precision=float32"])
    side = predictor.settings.inference.window_px
    example = _example(side)
    if fmt == "unisemalign":
        weights, answer = portable_weights(project, made), example
    else:
        _refuse_others_weights(predictor)
        write = _as_onnx if fmt == "onnx" else _traced
        weights, answer = write(StandaloneModel(predictor).eval(), example)
    name = f"{project.root.stem}-round-{made.number}{_SUFFIX[fmt]}"
    note = _note(project, made, side)
    if authors:
        note["authors"] = list(authors)
    if licence:
        note["license"] = licence
    with (
        writing_project_results(project, Path(out).absolute(), [name]) as results,
        results.replaced(name, note) as part,
    ):
        if fmt == "bioimageio":
            _write_package(part, note, weights, example, answer)
        else:
            part.write_bytes(weights)
    return Path(out) / name


def _refuse_others_weights(predictor: Predictor) -> None:
    encoder = predictor.network.encoder
    if encoder.pretrained and not encoder.ours:
        raise WeightsError(
            f"Only a model of our own weights is written into a file, found the encoder "
            f"'{predictor.settings.model.encoder}', whose licence is its owner's. Train with the "
            f"encoder 'embedded' or 'organs' to give a model away; in a project any can be used."
        )


def _example(side: int) -> Tensor:
    """Return pixels ``(1, 3, S, S)`` in 0…255 that look a little like stained tissue."""
    ys, xs = np.mgrid[:side, :side]
    waves = np.sin(ys / 17)[None] * np.cos(xs / np.array([11, 23, 31])[:, None, None])
    pixels = np.array([200, 130, 180])[:, None, None] + 40 * waves
    return torch.from_numpy(np.rint(pixels).astype(np.float32))[None]


@torch.no_grad()
def _traced(model: StandaloneModel, example: Tensor) -> tuple[bytes, Tensor]:
    """Return the model as one graph in a file, and its answer to ``example``: the model's own."""
    memory = io.BytesIO()
    answer = model(example)
    with warnings.catch_warnings():
        # Sizes become constants, as they should: a window has one size. And QuPath's DJL and
        # bioimage.io still read TorchScript, whatever torch recommends since.
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(model, example, check_trace=False)  # type: ignore[no-untyped-call]
        torch.jit.save(traced, memory)
    _check_alike(traced(example), answer)
    return memory.getvalue(), answer


def _require_onnx() -> None:
    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise SettingsError(
            f"The format 'onnx' needs packages that are not installed: {error.name}. "
            "Run: pip install napari-unisemalign[onnx]"
        ) from error


@torch.no_grad()
def _as_onnx(model: StandaloneModel, example: Tensor) -> tuple[bytes, Tensor]:
    """Return the model in the ONNX format, and the answer to ``example``: the model's own.

    ONNX Runtime reads what was written and is compared with the model.
    """
    import onnxruntime

    answer = model(example)
    talkative = logging.getLogger("onnxscript")
    level = talkative.level
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        talkative.setLevel(logging.ERROR)
        path = Path(folder) / "model.onnx"
        try:
            torch.onnx.export(
                model,
                (example,),
                path,
                input_names=["image"],
                output_names=["probabilities"],
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        finally:
            talkative.setLevel(level)
        content = path.read_bytes()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    _check_alike(torch.from_numpy(session.run(None, {"image": example.numpy()})[0]), answer)
    return content, answer


def _check_alike(written: Tensor, answer: Tensor) -> None:
    apart = float((written - answer).abs().max())
    if not apart <= _ALIKE:
        raise WeightsError(
            f"The written model needs to answer as the round's does, found a difference of "
            f"{apart:.2g}. Report it with the round's run.toml."
        )


def _note(project: Project, made: Round, side: int) -> dict[str, Any]:
    info = project.info
    return {
        "version": version("napari-unisemalign"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "project": project.root.stem,
        "round": made.number,
        "method": made.method,
        "encoder": info.encoder,
        "window_px": side,
        "spacing_um": info.spacing_um,
        "classes": [{"name": each.name, "color": each.color} for each in info.classes],
        "input": f"RGB, 0…255, float32, 1 × 3 × {side} × {side}",
        "output": f"probability of each class, float32, 1 × {len(info.classes)} × {side} × {side}",
    }


def _write_package(
    part: Path, note: dict[str, Any], weights: bytes, example: Tensor, answer: Tensor
) -> None:
    members = {
        "weights.pt": weights,
        "input.npy": _npy(example),
        "output.npy": _npy(answer),
        "cover.png": _cover(example, answer, [each["color"] for each in note["classes"]]),
        "README.md": _readme(note).encode(),
    }
    described = _described(note, members)
    members = {"rdf.yaml": json.dumps(described, indent=1).encode(), **members}  # JSON is YAML
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as package:
        for name, content in members.items():
            package.writestr(zipfile.ZipInfo(name, _EPOCH), content)


def _npy(tensor: Tensor) -> bytes:
    memory = io.BytesIO()
    np.save(memory, tensor.numpy(), allow_pickle=False)
    return memory.getvalue()


def _cover(example: Tensor, answer: Tensor, colors: Sequence[str]) -> bytes:
    """Return the test input beside its classes, in their colours, as a PNG."""
    pixels = example[0].permute(1, 2, 0).numpy().astype(np.uint8)
    palette = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in colors], np.uint8)
    memory = io.BytesIO()
    both = np.concatenate([pixels, palette[answer[0].argmax(0).numpy()]], axis=1)
    Image.fromarray(both).save(memory, "PNG")
    return memory.getvalue()


def _readme(note: dict[str, Any]) -> str:
    classes = ", ".join(each["name"] for each in note["classes"])
    return (
        f"# {note['project']}, round {note['round']}\n\n"
        f"Segments histology into: {classes}. Input: {note['input']}, at {note['spacing_um']:g} µm "
        f"a pixel; output: {note['output']}.\n\n"
        f"{_ORIGIN.get(note['encoder'], '')}"
        f"## Validation\n\nCompare its map with regions you labelled yourself and held out. "
        f"Research use only.\n"
    )


def _described(note: dict[str, Any], members: dict[str, bytes]) -> dict[str, Any]:
    """Return the package's description (bioimage.io model specification)."""
    side, spacing = note["window_px"], note["spacing_um"]

    def held(name: str) -> dict[str, str]:
        return {"source": name, "sha256": hashlib.sha256(members[name]).hexdigest()}

    def space(axis: str) -> dict[str, Any]:
        return {
            "type": "space", "id": axis, "size": side, "scale": spacing, "unit": "micrometer",
        }  # fmt: skip

    def tensor(name: str, channels: list[str], test: str, data: dict[str, Any]) -> dict[str, Any]:
        channel = {"type": "channel", "id": "channel", "channel_names": channels}
        axes = [{"type": "batch", "size": 1}, channel, space("y"), space("x")]
        return {"id": name, "axes": axes, "test_tensor": held(test), "data": data}

    names = [each["name"] for each in note["classes"]]
    return {
        "format_version": _SPEC,
        "type": "model",
        "name": _plain(f"{note['project']} round {note['round']}"),
        "description": f"Segmentation of histology: {', '.join(names)}."[:1024],
        "authors": [{"name": name} for name in note["authors"]],
        "cite": [{"text": "UniSemAlign", "url": "https://arxiv.org/abs/2604.09169"}],
        "license": note["license"],
        "documentation": "README.md",
        "covers": ["cover.png"],
        "tags": ["histology", "segmentation", "semi-supervised"],
        "timestamp": note["created"],
        "inputs": [
            tensor(
                "image",
                ["red", "green", "blue"],
                "input.npy",
                {"type": "float32", "range": [0, 255]},
            )
        ],
        "outputs": [
            tensor("probabilities", names, "output.npy", {"type": "float32", "range": [0, 1]})
        ],
        "weights": {
            "torchscript": {
                **held("weights.pt"),
                "pytorch_version": torch.__version__.partition("+")[0],
            }
        },
        "config": {"unisemalign": {"window_px": side, "spacing_um": spacing}},
    }


def _plain(name: str) -> str:
    """Return a name of letters, digits, spaces, dashes and brackets alone, as is asked for."""
    kept = "".join(each if each.isalnum() or each in " _+-()" else "-" for each in name)
    return kept[:120]
