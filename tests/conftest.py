"""What holds for every test: one event loop, few examples while developing, no process left behind."""

from __future__ import annotations

import os
from collections.abc import Generator

import hypothesis
import pytest

import leftovers

REQUIRE_SERVICES = os.environ.get("HEADRACE_REQUIRE_SERVICES") == "1"

# Two cores are shared with whatever else runs, so no example is judged by how long it took. `dev` and `ci`
# draw the same examples every time: a failure is the change's, not the dice's. `explore` is for finding more.
hypothesis.settings.register_profile("dev", max_examples=25, deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile(
    "ci", max_examples=50, deadline=None, derandomize=True, print_blob=True, database=None
)
hypothesis.settings.register_profile("explore", max_examples=300, deadline=None, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))

os.environ[leftovers.MARK] = str(os.getpid())


@pytest.fixture
def anyio_backend() -> str:
    """Headrace runs on asyncio alone; trio is not promised."""
    return "asyncio"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where services are promised, a skipped `service` test is a failure: nothing is left out unseen."""
    report = yield
    skipped = report.skipped and not hasattr(report, "wasxfail")
    if REQUIRE_SERVICES and skipped and item.get_closest_marker("service"):
        report.outcome = "failed"
        report.longrepr = f"skipped although HEADRACE_REQUIRE_SERVICES=1: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A module that skips itself as a whole would hide its `service` tests from the rule above."""
    report = yield
    if REQUIRE_SERVICES and report.outcome == "skipped":
        report.outcome = "failed"
        report.longrepr = f"skipped although HEADRACE_REQUIRE_SERVICES=1: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None]:
    """Fail the test after which a process is left that no fixture of its module owns any more.

    A module's fixture may keep one process for all of its tests, so the judgement comes with the module's
    last test; the message names the test that was running when the process appeared.
    """
    yield
    leftovers.remember(item.nodeid)
    if nextitem is None or nextitem.path != item.path:
        left = leftovers.end_all()
        if left:
            pytest.fail("processes were left behind: " + "; ".join(left), pytrace=False)
