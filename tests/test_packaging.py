"""What is installed is what was declared: locks, images and environments agree with pyproject.toml and each other."""

from __future__ import annotations

import re
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKS = ("requirements.txt", "requirements/serve.txt", "requirements/demo.txt", "requirements/label-studio.txt")


def locked(name: str) -> dict[str, list[Requirement]]:
    """The requirements of a lock by name; one name has several where versions depend on the interpreter."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    found: dict[str, list[Requirement]] = {}
    for line in text.splitlines():
        requirement = line.partition("#")[0].partition("--hash")[0].strip()
        if requirement:
            parsed = Requirement(requirement)
            found.setdefault(canonicalize_name(parsed.name), []).append(parsed)
    return found


def version(requirement: Requirement) -> Version:
    (pin,) = requirement.specifier
    assert pin.operator == "=="
    return Version(pin.version)


def declared(*extras: str) -> list[Requirement]:
    """The project's own dependencies with those of `extras`, and of the extras that these name."""
    found = [Requirement(line) for line in PROJECT["dependencies"]]
    waiting = list(extras)
    while waiting:
        for line in PROJECT["optional-dependencies"][waiting.pop()]:
            requirement = Requirement(line)
            if requirement.name == PROJECT["name"]:
                waiting.extend(requirement.extras)
            else:
                found.append(requirement)
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_requirement_is_one_version_with_hashes(lock: str) -> None:
    entries = re.split(r"\n(?=[A-Za-z0-9])", (ROOT / lock).read_text().strip())
    assert entries
    for entry in entries:
        assert re.match(r"[A-Za-z0-9._\[\],-]+==\S+", entry), entry[:80]
        assert "--hash=sha256:" in entry, entry[:80]


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_name_no_index_and_no_machine(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert not re.search(r"https?://|file:|^--|(?<!\w)/\w+/", text, flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("lock", "extras"),
    [
        ("requirements/serve.txt", ()),
        ("requirements/demo.txt", ("synthetic",)),
        ("requirements.txt", tuple(PROJECT["optional-dependencies"])),
    ],
)
def test_locks_hold_what_pyproject_asks_for(lock: str, extras: tuple[str, ...]) -> None:
    pins = locked(lock)
    for requirement in declared(*extras):
        found = pins.get(canonicalize_name(requirement.name))
        assert found, f"{requirement} is not in {lock}: run `make lock`"
        assert all(requirement.specifier.contains(version(pin)) for pin in found), f"{lock} does not fit {requirement}"


@pytest.mark.parametrize("lock", ["requirements/serve.txt", "requirements/demo.txt"])
def test_small_locks_have_the_versions_that_are_tested(lock: str) -> None:
    tested = locked("requirements.txt")
    for name, pins in locked(lock).items():
        assert {version(pin) for pin in pins} == {version(pin) for pin in tested[name]}, name


@pytest.mark.parametrize("lock", ["requirements/serve.txt", "requirements/demo.txt"])
def test_neither_serving_nor_the_demo_installs_torch(lock: str) -> None:
    assert not {name for name in locked(lock) if name.startswith(("torch", "nvidia", "triton", "onnxscript"))}


def test_torch_and_torchvision_are_a_pair_that_works() -> None:
    import torch
    import torchvision

    pins = locked("requirements.txt")
    assert version(pins["torch"][0]) == Version(Version(torch.__version__).public) > Version("2.13")
    assert version(pins["torchvision"][0]) == Version(Version(torchvision.__version__).public)
    boxes = torch.tensor([[0, 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 30]], dtype=torch.float32)
    kept = torchvision.ops.nms(boxes, torch.tensor([0.9, 0.8, 0.7]), iou_threshold=0.5)
    assert kept.tolist() == [0, 2]


def instructions(text: str) -> list[tuple[str, str]]:
    """A Dockerfile's instructions with their arguments, comments and line breaks removed."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = lines.replace("\\\n", " ")
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines()) if word]


def test_the_image_is_small_checked_and_not_root() -> None:
    steps = instructions((ROOT / "Dockerfile").read_text())
    last = max(index for index, (word, _) in enumerate(steps) if word == "FROM")
    final = steps[last:]
    users = [rest for word, rest in final if word == "USER"]
    assert users
    assert users[-1].isdigit()
    assert int(users[-1]) > 0
    assert [word for word, _ in final].count("HEALTHCHECK") == 1
    installs = [rest for word, rest in steps if word == "RUN" and "pip install" in rest]
    assert installs
    assert all("--require-hashes" in line and "serve.txt" in line for line in installs)
    assert all(":" in rest.split()[0] and ":latest" not in rest for word, rest in steps if word == "FROM")


def test_what_the_image_copies_is_there_and_is_let_through() -> None:
    let_through = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for word, rest in instructions((ROOT / "Dockerfile").read_text()):
        if word == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert source in let_through, f"{source} is kept out by .dockerignore"
                assert list(ROOT.glob(source)) or source.endswith("*"), f"{source} is not in the repository"


def test_the_services_hold_no_secret_and_fit_the_tested_label_studio() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    tested = version(locked("requirements/label-studio.txt")["label-studio"][0])
    assert services["label-studio"]["image"] == f"heartexlabs/label-studio:{tested}"
    for service in services.values():
        for name, value in service["environment"].items():
            assert not re.search(r"PASS|KEY|TOKEN$", name) or value.startswith("${") or value == "true", name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert services["label-studio"]["environment"]["ML_BLOCK_LOCAL_IP"] == "false"
    assert services["backend"]["read_only"] is True


@pytest.mark.parametrize(("name", "source"), [("label_config.xml", "value"), ("label_config_pages.xml", "valueList")])
def test_label_configs_offer_the_three_marks(name: str, source: str) -> None:
    root = ET.parse(ROOT / name).getroot()  # noqa: S314 - the project's own file
    (image,), (control,) = root.iter("Image"), root.iter("RectangleLabels")
    assert control.get("toName") == image.get("name")
    assert image.get(source, "").startswith("$")
    labels = list(control.iter("Label"))
    assert [label.get("value") for label in labels] == ["signature", "stamp", "thumb"]
    assert len({label.get("background") for label in labels} | {label.get("hotkey") for label in labels}) == 6
