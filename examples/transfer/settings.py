"""What an experiment is: plain values, checked one by one. Not covered: whether files fit (`check`)."""

import re
from dataclasses import asdict, dataclass, field
from typing import Any

from ncagen import NcagenError

PARTS = ("embeddings", "head", "attention", "mlp", "norm")
OPTIMIZERS = ("adam", "adamw")
PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class ModelSize:
    """A Llama. mlp: the width of its gated part. vocabulary: its ids; 0 for as many as its data have."""

    layers: int
    width: int
    heads: int
    mlp: int
    tied: bool
    dropout: float
    vocabulary: int

    def __post_init__(self):
        if self.heads < 1 or self.width % (2 * self.heads):
            raise NcagenError(f"width {self.width} is not divisible by twice {self.heads} heads: change one of them")


@dataclass(frozen=True)
class Training:
    """How one stage is trained; presets.toml explains each value."""

    optimizer: str
    rate: float
    betas: tuple[float, float]
    weight_decay: float
    clip: float
    batch: int
    micro: int
    warmup: float
    horizon: int
    final: float
    evaluations: int
    eval_rows: int

    def __post_init__(self):
        object.__setattr__(self, "betas", tuple(self.betas))
        if self.optimizer not in OPTIMIZERS:
            raise NcagenError(f"optimizer {self.optimizer!r} is not known: use {' or '.join(OPTIMIZERS)}")
        for name in ("batch", "micro", "evaluations", "eval_rows"):
            if getattr(self, name) < 1:
                raise NcagenError(f"{name} {getattr(self, name)} is out of range: use 1 or more")
        if self.batch % self.micro:
            raise NcagenError(f"batch {self.batch} is not a multiple of micro {self.micro}: change one of them")


@dataclass(frozen=True)
class SourceStage:
    """Stage 1. experiment: a folder that `ncagen build` made of several arms. tokens: of each arm at `times` 1."""

    experiment: str
    tokens: int
    training: Training


@dataclass(frozen=True)
class TextStage:
    """Stage 2 in one domain. data: a dataset of the source `text`. tokens: of every arm."""

    data: str
    tokens: int
    training: Training


@dataclass(frozen=True)
class TuneStage:
    """Stage 3. data, validation: JSON Lines of prompts and answers. text: the domain whose models are tuned.

    tasks: those of lm-evaluation-harness by name, with the file or folder that has their data. task_folder: of
    definitions of tasks. limit: documents of a task, 0 for all. few: examples in a prompt.
    """

    data: str
    validation: str
    tokenizer: str
    text: str
    epochs: int
    seq_len: int
    training: Training
    tasks: dict[str, str] = field(default_factory=dict)
    task_folder: str = ""
    limit: int = 0
    few: int = 0


@dataclass(frozen=True)
class Choice:
    """Parameters by name: one of PARTS, in all layers or in a range. first, last: layers, both included."""

    part: str
    first: int | None = None
    last: int | None = None

    @classmethod
    def parse(cls, text: Any) -> "Choice":
        """The choice of a text such as "mlp" or "mlp:0-3". Raises NcagenError."""
        found = re.fullmatch(r"([a-z]+)(?::(\d{1,4})(?:-(\d{1,4}))?)?", text) if isinstance(text, str) else None
        if not found or found[1] not in PARTS:
            raise NcagenError(f"part {text!r} is not known: use {', '.join(PARTS)}, with layers as in 'mlp:0-3'")
        if found[2] is None:
            return cls(found[1])
        first, last = int(found[2]), int(found[3] or found[2])
        if found[1] in ("embeddings", "head") or first > last:
            raise NcagenError(f"part {text!r} has no such layers: use attention, mlp or norm, as in 'mlp:0-3'")
        return cls(found[1], first, last)

    def __str__(self) -> str:
        return self.part if self.first is None else f"{self.part}:{self.first}-{self.last}"


@dataclass(frozen=True)
class Arm:
    """One arm. source: an arm of the ncagen experiment, None without a stage 1. times: of the tokens of stage 1.

    checkpoint: a folder with a model of stage 1, in place of a source. reinit: parameters that the text stage draws
    anew. freeze: parameters that it leaves as they are.
    """

    name: str
    source: str | None
    times: int
    checkpoint: str | None
    reinit: tuple[Choice, ...]
    freeze: tuple[Choice, ...]

    @property
    def is_scratch(self) -> bool:
        """Whether its text stage begins with nothing learned."""
        return self.source is None and self.checkpoint is None

    @property
    def source_run(self) -> str | None:
        """The name of its run of stage 1, which arms that differ in later stages alone share."""
        if self.source is None:
            return None
        return self.source if self.times == 1 else f"{self.source}-times-{self.times}"


@dataclass(frozen=True)
class Experiment:
    """All arms, stages and seeds. text: by domain. tune: by name."""

    name: str
    preset: str
    seeds: tuple[int, ...]
    precision: str
    compile: bool
    model: ModelSize
    source: SourceStage
    text: dict[str, TextStage]
    tune: dict[str, TuneStage]
    arms: tuple[Arm, ...]

    @property
    def scratch(self) -> Arm:
        """The arm that the others are compared with."""
        return next(arm for arm in self.arms if arm.is_scratch)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        arms = {
            arm.name: asdict(arm) | {p: [*map(str, getattr(arm, p))] for p in ("reinit", "freeze")} for arm in self.arms
        }
        return asdict(self) | {"arms": arms, "seeds": list(self.seeds)}
