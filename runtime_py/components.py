"""What a component is: a separately lowered network with a name, a role, and the tensors that go in and out of it.

The contract between models, quantization, lowering, the manifest and the pipelines. Which components there are is the
business of a family (`pocketcrafter.runtime.families`); nothing here knows any by name.
"""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError

ComponentName = Annotated[
    str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$", description="A component's name, and its artifacts' file name.")
]
FamilyName = Annotated[
    str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$", description="Which kind of pair it is; says what drives it.")
]
FunctionName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$", description="As the artifact calls it.")]


class Role(StrEnum):
    """What a component does in a pair, whatever its family."""

    VISION = "vision"
    """Reads a picture: tokens, judgements or an embedding come out."""
    EMBEDDING = "embedding"
    """A table of vectors that the runtime gathers from."""
    LANGUAGE = "language"
    """Runs once for each position of a text; its caches are handed in and out."""
    BRIDGE = "bridge"
    """Turns the critic's hidden states into what the artist reads."""
    EDIT = "edit"
    """Makes a picture, or what turns one picture into another."""
    ENCODE = "encode"
    """Turns a picture into latents."""
    DECODE = "decode"
    """Turns latents into a picture."""
    DENOISE = "denoise"
    """Predicts one step of a few-step artist from latents and conditions."""


class TensorSpec(Config):
    """One input or output of a component; every tensor is float32 at the component's edge, whatever runs inside."""

    name: str = Field(min_length=1, max_length=64, pattern=r"^[a-z][a-z0-9_]*$")
    shape: tuple[int, ...] = Field(min_length=1, max_length=6, description="Static shape.")
    minimum: float | None = Field(None, description="Lowest legal value; none where unbounded.")
    maximum: float | None = Field(None, description="Highest legal value; none where unbounded.")
    semantics: str = Field(min_length=1, max_length=300, description="What the values mean, with units.")
    mends: str | None = Field(
        None,
        description="Of an output that is an input changed a little: that input, of the same shape. Its fidelity is "
        "that of the change, as beside the whole picture no error of it would count.",
    )


def _check_mended(inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> None:
    shapes = {tensor.name: tensor.shape for tensor in inputs}
    for output in outputs:
        if output.mends is not None and shapes.get(output.mends) != output.shape:
            raise ValueError(f"`{output.name}` mends `{output.mends}`, which is no input of its shape")


class FunctionSpec(Config):
    """A further function of a component: other inputs and outputs over the same weights, as `prefill` beside a step."""

    name: FunctionName
    inputs: tuple[TensorSpec, ...] = Field(min_length=1)
    outputs: tuple[TensorSpec, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _mends_inputs(self) -> Self:
        _check_mended(self.inputs, self.outputs)
        return self


class ComponentSpec(Config):
    """The contract of one component: its name, its role, and its inputs and outputs in calling order."""

    name: ComponentName
    role: Role
    inputs: tuple[TensorSpec, ...] = Field(min_length=1, description="Of the function that is called by default.")
    outputs: tuple[TensorSpec, ...] = Field(min_length=1, description="Of the function that is called by default.")
    functions: tuple[FunctionSpec, ...] = Field(
        (), max_length=7, description="Further functions on the same weights; most components have none."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [function.name for function in self.functions]
        if len(set(names)) != len(names):
            raise ValueError(f"`{self.name}` lists a function twice: {', '.join(names)}")
        _check_mended(self.inputs, self.outputs)
        return self

    def of(self, function: str | None) -> "ComponentSpec":
        """Return the contract of one function alone: this one's by default, or a further one's by its name.

        Raises
        ------
        ConfigError
            If there is no function of that name.
        """
        if function is None:
            return self.model_copy(update={"functions": ()}) if self.functions else self
        for known in self.functions:
            if known.name == function:
                return ComponentSpec(name=self.name, role=self.role, inputs=known.inputs, outputs=known.outputs)
        has = ", ".join(f"`{known.name}`" for known in self.functions) or "none beside the default one"
        raise ConfigError(f"The component `{self.name}` has no function `{function}`; it has {has}.")
