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
        ("requirements/train.txt", ("train",)),
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


@pytest.mark.parametrize("lock", ["requirements/serve.txt", "requirements/demo.txt", "requirements/train.txt"])
def test_other_locks_have_the_versions_that_are_tested(lock: str) -> None:
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


def stages(text: str) -> dict[str, list[tuple[str, str]]]:
    """The stages of a Dockerfile by name, each after the one that it is built on."""
    found: dict[str, list[tuple[str, str]]] = {}
    for word, rest in instructions(text):
        if word == "FROM":
            base, _, name = rest.split()
            assert base in found or (":" in base and ":latest" not in base), base
            found[name] = [*found.get(base, ())]
        found[name].append((word, rest))
    return found


def test_the_images_are_checked_and_not_root_and_the_one_that_serves_is_small() -> None:
    text = (ROOT / "Dockerfile").read_text()
    found = stages(text)
    assert list(found)[-1] == "server", "it is built when nothing else is asked for"
    for name, environment, lock in [("server", "environment", "serve"), ("trainer", "training-environment", "train")]:
        users = [rest for word, rest in found[name] if word == "USER"]
        assert users[-1].isdigit()
        assert int(users[-1]) > 0
        copied = [rest for word, rest in found[name] if word == "COPY" and "--from" in rest]
        assert copied == [f"--from={environment} /opt/venv /opt/venv"]
        [installs] = [rest for word, rest in found[environment] if word == "RUN"]
        assert f"{lock}.txt" in installs
        assert "--require-hashes" in installs
    assert text.count("pip install") == 2
    assert [word for word, _ in found["server"]].count("HEALTHCHECK") == 1
    assert [rest for word, rest in found["trainer"] if word == "CMD"] == ['["worker"]']


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
    targets = stages((ROOT / "Dockerfile").read_text())
    for name in ("backend", "trainer"):
        assert services[name]["read_only"] is True
        assert services[name]["build"]["target"] in targets
        assert "backend:/data" in services[name]["volumes"], "they share what is learnt"
    assert services["trainer"]["profiles"] == ["training"], "torch is for those who ask for it"


@pytest.mark.parametrize(("name", "source"), [("label_config.xml", "value"), ("label_config_pages.xml", "valueList")])
def test_label_configs_offer_the_three_marks(name: str, source: str) -> None:
    root = ET.parse(ROOT / name).getroot()  # noqa: S314 - the project's own file
    (image,), (control,) = root.iter("Image"), root.iter("RectangleLabels")
    assert control.get("toName") == image.get("name")
    assert image.get(source, "").startswith("$")
    labels = list(control.iter("Label"))
    assert [label.get("value") for label in labels] == ["signature", "stamp", "thumb"]
    assert len({label.get("background") for label in labels} | {label.get("hotkey") for label in labels}) == 6
