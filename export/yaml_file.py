"""YAML files: read without constructing anything but plain data, and no key given twice."""

from pathlib import Path
from typing import Any, Final

import yaml

from pocketcrafter.runtime.errors import ConfigError

_MAX_BYTES: Final = 1 << 20
_MERGE: Final = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:  # noqa: ANN401 - PyYAML's own types leave it open
        node = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            name, line = (key.tag, str(key.value)), key.start_mark.line + 1
            # PyYAML would take the last of two and say nothing.
            if name in lines:
                raise yaml.YAMLError(f"line {line}: the key `{key.value}` is there already, in line {lines[name]}")
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                lines[name] = line
        return node

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:  # noqa: ANN401 - likewise
        value = super().construct_scalar(node)
        if isinstance(value, str):
            # Halves of surrogate pairs, by escapes, could not be written again.
            value.encode()
        return value

    def construct_whole_number(self, node: yaml.ScalarNode) -> int:
        number: int = self.construct_yaml_int(node)
        # Hexadecimal ones may be longer than Python writes in decimal, as messages do.
        str(number)
        return number


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_whole_number)


def read_yaml(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    """Read a small YAML file.

    Raises
    ------
    ConfigError
        If it cannot be read, is larger than a file that people write, or has a key twice in one mapping.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ConfigError(f"{path}: larger than any such file ({_MAX_BYTES} bytes).")
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    # PyYAML's constructors let Python's own errors out, as of `2026-02-30`, `!!float x` and `!!bool x`.
    except (OSError, ValueError, LookupError, AttributeError, yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {error}") from error
