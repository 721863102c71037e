#!/bin/sh
# Compares this machine with an emulated 64-bit ARM processor: kernels, scores and rows, bit for bit.
#
#     tests/aarch64/run.sh [FOLDER]
#
# On Debian 12, without rights of root: the emulator (qemu-user-static), an arm64 Python and the packages of
# constraints.txt are unpacked in FOLDER (.aarch64), once. Then results.py runs here and under emulation, and every
# line must be equal. About half an hour, most of it numba's, which compiles under emulation; kept in FOLDER for the
# next run. PYTHON: the Python with ncagen[test] (.venv/bin/python).
#
# With aarch64-linux-gnu-gcc (gcc-aarch64-linux-gnu) the kernels come from a library of the level neon, as in a wheel:
# compiled under emulation, linked here, into ncagen/native/library. What is compared is the same.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
folder=$(realpath -m "${1:-$root/.aarch64}")
python=${PYTHON:-$root/.venv/bin/python}
debian="python3.11 python3.11-minimal libpython3.11-minimal libpython3.11-stdlib libc6 libstdc++6 libgcc-s1 zlib1g
    libffi8 libssl3 libexpat1 libbz2-1.0 liblzma5 libuuid1 libsqlite3-0"

# apt with lists of its own, so that this machine's packages stay as they are.
system_packages() {
    mkdir -p "$folder/apt/lists/partial" "$folder/apt/cache/archives/partial" "$folder/debs" "$folder/system"
    : > "$folder/apt/status"
    cat > "$folder/apt/apt.conf" <<EOF
Dir::State "$folder/apt";
Dir::State::status "$folder/apt/status";
Dir::Cache "$folder/apt/cache";
APT::Architectures { "amd64"; "arm64"; };
APT::Sandbox::User "";
EOF
    export APT_CONFIG="$folder/apt/apt.conf"
    apt-get --quiet --quiet update
    cd "$folder/debs"
    apt-get --quiet --quiet download qemu-user-static:amd64 $(for name in $debian; do echo "$name:arm64"; done)
    for file in *.deb; do dpkg-deb --extract "$file" "$folder/system"; done
    cd "$root"
}

python_packages() {
    "$python" -m pip install --quiet --disable-pip-version-check --target "$folder/packages" --upgrade \
        --platform manylinux_2_28_aarch64 --platform manylinux_2_17_aarch64 --python-version 3.11 \
        --only-binary :all: --constraint "$root/constraints.txt" \
        numpy numba pyarrow click tqdm pytest hypothesis
}

emulated() {
    PYTHONHOME="$folder/system/usr" PYTHONPATH="$root:$folder/packages" NUMBA_CACHE_DIR="${NUMBA_CACHE_DIR:-$folder/kernels}" \
        "$folder/system/usr/bin/qemu-aarch64-static" -L "$folder/system" "$folder/system/usr/bin/python3.11" "$@"
}

# The emulator starts no second emulated process, as ncagen.native.compile does: each module has its process here.
library() {
    objects=$(mktemp --directory)
    stamp=$("$python" -c "from ncagen import kernels; print(kernels._sources())")
    for module in $(sed 's/[.][^. ]* .*//' ncagen/native/kernels.txt | sort --unique); do
        (export NUMBA_CPU_NAME=generic NUMBA_CPU_FEATURES=+neon NUMBA_CACHE_DIR="$objects/$module"
            emulated -m ncagen.native.compile neon "$module" "$objects")
    done
    PYTHONPATH="$root" "$python" tests/aarch64/link.py "$objects" "$stamp"
    rm -r "$objects"
}

if ! cmp --silent "$root/constraints.txt" "$folder/made-for"; then
    system_packages
    python_packages
    cp "$root/constraints.txt" "$folder/made-for"
fi
cd "$root"
if command -v aarch64-linux-gnu-gcc > /dev/null; then library; fi
PYTHONPATH="$root" "$python" tests/aarch64/results.py > "$folder/here.txt"
emulated tests/aarch64/results.py > "$folder/aarch64.txt"
diff "$folder/here.txt" "$folder/aarch64.txt"
echo "$(wc --lines < "$folder/here.txt") lines, all equal"
