"""Links the objects of the level neon, which the emulated numba made, with a cross compiler: link.py FOLDER STAMP.

Not covered: machines whose own compiler links them, which `python -m ncagen.native.compile` does.
"""

import sys
from pathlib import Path

from ncagen import native
from ncagen.native.compile import _link

native.LIBRARIES.mkdir(exist_ok=True)
folder, stamp = sys.argv[1:]
_link("neon", sorted(Path(folder).glob("neon-*.o")), "aarch64-linux-gnu-gcc", stamp)
