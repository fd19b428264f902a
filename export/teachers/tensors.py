"""What the names and shapes of a checkpoint's tensors tell: its fingerprint, its configuration, what it lacks."""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

Shapes = Mapping[str, tuple[int, ...]]
"""Shape of each tensor, by name."""

_NUMBERED: Final = re.compile(
    r"^((?:.*?\.)?(?:layers|blocks|transformer_blocks|single_transformer_blocks|layer|h))\.(\d+)\.(.+)$"
)
QWEN_IMAGE: Final = "QwenImageTransformer2DModel"
_TIME_CHANNELS: Final = 256
_ATTENTION: Final = ("to_q", "to_k", "to_v", "add_q_proj", "add_k_proj", "add_v_proj", "to_out.0", "to_add_out")
_NORMS: Final = ("norm_q", "norm_k", "norm_added_q", "norm_added_k")


def fingerprint(shapes: Shapes) -> str:
    """Return a hash of the names and shapes of all tensors.

    Parameters
    ----------
    shapes
        Of the network's tensors.

    Returns
    -------
    str
        MD5, in hexadecimal, of the sorted names and ``name:d0_d1_…``, joined by commas: the form by which PyPI's
        `diffsynth` knows checkpoints, so that its published fingerprints can be looked up.
    """
    told = [text for name, shape in shapes.items() for text in (f"{name}:{'_'.join(map(str, shape))}", name)]
    return hashlib.md5(",".join(sorted(told)).encode(), usedforsecurity=False).hexdigest()


def gaps(shapes: Shapes) -> list[str]:
    """Return the tensors that most layers of a stack of transformer layers have and some lack, and whole layers.

    Parameters
    ----------
    shapes
        Of the network's tensors.
    """
    stacks: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for name in shapes:
        if found := _NUMBERED.match(name):
            stacks[found[1]][int(found[2])].add(found[3])
    missing = []
    for stack, layers in stacks.items():
        counts = Counter(name for names in layers.values() for name in names)
        usual = {name for name, count in counts.items() if 2 * count > len(layers)}
        # Layers of convolutions stand in stacks, too, and differ among themselves.
        if not any("attn" in name or "attention" in name for name in usual):
            continue
        for number in range(max(layers) + 1):
            if number not in layers:
                missing.append(f"{stack}.{number}.*")
            missing += [f"{stack}.{number}.{name}" for name in sorted(usual - layers.get(number, usual))]
    return missing


def layers(shapes: Shapes, stack: str) -> int:
    """Return how many layers a stack has: one more than the highest number in ``stack.N.``; 0 without any.

    Parameters
    ----------
    shapes
        Of the network's tensors.
    stack
        The end of the stack's name, such as ``language_model.layers``.
    """
    numbers = (int(m[2]) for name in shapes if (m := _NUMBERED.match(name)) and m[1].endswith(stack))
    return max(numbers, default=-1) + 1


def qwen_image_config(shapes: Shapes) -> dict[str, Any] | None:
    """Return the configuration of diffusers' ``QwenImageTransformer2DModel`` that has such tensors.

    A release may ship the transformer as a bare file. What no shape tells (patches of 2×2 latents, rotary axes in the
    proportion 16:56:56, theta) is as published.

    Parameters
    ----------
    shapes
        Of the network's tensors.

    Returns
    -------
    dict or None
        Arguments of the class; `None` where tensors that tell them are missing.
    """
    names = ("img_in.weight", "txt_in.weight", "proj_out.weight", "transformer_blocks.0.attn.norm_q.weight")
    if any(name not in shapes for name in names):
        return None
    (inner, taken), (_, joint), (made, _), (head,) = (shapes[name] for name in names)
    return {
        "patch_size": 2,
        "in_channels": taken,
        "out_channels": made // 4,
        "num_layers": layers(shapes, "transformer_blocks"),
        "attention_head_dim": head,
        "num_attention_heads": inner // head,
        "joint_attention_dim": joint,
        "axes_dims_rope": (head // 8, head // 16 * 7, head // 16 * 7),
    }


def qwen_image_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the tensors of a ``QwenImageTransformer2DModel``.

    Parameters
    ----------
    config
        As of :func:`qwen_image_config`.
    """
    head = int(config["attention_head_dim"])
    inner, joint = head * int(config["num_attention_heads"]), int(config["joint_attention_dim"])
    out = int(config["patch_size"]) ** 2 * int(config["out_channels"])
    found: dict[str, tuple[int, ...]] = {"txt_norm.weight": (joint,)}
    for name, rows, columns in (
        ("img_in", inner, int(config["in_channels"])),
        ("txt_in", inner, joint),
        ("time_text_embed.timestep_embedder.linear_1", inner, _TIME_CHANNELS),
        ("time_text_embed.timestep_embedder.linear_2", inner, inner),
        ("norm_out.linear", 2 * inner, inner),
        ("proj_out", out, inner),
        *_block_layers(int(config["num_layers"]), inner),
    ):
        found[f"{name}.weight"], found[f"{name}.bias"] = (rows, columns), (rows,)
    for number in range(int(config["num_layers"])):
        found |= {f"transformer_blocks.{number}.attn.{norm}.weight": (head,) for norm in _NORMS}
    return found


def _block_layers(blocks: int, inner: int) -> Iterator[tuple[str, int, int]]:
    for number in range(blocks):
        at = f"transformer_blocks.{number}"
        for stream in ("img", "txt"):
            yield f"{at}.{stream}_mod.1", 6 * inner, inner
            yield f"{at}.{stream}_mlp.net.0.proj", 4 * inner, inner
            yield f"{at}.{stream}_mlp.net.2", inner, 4 * inner
        for name in _ATTENTION:
            yield f"{at}.attn.{name}", inner, inner


def differences(expected: Shapes, found: Shapes) -> tuple[list[str], list[str]]:
    """Return what is missing, and what is foreign or of another shape.

    Parameters
    ----------
    expected, found
        What the class has, and what the files hold.
    """
    missing = sorted(expected.keys() - found.keys())
    foreign = sorted(found.keys() - expected.keys())
    foreign += [
        f"{name} {list(found[name])}, not {list(expected[name])}"
        for name in sorted(expected.keys() & found.keys())
        if tuple(found[name]) != tuple(expected[name])
    ]
    return missing, foreign


def short(names: Iterable[str], most: int = 8) -> str:
    """Return a list of names for people, cut off where it is long.

    Parameters
    ----------
    names
        What is listed.
    most
        Names that are told.
    """
    told = list(names)
    more = f" and {len(told) - most} more" if len(told) > most else ""
    return ", ".join(told[:most]) + more
