"""Fixtures that several folders of tests share, and how several processes share the tests."""

from __future__ import annotations

import importlib.util
import logging
import os
import random
import resource
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from backend.settings import Settings
from tests.patience import eventually

# Examples are drawn and tried as slowly as the machine is busy; everywhere and every time they are the same ones.
hypothesis.settings.register_profile(
    "patient",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("patient")

# Who connects a project has exported its address and token, as the README says. No test is about those.
for _setting in Settings().as_environment():
    os.environ.pop(_setting, None)

END_TO_END = "tests/end_to_end/"
_TOGETHER = (END_TO_END, "tests/commands/review/")
"""Folders whose tests go to one process: they share a Label Studio and a browser, or an archive that is drawn once."""
_TAKE_LONG = (*_TOGETHER, "tests/training/", "tests/benchmarks/")
"""Folders whose tests begin first, so that no process is busy with them when the others have nothing left to do."""
_COST = "processor seconds"
_SPENT = pytest.StashKey[float]()
_DEAREST = 40
"""Files that `--costs` lists."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--annotator-edits", type=int, default=150, help="random edits of tests/corrections/test_fuzz.py")
    parser.addoption("--annotator-seed", type=int, default=2, help="of the random edits")
    parser.addoption("--shuffle", type=int, help="seed: the files, and the tests of each, in random order")
    parser.addoption("--costs", action="store_true", help="list the files that take most processor time")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where several processes share the tests, those of folders that take long come first."""
    if (seed := config.getoption("--shuffle")) is not None:
        dice = random.Random(seed)  # noqa: S311 - the same order in each process
        dice.shuffle(items)
        place = {file: dice.random() for file in sorted({item.path for item in items})}
        items.sort(key=lambda item: place[item.path])
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: not item.nodeid.startswith(_TAKE_LONG))
        items.sort(key=lambda item: not item.nodeid.startswith(END_TO_END))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Gives a file to one process, and a whole folder where its tests share what is dear to make."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return next((folder for folder in _TOGETHER if file.startswith(folder)), file)

    config.option.loadscopereorder = False
    return ByFile(config, log)


def _spent() -> float:
    """Processor seconds of this process so far, and of all processes that it has seen the end of."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in both)


def pytest_collection_finish(session: pytest.Session) -> None:
    """What comes from here on is for the tests."""
    session.config.stash[_SPENT] = _spent()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Notes what a test, its fixtures among it, has cost since the report before."""
    report = yield
    now = _spent()
    report.user_properties.append((_COST, now - item.config.stash[_SPENT]))
    item.config.stash[_SPENT] = now
    return report


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Lists the dearest files, where that is asked for."""
    if not config.getoption("--costs"):
        return
    costs = Counter[str]()
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name == _COST:
                    costs[report.nodeid.partition("::")[0]] += value
    terminalreporter.section(f"processor seconds, {sum(costs.values()):.0f} in all")
    for file, seconds in costs.most_common(_DEAREST):
        terminalreporter.write_line(f"{seconds:8.1f}  {file}")


@contextmanager
def _torch_as_it_was() -> Iterator[None]:
    """Gives torch its threads back, where a test or a command in this process took some, and begins chance anew."""
    torch = sys.modules.get("torch")
    if torch:
        threads = torch.get_num_threads()
        torch.manual_seed(0)
    yield
    if torch:
        torch.set_num_threads(threads)


@pytest.fixture(scope="module", autouse=True)
def torch_of_a_module() -> Iterator[None]:
    """The same for what a module's own fixtures do, which run before those of its first test."""
    with _torch_as_it_was():
        yield


@pytest.fixture(autouse=True)
def torch_of_a_test(torch_of_a_module: None) -> Iterator[None]:
    """Sums come out the same to the last bit only on the same number of threads, and chance by the same seed."""
    with _torch_as_it_was():
        yield


_AT_WORK = ("samples", "sync", "chronicle", "freeing", "missed events", "events-0")
"""Threads of a backend. One that nobody stopped asks, writes and logs amidst later tests, or there are too many."""


@pytest.fixture(autouse=True)
def process_of_a_test() -> Iterator[None]:
    """What a command sets for its whole process ends with the test: the next one must not hang on it."""
    environment, folder, levels = {**os.environ}, Path.cwd(), {name: one.level for name, one in _our_loggers()}
    threads = threading.enumerate()
    yield
    begun = [one for one in threading.enumerate() if one.name in _AT_WORK and one not in threads]
    eventually(lambda: not any(one.is_alive() for one in begun), f"the end of {[one.name for one in begun]}")
    os.chdir(folder)
    for name in (environment.keys() | os.environ.keys()) - {"PYTEST_CURRENT_TEST"}:
        if name not in environment:
            del os.environ[name]
        elif os.environ.get(name) != environment[name]:
            os.environ[name] = environment[name]
    for name, one in _our_loggers():
        one.setLevel(levels.get(name, logging.NOTSET))
    logging.captureWarnings(False)


def _our_loggers() -> list[tuple[str, logging.Logger]]:
    found = logging.root.manager.loggerDict.items()
    return [(name, one) for name, one in found if name.startswith("backend") and isinstance(one, logging.Logger)]


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if nothing of the `train` extra was installed; what else is loaded meanwhile finds what it needs."""
    missing, find = ("torch", "torchvision", "onnx"), importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *of: None if name in missing else find(name, *of))


@pytest.fixture
def ctrl_c() -> Iterator[Callable[[], None]]:
    """Presses Ctrl-C, also where the tests run in the background of a shell, which has SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: os.kill(os.getpid(), signal.SIGINT)
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def four_class_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of four classes, as the bundled ones have, but random."""
    from tests.models.models import random_model, write_weights

    folder = tmp_path_factory.mktemp("four")
    write_weights(random_model(outputs=4, seed=1), folder, half=True)
    return folder


@pytest.fixture(scope="session")
def three_class_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of three classes, as the original checkpoint has, but random."""
    from tests.models.models import random_model, write_weights

    folder = tmp_path_factory.mktemp("three")
    write_weights(random_model(outputs=3, seed=2), folder)
    return folder
