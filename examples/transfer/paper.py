"""What the paper and public replications report, to be printed beside an experiment's figures.

The paper: Lee, Han, Kumar, Agrawal, Training Language Models via Neural Cellular Automata, arXiv 2603.10055 (2026), and
its blog.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """A claim. arm: the name of the arm that it is about, or "nca". figure: "change" or "speed" of that arm."""

    text: str
    reported: str
    arm: str | None = None
    figure: str | None = None

    def is_of(self, name: str) -> bool:
        """Whether it is about an arm of this name: any arm of automata, or one of just this name."""
        return self.arm is not None and (name == self.arm or (self.arm == "nca" and name.startswith("nca-")))


CLAIMS = (
    Claim("Text perplexity after automata, against scratch", "up to 6 % lower", "nca", "change"),
    Claim("Tokens until scratch's final loss", "up to 1.6 times fewer", "nca", "speed"),
    Claim("After Dyck words, against scratch", "less than after automata", "dyck", "change"),
    Claim("After as much text, against scratch", "less than after automata", "text", "change"),
    Claim("After ten times as much text, against scratch", "less than after automata", "text-10x", "change"),
    Claim("What carries it", "attention"),
    Claim("Complexity", "gzip ratio of 0.5 and more for web text and math, 0.3 to 0.4 for code"),
)

REPLICATIONS = (
    (
        "pptrain, Pythia-410M, 3 seeds",
        "6.779 against 6.232 from scratch",
        "labels shifted twice; the source was not learned",
    ),
    ("GOL part 1, 124M, 3 seeds, Life", "3.931 against 3.711 from scratch", "matched FLOPs, reset controls"),
    ("slowrun, 1.4B", "3.188 to 3.208 against 3.177", "another distribution of rules"),
    ("nanochat fork, 124M, 2k, 4k, 6k rules", "0.0089, 0.0041, 0.0017 bits a byte worse", "another band"),
    ("Kotodama, 108M", "2.931 against 2.925", "64x64 grids"),
)
