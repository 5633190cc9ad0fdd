"""Every error belongs to the drawn tree, tells a status, and says what happened to what."""

from __future__ import annotations

import inspect

import pytest

import backend.errors
from backend.errors import BackendError, PageError, UndecodablePage

ERRORS = [error for _, error in inspect.getmembers(backend.errors, inspect.isclass) if issubclass(error, BackendError)]


@pytest.mark.parametrize("error", ERRORS)
def test_is_in_the_drawing_and_in_all(error: type[BackendError]) -> None:
    drawing = backend.errors.__doc__ or ""
    depth = {line.split("── ")[-1].split(" ")[0]: line.find("── ") for line in drawing.splitlines() if "── " in line}
    assert error.__name__ in backend.errors.__all__
    if error is not BackendError:
        parent = error.__bases__[0]
        assert error.__name__ in depth
        assert depth[error.__name__] > depth.get(parent.__name__, -1), "the drawing shows another parent"


@pytest.mark.parametrize("error", ERRORS)
def test_status_is_an_error_of_http(error: type[BackendError]) -> None:
    assert 400 <= error.status < 600


def test_a_page_error_carries_reference_and_reason() -> None:
    error = UndecodablePage("upload/1.png", "cut off after 12 bytes")
    assert isinstance(error, PageError)
    assert (error.reference, error.reason) == ("upload/1.png", "cut off after 12 bytes")
    assert str(error) == "upload/1.png: cut off after 12 bytes"
