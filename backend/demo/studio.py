"""A Label Studio of the demo's own: its database, its log-in, its environment; reachable from this machine alone."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

from backend.demo.services import LOOPBACK, Service
from backend.errors import DemoError

__all__ = ["Login", "label_studio_service"]

_LOGIN_FILE = "login.json"


@dataclass(frozen=True, kw_only=True)
class Login:
    """The one user of the demo's Label Studio; drawn by chance once for each folder, and kept there."""

    email: str = "demo@example.com"
    password: str = field(default_factory=lambda: secrets.token_urlsafe(9), repr=False)
    token: str = field(default_factory=lambda: secrets.token_hex(20), repr=False)

    @classmethod
    def of(cls, folder: Path) -> Login:
        """Reads the log-in of `folder`; makes one, readable by its owner alone, where there is none yet."""
        path = folder / _LOGIN_FILE
        if path.exists():
            return cls(**json.loads(path.read_text()))
        login = cls()
        folder.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(asdict(login), file)
        return login

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Whether `folder` was made by the demo."""
        return (folder / _LOGIN_FILE).exists()


def label_studio_service(executable: Path, folder: Path, *, login: Login, port: int, **settings: str) -> Service:
    """Label Studio over SQLite in `folder`, listening on loopback only; it is not started yet.

    Args:
        executable: Label Studio's own.
        folder: Holds its database and its log.
        login: Its one user.
        port: Where it listens.
        settings: Further ones of Label Studio's, by their names in the environment.

    Raises:
        DemoError: There is no such executable.
    """
    if not os.access(executable, os.X_OK):
        raise DemoError(f"{executable}: no Label Studio there; `make label-studio` installs it")
    environment = {
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder.absolute()),
        # With the prefix, so that HOST or DATABASE_NAME, meant for another program, do not reach this one.
        "LABEL_STUDIO_DATABASE_NAME": str(folder.absolute() / "label_studio.sqlite3"),
        "LABEL_STUDIO_DJANGO_DB": "sqlite",
        "LABEL_STUDIO_HOST": "",
        "LABEL_STUDIO_USERNAME": login.email,
        "LABEL_STUDIO_PASSWORD": login.password,
        "LABEL_STUDIO_USER_TOKEN": login.token,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        # The backend of the demo is on loopback, which Label Studio refuses by default, for requests and for webhooks.
        "ML_BLOCK_LOCAL_IP": "false",
        "SSRF_PROTECTION_ENABLED": "false",
        # A demo asks nobody outside anything.
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
    }
    command = [str(executable), "start", "--no-browser", "--internal-host", LOOPBACK, "--port", str(port)]
    folder.mkdir(parents=True, exist_ok=True)
    return Service("Label Studio", command, environment=environment | settings, log=folder / "label-studio.log")
