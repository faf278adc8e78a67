"""Flags: flagd's own answers for whole columns of keys, and a file that may change, break and vanish."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import OpenFeatureError

from headrace.core import flagd
from headrace.core.errors import ConfigError
from headrace.core.flags import Flags, Use, signature
from headrace.core.health import Health, State
from headrace.core.log import Event
from headrace.core.metrics import Metrics
from headrace.settings.flagfile import read_flag_file
from tick import TickClock

ON_OFF: dict[str, Any] = {
    "state": "ENABLED",
    "variants": {"on": True, "off": False},
    "defaultVariant": "off",
}
KEY = {"var": "targetingKey"}
FLAG = {"var": "$flagd.flagKey"}
TENTH = [["on", 10], ["off", 90]]
RULES: dict[str, Any] = {
    "short form": {"fractional": TENTH},
    "by the key alone": {"fractional": [KEY, *TENTH]},
    "by flag and key": {"fractional": [{"cat": [FLAG, KEY]}, ["off", 33], ["on", 67]]},
    "by the key and a salt": {"fractional": [{"cat": [KEY, "-2026"]}, ["on", 1], ["off", 1]]},
    "three parts": {"fractional": [["on", 1], ["off", 3], ["on"]]},
    "a negative weight": {"fractional": [["on", 1], ["off", 3], ["on", -4]]},
    "some tenants, then a part": {"if": [{"in": [KEY, ["k1", "k2"]]}, "on", {"fractional": TENTH}]},
    "by prefix": {"if": [{"starts_with": [KEY, "k1"]}, "on"]},
    "in one pipeline": {"if": [{"==": [{"var": "pipeline"}, "p"]}, {"fractional": TENTH}, "on"]},
    "in another": {
        "if": [{"==": [{"var": "pipeline"}, "q"]}, "on", {"==": [1, 2]}, "on", {"fractional": TENTH}]
    },
    "since long ago": {"if": [{">": [{"var": "$flagd.timestamp"}, 1_000_000]}, {"fractional": TENTH}]},
    "compared": {"==": [{"fractional": TENTH}, "on"]},
    "constant": {"if": [True, "on", "off"]},
}
TABLE = [f"k{number}" for number in range(700)] + [f"customer-{number:06}" for number in range(300)]
ODD = [None, "", "null", "ü", "💧", "x" * 23, "x" * 24, "x" * 255, "x" * 256, "x" * 70_000, 'a"b', "a\0b"]

FROZEN = (97, "91ea0802b03e914f")
"""How many of the table are on in the short form at 10 %, and the hash of which."""


def written(rule: Any = None, **more: Any) -> dict[str, Any]:
    return {"flags": {"f": ON_OFF | ({} if rule is None else {"targeting": rule}) | more}}


def ours(tree: Mapping[str, Any], keys: list[str | None], attributes: Mapping[str, str]) -> list[bool]:
    rule = flagd.parse(tree).rule("f", attributes, 1_790_000_000)
    return (
        [rule] * len(keys) if isinstance(rule, bool) else rule.on(pl.Series(keys, dtype=pl.String)).to_list()
    )


def theirs(tree: Any, keys: list[str | None], attributes: Mapping[str, str]) -> list[bool]:
    core = FlagdCore()
    core.set_flags(copy.deepcopy(tree))

    def answer(key: str | None) -> bool:
        try:
            context = EvaluationContext(key, dict(attributes))
            return core.resolve_boolean_value("f", default_value=False, ctx=context).value
        except OpenFeatureError:
            return False

    return [answer(key) for key in keys]


class TestFlagdsRule:
    """The bucket of a key is flagd's, so every client of the same file agrees."""

    @pytest.mark.parametrize("name", RULES)
    def test_a_thousand_keys_are_on_exactly_where_flagd_has_them_on(self, name: str) -> None:
        keys = [*TABLE, *ODD]
        for attributes in ({}, {"pipeline": "p", "step": "s"}):
            tree = written(RULES[name])
            assert theirs(tree, keys, attributes) == ours(tree, keys, attributes)

    @given(keys=st.lists(st.none() | st.text(), max_size=8), name=st.sampled_from(sorted(RULES)))
    def test_so_are_any_keys_repeated_ones_included(self, keys: list[str | None], name: str) -> None:
        tree = written(RULES[name])
        assert theirs(tree, keys * 2, {}) == ours(tree, keys * 2, {})

    def test_the_table_is_the_same_as_when_this_was_written(self) -> None:
        """Were it to change with a library, records of running rollouts would change sides."""
        on = ours(written(RULES["short form"]), list(TABLE), {})
        assert FROZEN == (sum(on), hashlib.sha256(bytes(on)).hexdigest()[:16])

    def test_more_percent_keep_everybody_who_was_in(self) -> None:
        few = ours(written({"fractional": [["on", 10], ["off", 90]]}), list(TABLE), {})
        more = ours(written({"fractional": [["on", 30], ["off", 70]]}), list(TABLE), {})
        assert all(later for now, later in zip(few, more, strict=True) if now)
        assert sum(few) < sum(more) < len(TABLE) / 2

    def test_another_process_has_the_same_keys_on(self) -> None:
        code = (
            "import hashlib, json, sys; import polars as pl; from headrace.core import flagd\n"
            "tree, keys = json.load(sys.stdin)\n"
            "on = flagd.parse(tree).rule('f', {}, 0).on(pl.Series(keys))\n"
            "print(hashlib.sha256(bytes(on.to_list())).hexdigest()[:16])"
        )
        for seed in ("1", "2"):
            done = subprocess.run(
                [sys.executable, "-c", code],
                input=json.dumps([written(RULES["short form"]), TABLE]),
                env={**os.environ, "PYTHONHASHSEED": seed},
                check=True,
                capture_output=True,
                text=True,
            )
            assert FROZEN[1] == done.stdout.strip()

    @pytest.mark.parametrize(
        ("more", "expected"),
        [
            ({"defaultVariant": "on"}, True),
            ({"defaultVariant": "on", "state": "DISABLED"}, False),
            ({"defaultVariant": None}, False),
            ({"defaultVariant": True, "variants": {"true": True, "false": False}}, True),
        ],
    )
    def test_a_flag_without_a_rule_is_its_default(self, more: dict[str, Any], expected: bool) -> None:
        assert expected is flagd.parse(written(**more)).rule("f", {}, 0)
        assert [expected] == theirs(written(**more), [None], {})

    @pytest.mark.parametrize(
        ("rule", "expected"),
        [
            ({"fractional": [["on", 10], ["of", 90]]}, "flag 'f' has no variant 'of', did you mean 'off'?"),
            ({"fractional": [["on", 1.5], ["off", 90]]}, "a weight is a whole number, not 1.5"),
            ({"fractional": [["on", 0], ["off", 0]]}, "the weights add up to 0"),
            ({"fractional": [["on", 1, 2], ["off", 0]]}, r"a fraction is \[variant, weight\]"),
            ({"if": [True, "maybe"]}, "flag 'f' has no variant 'maybe'"),
            ({"no_such_operator": [1]}, "flag 'f' cannot be evaluated"),
        ],
    )
    def test_a_rule_that_flagd_would_give_up_on_is_a_problem(self, rule: Any, expected: str) -> None:
        with pytest.raises(ConfigError, match=expected):
            flagd.parse(written(rule)).rule("f", {}, 0)

    @pytest.mark.parametrize(
        "tree", [None, [], {}, {"flags": 1}, {"flags": {"f": {}}}, {"flags": {"f": ON_OFF | {"state": "on"}}}]
    )
    def test_what_is_no_flag_file_is_refused(self, tree: object) -> None:
        with pytest.raises(ConfigError, match="flag file"):
            flagd.parse(tree)

    def test_shared_rules_are_looked_up(self) -> None:
        tree = written({"$ref": "tenth"}) | {"$evaluators": {"tenth": {"fractional": TENTH}}}
        assert ours(written({"fractional": TENTH}), list(TABLE), {}) == ours(tree, list(TABLE), {})


class Watched:
    """A flag file, a clock, and what was said about it."""

    def __init__(self, folder: Path, name: str = "flags.json", *uses: Use) -> None:
        self.path = folder / name
        self.clock = TickClock()
        self.metrics = Metrics()
        self.health = Health(self.clock)
        self.use = uses[0] if uses else Use("f", "p", "s")
        self.flags = Flags(
            self.path,
            uses or [self.use],
            read=read_flag_file,
            clock=self.clock,
            metrics=self.metrics,
            health=self.health,
        )

    def write(self, tree: object) -> None:
        self.path.write_text(tree if isinstance(tree, str) else json.dumps(tree))

    def later(self) -> Any:
        """The rule a second later."""
        self.clock.advance(1)
        return self.flags.rule(self.use)

    @property
    def said(self) -> str:
        component = self.health.snapshot().components["flags"]
        assert (component.state is State.READY) == (component.reason == "")
        assert (0.0 if component.reason else 1.0) == self.metrics.flags_reload._value.get()
        return component.reason


def events(caplog: pytest.LogCaptureFixture, name: str) -> int:
    return len([r for r in caplog.records if isinstance(r.msg, Event) and r.msg.name == name])


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


ON = written(defaultVariant="on")
OFF = written(defaultVariant="off")


class TestTheFile:
    def test_a_change_is_seen_within_a_second_and_not_looked_for_more_often(self, watched: Watched) -> None:
        watched.write(OFF)
        assert watched.flags.rule(watched.use) is False
        watched.write(ON)
        watched.clock.advance(0.5)
        assert watched.flags.rule(watched.use) is False
        watched.clock.advance(0.5)
        assert watched.flags.rule(watched.use) is True

    def test_a_file_missing_at_the_start_leaves_every_flag_off_and_is_said_once(
        self, watched: Watched, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        assert [False, False, False] == [watched.later() for _ in range(3)]
        assert "flags.json: the flag file is missing: every flag is off" == watched.said
        assert 1 == events(caplog, "flags.load_failed")
        watched.write(ON)
        assert watched.later() is True
        assert "" == watched.said

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ('{"flags": {', "line 1: not JSON"),
            ("[]", "a flag file is a mapping with `flags`"),
            ('{"flags": {"f": {"state": "?"}}}', "not a flagd flag file"),
            (json.dumps(written({"fractional": [["no", 1]]})), "flag 'f' has no variant 'no'"),
            (json.dumps(written(variants={"on": "yes", "off": "no"})), "flag 'f' is not boolean"),
            ('{"flags": {"ff": ' + json.dumps(ON_OFF) + "}}", "there is no flag 'f', did you mean 'ff'?"),
        ],
    )
    def test_a_broken_file_keeps_the_last_good_state_and_is_said_once_per_change(
        self, watched: Watched, caplog: pytest.LogCaptureFixture, text: str, reason: str
    ) -> None:
        watched.write(ON)
        assert watched.later() is True
        watched.write(text)
        assert [True] * 3 == [watched.later() for _ in range(3)]
        assert reason in watched.said
        assert "last good state is kept" in watched.said
        assert 1 == events(caplog, "flags.load_failed")
        watched.write(text + " ")
        assert watched.later() is True
        assert 2 == events(caplog, "flags.load_failed")
        watched.path.unlink()
        assert watched.later() is True
        assert "missing: the last good state is kept" in watched.said
        watched.write(OFF)
        assert watched.later() is False
        assert "" == watched.said

    def test_a_flag_that_cannot_be_used_leaves_the_others_to_change(self, tmp_path: Path) -> None:
        good, bad = Use("good", "p", "a"), Use("bad", "p", "b")
        watched = Watched(tmp_path, "flags.json", good, bad)
        watched.write({"flags": {"good": ON_OFF, "bad": ON_OFF | {"defaultVariant": "on"}}})
        watched.later()
        watched.write({"flags": {"good": ON_OFF | {"defaultVariant": "on"}}})
        watched.later()
        assert (True, True) == (watched.flags.rule(good), watched.flags.rule(bad))
        assert watched.said.endswith("there is no flag 'bad', have: good: its last good state is kept")

    def test_a_percentage_for_a_step_without_a_key_is_not_taken(self, tmp_path: Path) -> None:
        watched = Watched(tmp_path, "flags.json", Use("f", "p", "s", keyed=False))
        watched.write(written({"fractional": TENTH}))
        assert watched.later() is False
        assert "flag 'f' splits by a key, and step 's' of pipeline 'p' has none" in watched.said
        assert watched.said.endswith(": it is off")

    def test_two_writes_in_one_tick_of_the_disks_clock_are_both_seen(self, watched: Watched) -> None:
        watched.write(OFF)
        watched.clock.now = watched.path.stat().st_mtime - 1_700_000_000.0
        assert watched.flags.rule(watched.use) is False
        watched.write(ON)
        watched.flags._signature = signature(watched.path)  # as if both had left the same times and size
        assert watched.later() is True

    def test_yaml_is_read_like_json(self, tmp_path: Path) -> None:
        watched = Watched(tmp_path, "flags.yaml")
        watched.write(
            "flags:\n  f:\n    state: ENABLED\n    variants: {on: true, off: false}\n    defaultVariant: on\n"
        )
        assert watched.later() is True
        assert "" == watched.said

    def test_a_pipeline_is_on_or_off_as_a_whole_by_its_name(self, tmp_path: Path) -> None:
        uses = [Use("f", f"k{number}") for number in range(100)]
        watched = Watched(tmp_path, "flags.json", *uses)
        tree = written({"fractional": TENTH})
        watched.write(tree)
        expected = theirs(tree, [use.pipeline for use in uses], {})
        assert expected == [watched.flags.is_on(use) for use in uses]
        assert 0 < sum(expected) < 50


class TestWhatIsTold:
    def test_each_flag_says_where_it_is_used_and_what_it_does_there(self, tmp_path: Path) -> None:
        uses = [Use("f", "p", "s"), Use("f", "q", "t"), Use("g", "p"), Use("h", "p", "u"), Use("l", "p", "v")]
        watched = Watched(tmp_path, "flags.json", *uses)
        by_key = {"if": [{"in": [KEY, ["a"]]}, "on"]}
        watched.write(
            {
                "flags": {
                    "f": ON_OFF | {"targeting": RULES["in one pipeline"]},
                    "g": ON_OFF,
                    "l": ON_OFF | {"targeting": by_key},
                    "unused": ON_OFF,
                }
            }
        )
        status = watched.flags.status()
        assert ("flags.json", watched.clock.time()) == (status.file, status.loaded)
        told = {
            flag.name: [(use.pipeline, use.step, use.state, use.share) for use in flag.used_by]
            for flag in status.flags
        }
        assert {
            "f": [("p", "s", "split", 0.1), ("q", "t", "on", 1.0)],
            "g": [("p", None, "off", 0.0)],
            "h": [("p", "u", "off", 0.0)],
            "l": [("p", "v", "by_key", None)],
            "unused": [],
        } == told
        problems = {flag.name: flag.problem for flag in status.flags if flag.problem}
        assert ["h"] == list(problems)

    def test_the_metric_is_the_share_of_flags_in_use_only(self, tmp_path: Path) -> None:
        watched = Watched(tmp_path, "flags.json", Use("f", "p", "s"), Use("f", "q", "t"))
        flag = written(RULES["in one pipeline"])["flags"]["f"]
        watched.write({"flags": {"f": flag, "unused": ON_OFF}})
        watched.flags.observe()
        page = watched.metrics.render().decode()
        assert 'headrace_flag_enabled{flag="f"} 0.55' in page
        assert "unused" not in page
