import subprocess
import sys
from pathlib import Path

SCRIPT = """
import copy, sys
import torch
from torch import fx, nn
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower
from pocketcrafter.export.lower.fx_patches import patch_fx

if sys.argv[1] == "quick":
    patch_fx()

def plus_one(x):
    return torch.relu(x + 1)

module = fx.symbolic_trace(plus_one)
(added,) = [node for node in module.graph.nodes if node.target is not torch.relu and node.op == "call_function"]
added.args = (added.args[0], 2)
module.recompile()
twin = copy.deepcopy(module)
assert "x + 2" in str(module)
assert "x + 2" in twin.code
added.args = (added.args[0], 3)
module.recompile()
assert module(torch.tensor(-1.0)) == 2
assert twin(torch.tensor(-1.0)) == 1
added.args = (added.args[0], 4)
module.recompile()
assert "x + 4" in fx.symbolic_trace(module).code
assert torch.export.export(twin, (torch.ones(1),), strict=True).module()(torch.tensor([-1.0])) == 1

torch.manual_seed(0)
network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Hardswish(), nn.Conv2d(8, 4, 1)).eval()
program = torch.export.export(network, (torch.zeros(1, 3, 8, 8),))
made = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch().buffer
open(sys.argv[2], "wb").write(made)
"""


def test_a_patch_fxed_process_makes_the_same_program(tmp_path: Path) -> None:
    for way in ("plain", "quick"):
        subprocess.run([sys.executable, "-W", "ignore", "-c", SCRIPT, way, tmp_path / way], check=True)  # noqa: S603 - ours
    assert (tmp_path / "quick").read_bytes() == (tmp_path / "plain").read_bytes()
