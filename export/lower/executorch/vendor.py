"""ExecuTorch programs for MediaTek's and Samsung's processors; lowered only where the vendor's SDK is installed."""

import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower
from executorch.exir.backend.compile_spec_schema import CompileSpec
from torch import Tensor, nn

from pocketcrafter.export.lower.executorch.coverage import torch_coverage
from pocketcrafter.export.lower.measure import as_tensors, hold_back
from pocketcrafter.export.lower.programs import export_stateless, frozen, spell_out_pools
from pocketcrafter.export.lower.request import LoweredArtifact, LoweringRequest
from pocketcrafter.runtime.bundle.results import Coverage
from pocketcrafter.runtime.errors import BackendError
from pocketcrafter.runtime.files import replacing
from pocketcrafter.runtime.targets import TARGETS, TargetKind

_DIMENSITY_9300: Final = b"mt6989"
_EXYNOS_2500: Final = "E9955"
_BACKENDS: Final = "executorch.backends"


class VendorSdkError(BackendError):
    """A target needs an SDK that only its vendor gives out."""


def lower_vendor(request: LoweringRequest) -> dict[TargetKind, LoweredArtifact]:
    """Lower with the vendor's backend; for ``executorch-mediatek`` (Dimensity 9300) and ``-samsung`` (Exynos 2500).

    No machine without such a processor runs the artifact: rung 2 stays open, and says so. This code follows the
    backends' published interfaces and has not met their SDKs.

    Raises
    ------
    VendorSdkError
        If the SDK cannot be loaded.
    BackendError
        If the vendor's compiler fails.
    """
    target, out = request.only
    used, _ = hold_back(request.calibration, request.spec)
    eager = frozen(request.module(), request.keep_fp32)
    with replacing(out) as temporary:
        coverage = _write(eager, as_tensors(used[0], request.spec), temporary, target)
    request.progress(1, 1)
    why = f"No machine without the vendor's processor runs a program for {target}; a phone must"
    return {target: LoweredArtifact(path=out, coverage=coverage, rung1=(), rung1_how="", rung2=(), rung2_how=why)}


def _write(model: nn.Module, inputs: tuple[Tensor, ...], path: Path, target: TargetKind) -> Coverage:
    sdk = TARGETS[target].sdk
    folder = sdk.folder() if sdk else None
    if sdk is None or folder is None:
        raise VendorSdkError(f"{target} has no SDK.")
    try:
        partitioner = _PARTITIONERS[target](folder)
    except Exception as error:  # an SDK's packages raise whatever they like when they are loaded
        raise VendorSdkError(
            f"{target}: {sdk.name} in {folder} cannot be loaded ({type(error).__name__}: {error}); "
            f"{sdk.variable} must lead to {sdk.content}."
        ) from error
    exported = export_stateless(model, inputs)
    with torch.no_grad():
        spell_out_pools(exported.graph_module)
        try:
            config = EdgeCompileConfig(_skip_dim_order=True)
            edge = to_edge_transform_and_lower(exported, partitioner=[partitioner], compile_config=config)
            path.write_bytes(edge.to_executorch().buffer)
        except Exception as error:  # a vendor's compiler raises whatever it likes
            raise BackendError(f"{target}: {sdk.name} failed: {type(error).__name__}: {error}") from error
    return torch_coverage(exported.graph_module, edge.exported_program().graph_module, sdk.name)


def _mediatek(folder: Path) -> Any:  # noqa: ANN401 - the vendor's class
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    partitioner = importlib.import_module(f"{_BACKENDS}.mediatek").NeuropilotPartitioner
    return partitioner([CompileSpec("platform-config", _DIMENSITY_9300)])


def _samsung(_: Path) -> Any:  # noqa: ANN401 - the vendor's class
    options = importlib.import_module(f"{_BACKENDS}.samsung.serialization.compile_options")
    partitioner = importlib.import_module(f"{_BACKENDS}.samsung.partition.enn_partitioner").EnnPartitioner
    return partitioner([options.gen_samsung_backend_compile_spec(_EXYNOS_2500)])


_PARTITIONERS: Final[Mapping[TargetKind, Callable[[Path], Any]]] = {
    TargetKind("executorch-mediatek"): _mediatek,
    TargetKind("executorch-samsung"): _samsung,
}
