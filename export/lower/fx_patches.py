"""Settings under which a process that lowers spends less of its time on its tools' own bookkeeping."""

import gc
import weakref
from typing import Any, Final

from torch.fx import GraphModule
from torch.fx.graph import _PyTreeCodeGen
from torch.fx.traceback import NodeSource

_COLLECT_AFTER: Final = (100_000, 20, 100)
"""Objects made since the last collection, and collections of the younger generations before one of the older."""

_recompile: Final = GraphModule.recompile
_CODE: Final = "_code"


def patch_fx() -> None:
    """Share what torch copies, write code when it is called, collect garbage seldom; for the whole process, a stage's.

    Every pass over a graph copies the history of every node and lengthens it by one, although nobody ever changes one:
    a fifth of the time that lowering for the HTP took here. It also writes and compiles the graph's Python code, which
    the next pass throws away: a tenth to a fifth. Python looks through the millions of objects of such graphs again and
    again: another tenth.
    """
    NodeSource.__deepcopy__ = _itself  # type: ignore[attr-defined]
    GraphModule.recompile = _recompile_when_called  # type: ignore[method-assign, assignment]
    GraphModule._code = property(_code, _keep_code)
    gc.set_threshold(*_COLLECT_AFTER)


class _Uncompiled:
    """The ``forward`` of a graph whose code nobody has asked for yet; a graph module has a class of its own."""

    def __init__(self, module: GraphModule) -> None:
        self._module = weakref.ref(module)

    def __get__(self, instance: GraphModule | None, owner: type[GraphModule]) -> Any:  # noqa: ANN401 - a method
        module = self._module()
        if module is None:
            raise AttributeError("forward")
        _recompile(module)
        return getattr(owner if instance is None else instance, "forward")  # noqa: B009 - mypy knows it as a method


def _recompile_when_called(module: GraphModule) -> None:
    codegen = module.graph._codegen
    if isinstance(codegen, _PyTreeCodeGen):
        module._in_spec = codegen.pytree_info.in_spec
        module._out_spec = codegen.pytree_info.out_spec
    vars(module).pop(_CODE, None)
    type(module).forward = _Uncompiled(module)  # type: ignore[assignment]


def _code(module: GraphModule) -> str:
    if _CODE not in vars(module):
        _ = module.forward
    code: str = vars(module)[_CODE]
    return code


def _keep_code(module: GraphModule, code: str) -> None:
    vars(module)[_CODE] = code


def _itself(source: NodeSource, _memo: dict[int, object]) -> NodeSource:
    return source
