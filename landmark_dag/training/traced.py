"""A trained network recorded as a program: it embeds the same bits, and starts without timm and torchvision."""

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch

from landmark_dag.storage.atomic import replacing

if TYPE_CHECKING:  # it imports timm, which a traced network is there to avoid
    from landmark_dag.training.artifact import Model

_ABOUT, _SUFFIX = "about.json", "-traced.pt"
_RECORDED, _TRIED = (2, 128, 160), (3, 192, 128)
"""Photos, height and width with which a network is recorded, and with which the record is tried."""


@dataclass(frozen=True, eq=False)
class TracedNetwork:
    """What embedding asks of a network, of a recorded one; see training.network.EmbeddingNetwork."""

    program: Any
    dimensions: int
    size_multiple: int

    def __call__(self, photos: torch.Tensor) -> torch.Tensor:
        """Return raw features (b, dimensions), float32, of photos uint8 (b, 3, h, w)."""
        return self.program(photos)

    def to(self, device: str) -> Self:
        """Move the program to `device`."""
        self.program.to(device)
        return self

    def eval(self) -> Self:
        """Return itself: only networks in evaluation mode are recorded."""
        return self


@dataclass(frozen=True, eq=False)
class TracedModel:
    """A recorded network and the fingerprint that its embeddings carry."""

    network: TracedNetwork
    fingerprint: str


def traced_path(folder: Path, fingerprint: str) -> Path:
    """Return the file in `folder` for this model, this release of torch and this processor."""
    capabilities = torch.cpu.get_capabilities()
    fast = [name for name in ("avx512_bf16", "amx_bf16") if capabilities.get(name)]
    return folder / ("-".join([fingerprint, torch.__version__, *fast]) + _SUFFIX)


def write_traced(path: Path, model: "Model") -> bool:
    """Record the model's network on the CPU to `path`, in place of other models' records; return whether it was.

    A record is tried on photos of another number, height and width: where it does not give the very bits of the
    network, torch cannot record it, or the folder cannot be written to, there is no record.
    """
    network = model.network.to("cpu").eval()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.jit.trace(network, _photos(*_RECORDED), check_trace=False)
            tried = _photos(*_TRIED)
            if not torch.equal(program(tried), network(tried)):
                return False
            about = {"dimensions": network.dimensions, "size_multiple": network.size_multiple}
            with replacing(path) as temporary:
                torch.jit.save(program, str(temporary), _extra_files={_ABOUT: json.dumps(about)})
        for record in path.parent.glob(f"*{_SUFFIX}"):
            if not record.name.startswith(model.fingerprint):
                record.unlink()
    except (RuntimeError, AttributeError, OSError):
        return False
    return True


def read_traced(path: Path, fingerprint: str) -> TracedModel | None:
    """Return the model of `write_traced`; None where there is no such file or torch cannot read it."""
    extra = {_ABOUT: ""}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.jit.load(str(path), map_location="cpu", _extra_files=extra)
        return TracedModel(TracedNetwork(program, **json.loads(extra[_ABOUT])), fingerprint)
    except (RuntimeError, AttributeError, ValueError, TypeError):
        return None


def _photos(count: int, height: int, width: int) -> torch.Tensor:
    """Return photos of noise uint8 (count, 3, height, width), always the same."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)
