"""The table of published encoders and text towers, read from ``registry.toml``. Free of torch."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from unisemalign.errors import SettingsError

Kind = Literal["encoder", "text"]
Speed = Literal["fast", "medium", "slow"]
Three = tuple[float, float, float]

_IMAGENET_MEAN: Three = (0.485, 0.456, 0.406)
_IMAGENET_STD: Three = (0.229, 0.224, 0.225)
_CLIP_MEAN: Three = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD: Three = (0.26862954, 0.26130258, 0.27577711)


class ImageTower(BaseModel):
    """The image side of a text tower's file: with it, class words alone can label tissue.

    Attributes
    ----------
    layout
        ``timm`` (a trunk and a ``head``), ``clip`` and ``hf_clip`` (open_clip's and transformers').
    parts, left_out
        What prefixes of the file are called here, and prefixes that are known and not wanted.
    architecture, arguments, head
        What timm is asked for, and what takes its tokens to the words.
    image_px, patch, width, depth, heads, output_dim
        Side of the image, pixels a token, channels, blocks, attention heads, dimension of words.
    mean, std, spacing_um
        As for an encoder.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    layout: Literal["timm", "clip", "hf_clip"]
    parts: dict[str, str]
    left_out: tuple[str, ...]
    architecture: str | None = None
    arguments: dict[str, Any] = {}
    head: Literal["pooler", "linear", "mlp"] | None = None
    quick_gelu: bool = False
    image_px: int = 224
    patch: int = 16
    width: int = 768
    depth: int = 12
    heads: int = 12
    output_dim: int = 512
    mean: Three = _CLIP_MEAN
    std: Three = _CLIP_STD
    spacing_um: float = 0.5


class Published(BaseModel):
    """One published encoder or text tower, or one of our own that needs no file.

    Attributes
    ----------
    name, title, kind
        What a person types, what a person reads, and which of the two it is.
    repo, files
        Repository on the Hugging Face hub, and its weight files: the first that exists is used.
        Ours have none.
    package
        An installed Python package that brings the same files, in its ``model.zip``.
    licence, gated
        Whose terms; whether the hub asks to accept them before it gives the file.
    layout
        How the file names its parts: ``timm``; ``hf_vit`` and ``hf_dinov2`` as transformers'
        ``ViTModel`` and ``Dinov2Model``; ``coca``, ``clip``, ``hf_clip`` and ``bert`` for text.
    keys, left_out
        Prefix of the parts that are wanted, and prefixes of parts that are known and not wanted.
        A part with neither is an error.
    architecture, arguments, swiglu, norm_eps
        What timm (or the text tower's class) is asked for.
    image_px
        Sides of the image the position grid was made for; a file must have one of them.
    patch, width, depth, prefix_tokens
        Pixels a token, channels, blocks, tokens before the first patch (class and registers).
    taps
        0-based blocks whose output is used: UniSemAlign's 2 and 9 of 24 at the same relative depth.
    mean, std
        Statistics images are normalised with.
    spacing_um
        Pixel size, in µm, the encoder was trained at.
    tokenizer, tokenizer_files, quick_gelu
        How words become numbers, the files it needs from the hub, and CLIP's first activation.
    image_tower
        A text tower's image side, in the same file; ``None`` where there is none that fits.
    parameters_m
        Millions of parameters of the part that is wanted, before blocks are dropped.
    megabytes, memory_megabytes
        Size of the file on disk, and of the part that is kept in memory, float32.
    gflop
        Arithmetic for a million pixels, counted, of an encoder that is no plain transformer.
    sha256
        Of the file, where the publisher's is known or it is our own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    kind: Kind
    licence: str
    gated: bool = False
    repo: str | None = None
    package: str | None = None
    files: tuple[str, ...] = ()
    layout: Literal["timm", "hf_vit", "hf_dinov2", "coca", "clip", "hf_clip", "bert"] | None = None
    keys: str = ""
    left_out: tuple[str, ...] = ()
    architecture: str | None = None
    arguments: dict[str, Any] = {}
    swiglu: bool = False
    norm_eps: float | None = None
    image_px: tuple[int, ...] = (224,)
    patch: int | None = None
    width: int | None = None
    depth: int | None = None
    prefix_tokens: int | None = None
    taps: tuple[int, int] | None = None
    mean: Three = _IMAGENET_MEAN
    std: Three = _IMAGENET_STD
    spacing_um: float | None = None
    tokenizer: Literal["conch", "clip", "bert"] | None = None
    tokenizer_files: tuple[str, ...] = ()
    quick_gelu: bool = False
    image_tower: ImageTower | None = None
    parameters_m: float | None = None
    megabytes: float = 0
    memory_megabytes: float | None = None
    gflop: float | None = None
    sha256: str | None = None

    @property
    def page(self) -> str | None:
        """Address of the model's page, where its licence is read and accepted."""
        return None if self.repo is None else f"https://huggingface.co/{self.repo}"

    @property
    def gflop_per_megapixel(self) -> float | None:
        """Arithmetic of the kept blocks for a million pixels, attention's square part left out."""
        if self.gflop is not None:
            return self.gflop
        if self.patch is None or self.memory_megabytes is None:
            return None
        return 2 * self.memory_megabytes / 4 * 1e3 / self.patch**2

    @property
    def speed(self) -> Speed | None:
        """Class of speed, by arithmetic a megapixel."""
        gflop = self.gflop_per_megapixel
        if gflop is None:
            return None
        return "fast" if gflop <= 300 else "medium" if gflop <= 1500 else "slow"


def _read() -> tuple[Published, ...]:
    text = files("unisemalign.weights").joinpath("registry.toml").read_text(encoding="utf-8")
    return tuple(Published(name=name, **row) for name, row in tomllib.loads(text).items())


PUBLISHED: tuple[Published, ...] = _read()
"""Every entry, encoders first, our own first of each kind."""


def find_published(name: str, kind: Kind | None = None) -> Published | None:
    """Return the entry called ``name`` (of ``kind``), or ``None`` where the table has none."""
    for entry in PUBLISHED:
        if entry.name == name and kind in {None, entry.kind}:
            return entry
    return None


def split_name(name: str) -> tuple[str, Path | None]:
    """Split ``NAME=PATH`` into the name and the person's own file or folder.

    Raises
    ------
    SettingsError
        If there is nothing at ``PATH``, or the name is one of ours that takes no file.
    """
    plain, equals, place = name.partition("=")
    if not equals:
        return name, None
    entry = find_published(plain)
    if entry is not None and entry.repo is None:
        raise SettingsError(f"'{plain}' takes no file of weights, found '{place}'. Use '{plain}'.")
    path = Path(place).expanduser()
    if not path.exists():
        raise SettingsError(
            f"'{name}' needs the weights of '{plain}' in '{place}', found nothing there. "
            f"Give the path of the file, or of the folder it lies in."
        )
    return plain, path
