"""The registry of handlers, what a handler is given, and what becomes of what it returns or raises."""

from __future__ import annotations

import functools
import json
import random
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import pytest
import trio
import trio.testing

from jobqueue.clock import World
from jobqueue.errors import StartupError
from jobqueue.handlers import Handlers, Registration, attempt, builtins, call
from jobqueue.handlers.context import MAX_LINE_BYTES, Context, log_line, progress_report
from jobqueue.handlers.loading import load
from jobqueue.handlers.verdict import (
    MAX_TRACEBACK_BYTES,
    Fatal,
    RetryIn,
    Undecodable,
    decode,
    encode,
    encode_result,
    judge,
)
from jobqueue.job import Ending, Json, LogLine, Outcome, Progress, Reason, Retry

Handler = Callable[[Context, Any], Awaitable[Any]]


class NoProcesses:
    async def run(self, kind: str, ctx: Context, payload: Json) -> Json:
        raise NotImplementedError


class Echoing(NoProcesses):
    async def run(self, kind: str, ctx: Context, payload: Json) -> Json:
        return f"{kind} {ctx.id} {payload}"


def context(said: list[Progress | LogLine] | None = None) -> Context:
    async def take(report: Progress | LogLine) -> None:
        await trio.lowlevel.checkpoint()
        if said is not None:
            said.append(report)

    return Context(id="job-1", attempt=1, epoch=4, deadline=0.0, report_progress=take, report_log=take)


def registered(function: Handler) -> Registration:
    handlers = Handlers()
    handlers.register("kind")(function)
    registration = handlers.get("kind")
    assert registration is not None
    return registration


async def ending(function: Handler, payload: Json = "null") -> Outcome:
    return await attempt(registered(function), context(), payload, NoProcesses())


async def anything(ctx: Context, payload: Any) -> Any: ...


# registering


def test_a_registered_function_is_found_by_its_kind_and_stays_itself() -> None:
    handlers = Handlers()
    retry = Retry(backoff="list", delays=(1, 5))
    decorated = handlers.register("a.b", timeout=60, max_attempts=8, retry=retry)(anything)
    assert decorated is anything
    registration = handlers.get("a.b")
    assert registration is not None
    assert registration.function is anything
    assert (registration.timeout, registration.max_attempts, registration.retry) == (60, 8, retry)
    assert (registration.process, registration.coroutine) == (False, True)


def test_a_kind_nobody_registered_is_none() -> None:
    assert Handlers().get("nothing") is None


def test_kinds_are_sorted() -> None:
    handlers = Handlers()
    for kind in ("b", "a", "c"):
        handlers.register(kind)(anything)
    assert handlers.kinds() == ("a", "b", "c")


@pytest.mark.parametrize("kind", ["", "a" * 65, "a b", "a/b", "ä", "a\n"])
def test_a_kind_that_is_no_name_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="characters"):
        Handlers().register(kind)


def test_a_decorator_without_a_kind_is_refused() -> None:
    with pytest.raises(ValueError, match=r"write @handlers\.register"):
        Handlers().register(anything)  # type: ignore[arg-type]  # to try it is the test


@pytest.mark.parametrize("timeout", [0.09, 86_401, -1, float("nan"), True, "60"])
def test_a_timeout_out_of_range_is_refused(timeout: Any) -> None:
    with pytest.raises(ValueError, match="timeout must be"):
        Handlers().register("kind", timeout=timeout)


@pytest.mark.parametrize("attempts", [0, 1_001, 2.0, True])
def test_attempts_out_of_range_are_refused(attempts: Any) -> None:
    with pytest.raises(ValueError, match="max_attempts must be"):
        Handlers().register("kind", max_attempts=attempts)


@pytest.mark.parametrize(
    "retry, fault",
    [
        ({"backoff": "linear"}, "must be a Retry"),
        (Retry(backoff="cubic"), "Invalid enum value"),  # type: ignore[arg-type]  # to try it is the test
        (Retry(initial=-1), "not negative"),
        (Retry(max=float("inf")), "finite"),
        (Retry(factor=float("nan")), "finite"),
        (Retry(backoff="list"), "needs delays"),
    ],
)
def test_a_retry_policy_that_is_none_is_refused(retry: Any, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        Handlers().register("kind", retry=retry)


def test_a_kind_registered_twice_is_refused_naming_the_first() -> None:
    handlers = Handlers()
    handlers.register("kind")(anything)
    with pytest.raises(ValueError, match="registered already, to anything"):
        handlers.register("kind")(anything)


def _plain(ctx: Any, payload: Any) -> None: ...


async def _generator(ctx: Any, payload: Any) -> Any:
    yield 1


async def _one_argument(ctx: Any) -> None: ...


@pytest.mark.parametrize(
    "function, fault",
    [
        (_plain, "process=True"),
        (_generator, "yields"),
        (_one_argument, "two arguments"),
        (functools.partial(_plain, 1), "process=True"),
        (Handlers, "is no function"),
        ("text", "is no function"),
    ],
)
def test_what_cannot_run_in_the_server_is_refused_with_advice(function: Any, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        Handlers().register("kind")(function)


def test_a_process_handler_may_be_plain_or_a_coroutine_function() -> None:
    handlers = Handlers()
    handlers.register("plain", process=True)(_plain)
    handlers.register("coroutine", process=True)(anything)
    assert [(entry.process, entry.coroutine) for entry in handlers] == [(True, False), (True, True)]


def test_a_partial_and_an_object_with_an_async_call_are_handlers() -> None:
    class Sender:
        async def __call__(self, ctx: Context, payload: Any) -> None: ...

    async def send(host: str, ctx: Context, payload: Any) -> None: ...

    handlers = Handlers()
    handlers.register("object")(Sender())
    handlers.register("partial")(functools.partial(send, "host"))
    assert handlers.kinds() == ("object", "partial")


def test_merging_keeps_all_kinds_and_changes_neither() -> None:
    one, two = Handlers(), Handlers()
    one.register("a")(anything)
    two.register("b")(anything)
    assert one.merge(two, one).kinds() == ("a", "b")
    assert one.kinds() == ("a",)


def test_merging_refuses_kinds_defined_twice() -> None:
    one, two = Handlers(), Handlers()
    for registry in (one, two):
        registry.register("b")(anything)
        registry.register("a")(anything)
    with pytest.raises(ValueError, match="defined twice: a, b"):
        one.merge(two)


# loading


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Writes a module into the current directory and returns its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])

    def write(source: str) -> str:
        name = f"tasks_{random.getrandbits(64)}"
        (tmp_path / f"{name}.py").write_text(source)
        return name

    return write


REGISTRY = """
from jobqueue.handlers import Handlers
handlers = Handlers()
also = handlers
@handlers.register({kind!r})
async def run(ctx, payload): ...
"""


def test_a_registry_of_the_current_directory_is_found(module: Callable[[str], str]) -> None:
    name = module(REGISTRY.format(kind="a"))
    assert load([f"{name}:handlers"]).kinds() == ("a",)


def test_one_registry_under_two_names_is_no_clash(module: Callable[[str], str]) -> None:
    name = module(REGISTRY.format(kind="a"))
    assert load([f"{name}:handlers", f"{name}:also", f"{name}:handlers"]).kinds() == ("a",)


def test_the_base_is_part_of_what_is_loaded(module: Callable[[str], str]) -> None:
    base = Handlers()
    base.register("built.in")(anything)
    assert load([module(REGISTRY.format(kind="a")) + ":handlers"], base).kinds() == ("a", "built.in")


def test_no_names_load_nothing() -> None:
    assert load([]).kinds() == ()


def fault(*names: str, base: Handlers | None = None) -> str:
    with pytest.raises(StartupError) as caught:
        load(names, base)
    assert caught.value.exit_code == 2
    [line] = caught.value.lines
    assert "\n" not in line
    return line


@pytest.mark.parametrize("name", ["tasks", "tasks:", ":handlers", "tasks.py:handlers()", "a b:c", "../tasks:h"])
def test_a_name_of_another_form_is_a_fault(name: str) -> None:
    assert fault(name) == f"handlers {name!r}: write package.module:registry"


def test_a_missing_module_is_a_fault(module: Callable[[str], str]) -> None:
    assert "No module named 'nowhere_at_all' (from /" in fault("nowhere_at_all.tasks:handlers")


def test_a_module_missing_inside_is_told_from_it(module: Callable[[str], str]) -> None:
    line = fault(module("import nowhere_at_all") + ":handlers")
    assert "its import raised ModuleNotFoundError: No module named 'nowhere_at_all'" in line


def test_a_missing_registry_is_a_fault(module: Callable[[str], str]) -> None:
    assert fault(module("x = 1") + ":handlers").endswith("has no 'handlers'")


def test_what_is_no_registry_is_a_fault(module: Callable[[str], str]) -> None:
    assert fault(module("handlers = {}") + ":handlers").endswith("'handlers' is a dict, not a jobqueue.Handlers")


@pytest.mark.parametrize(
    "source, told",
    [
        ("\n1 / 0", "ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit('two\\nlines')", "SystemExit: two lines"),
    ],
)
def test_an_import_that_raises_is_a_fault_with_its_place(module: Callable[[str], str], source: str, told: str) -> None:
    name = module(source)
    line = fault(f"{name}:handlers")
    assert f"its import raised {told} (" in line
    assert f"{name}.py, line 2)" in line


def test_a_syntax_error_is_a_fault(module: Callable[[str], str]) -> None:
    name = module("\ndef")
    assert fault(f"{name}:handlers").endswith(f"its import raised SyntaxError: invalid syntax ({name}.py, line 2)")


def test_a_kind_of_two_registries_is_a_fault_naming_both(module: Callable[[str], str]) -> None:
    one, two = module(REGISTRY.format(kind="a")), module(REGISTRY.format(kind="a"))
    assert fault(f"{one}:handlers", f"{two}:handlers") == (
        f"handlers '{two}:handlers': kind 'a' is defined by {one}:handlers already"
    )


def test_a_kind_of_the_base_cannot_be_taken(module: Callable[[str], str]) -> None:
    base = Handlers()
    base.register("a")(anything)
    assert "kind 'a' is defined by jobqueue itself already" in fault(
        module(REGISTRY.format(kind="a")) + ":handlers", base=base
    )


def test_all_faults_are_told_together(module: Callable[[str], str]) -> None:
    with pytest.raises(StartupError) as caught:
        load(["nowhere_at_all:h", "tasks", module("1 / 0") + ":h"])
    assert len(caught.value.lines) == 3


# the context


async def test_reports_go_where_the_context_was_told() -> None:
    said: list[Progress | LogLine] = []
    ctx = context(said)
    await ctx.progress(50, "half way", {"rows": [1, 2]})
    await ctx.log("a line", "warning")
    await ctx.progress()
    assert said == [Progress(50.0, "half way", '{"rows":[1,2]}'), LogLine("warning", "a line"), Progress()]


def test_the_context_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        context().attempt = 2  # type: ignore[misc]  # to try it is the test
    with pytest.raises(TypeError):
        context().parents["a"] = 1  # type: ignore[index]  # to try it is the test


@pytest.mark.parametrize("percent, kept", [(-1, 0), (100.00001, 100), pytest.param(10**400, 100, id="huge"), (0, 0)])
def test_percent_is_brought_into_range(percent: float, kept: float) -> None:
    assert progress_report(percent, None, None).percent == kept


@pytest.mark.parametrize("percent", [float("nan"), True, "50", 5j])
def test_a_percent_that_is_no_number_is_refused(percent: Any) -> None:
    with pytest.raises(ValueError, match="percent must be a number"):
        progress_report(percent, None, None)


def test_a_progress_message_is_cut_at_1000_characters() -> None:
    message = progress_report(None, "ü" * 1_001, None).message
    assert message == "ü" * 966 + "... (cut: 1,001 characters in all)"


def test_progress_data_of_64_kib_passes_and_one_byte_more_is_refused() -> None:
    assert progress_report(None, None, "x" * 65_534).data == json.dumps("x" * 65_534)
    with pytest.raises(ValueError, match="the data of a progress report is too large: 65,537 bytes"):
        progress_report(None, None, "x" * 65_535)


def test_a_log_line_keeps_8_kib() -> None:
    assert log_line("x" * 8_192, "info").message == "x" * 8_192


@pytest.mark.parametrize("message", ["x" * 8_193, "ü" * 4_097, "x" * 10_000_000], ids=["one", "bytes", "huge"])
def test_a_longer_log_line_is_cut_and_says_so(message: str) -> None:
    line = log_line(message, "info").message
    assert MAX_LINE_BYTES - 2 <= len(line.encode()) <= MAX_LINE_BYTES
    assert line.endswith(f"... (cut: {len(message):,} characters in all)")


def test_half_a_surrogate_pair_in_a_report_is_replaced() -> None:
    assert log_line("\ud800!", "info").message == "?!"


def test_anything_can_be_logged() -> None:
    assert log_line({"a": 1}, "info").message == "{'a': 1}"


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="debug, info, warning, error"):
        log_line("x", "fatal")


# results and payloads


VALUES: list[Any] = [None, True, 0, 10**1000, 1.5, "ü😀\x00", [], {"a": [1, {}]}, [[]] * 100, ("a", 1), {1: 2}]


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_json_comes_out_compact_and_as_it_was(value: Any) -> None:
    encoded = encode_result(value)
    assert json.loads(encoded) == json.loads(json.dumps(value))
    assert ": " not in encoded


def _nested(levels: int) -> Any:
    value: Any = []
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def test_64_levels_pass_and_65_are_fatal() -> None:
    assert json.loads(encode_result(_nested(64))) == _nested(64)
    with pytest.raises(Fatal, match="deeper than 64 levels"):
        encode_result(_nested(65))


class Hostile(dict[str, int]):
    def items(self) -> NoReturn:
        raise LookupError("no items today")


def _circular() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "value, fault",
    [
        (float("nan"), "is not JSON: Out of range"),
        ([float("inf")], "is not JSON: Out of range"),
        ("\ud800", "lone surrogate"),
        ({"\udfff": 1}, "lone surrogate"),
        ({1, 2}, "is not JSON: Object of type set"),
        (b"bytes", "is not JSON: Object of type bytes"),
        ({(1, 2): 3}, "is not JSON: keys must be"),
        (_circular(), "is not JSON: Circular reference"),
        (Hostile(a=1), "is not JSON: no items today"),
        (10**5000, "is not JSON: Exceeds the limit"),
        (_nested(5_000), "deeper than 64 levels"),
    ],
    ids=range(11),
)
def test_what_is_no_json_is_refused_with_the_reason(value: Any, fault: str) -> None:
    with pytest.raises(Fatal, match=f"the result .*{fault}"):
        encode_result(value)


def test_size_counts_bytes_not_characters() -> None:
    assert encode("ü" * 10, 22) == '"' + "ü" * 10 + '"'
    with pytest.raises(ValueError, match="is too large: 22 bytes of JSON, at most 21"):
        encode("ü" * 10, 21)


def test_a_result_beyond_1_mib_is_fatal() -> None:
    with pytest.raises(Fatal, match="the result is too large: 1,048,577 bytes of JSON, at most 1,048,576"):
        encode_result("x" * ((1 << 20) - 1))


@pytest.mark.parametrize("payload", ["{", "", "[" * 100_000, "1" * 5_000], ids=["cut", "empty", "deep", "long"])
def test_a_payload_that_cannot_be_read_is_undecodable(payload: str) -> None:
    with pytest.raises(Undecodable):
        decode(payload)


# calling


async def test_a_handler_gets_the_payload_and_its_result_is_json() -> None:
    async def double(ctx: Context, payload: Any) -> Any:
        return {"id": ctx.id, "doubled": payload["n"] * 2}

    result = await call(registered(double), context(), '{"n":21}', NoProcesses())
    assert result == '{"id":"job-1","doubled":42}'


async def test_done_is_reported_of_the_very_attempt() -> None:
    async def nothing(ctx: Context, payload: Any) -> None: ...

    assert await ending(nothing) == Outcome("job-1", 4, Ending.DONE, "null")


async def test_a_process_handler_is_left_to_the_processes() -> None:
    registration = Registration("kind", _plain, process=True, coroutine=False)
    assert await call(registration, context(), "[1]", Echoing()) == "kind job-1 [1]"


async def test_a_result_that_is_no_json_is_fatal_and_has_no_traceback_of_ours() -> None:
    async def bad(ctx: Context, payload: Any) -> Any:
        return {1}

    ended = await ending(bad)
    assert (ended.ending, ended.fatal, ended.reason) == (Ending.ERROR, True, Reason.FATAL)
    assert ended.error is not None
    assert ended.error.traceback is None


async def test_an_undecodable_payload_never_reaches_the_handler() -> None:
    ended = await ending(anything, "{")
    assert (ended.fatal, ended.reason) == (True, Reason.UNDECODABLE)


async def test_the_traceback_begins_at_the_handler() -> None:
    async def fails(ctx: Context, payload: Any) -> None:
        deeper()

    def deeper() -> NoReturn:
        raise LookupError("here")

    ended = await ending(fails)
    assert ended.error is not None
    assert ended.error.traceback is not None
    lines = ended.error.traceback.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert [line.rpartition(" ")[2] for line in lines if line.startswith("  File")] == ["fails", "deeper"]
    assert lines[-1] == "LookupError: here"


@pytest.mark.parametrize("raised", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), BaseException("x")])
async def test_a_handler_cannot_end_the_server(raised: BaseException) -> None:
    async def fails(ctx: Context, payload: Any) -> None:
        raise raised

    ended = await ending(fails)
    assert (ended.ending, ended.fatal) == (Ending.ERROR, False)
    assert ended.error is not None
    assert ended.error.type == type(raised).__name__


async def test_a_cancellation_passes_through_to_its_scope() -> None:
    async def forever(ctx: Context, payload: Any) -> None:
        await trio.sleep_forever()

    with trio.CancelScope() as scope:
        scope.cancel()
        await ending(forever)
    assert scope.cancelled_caught


async def test_of_a_group_only_the_cancellation_passes_through() -> None:
    """What the handler's tasks raised while they were cancelled is not for the worker's scope to carry."""

    async def fails_when_cancelled(ctx: Context, payload: Any) -> None:
        async def fail() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise LookupError("in cleanup")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            nursery.start_soon(trio.sleep_forever)
            scope.cancel()

    with trio.CancelScope() as scope:
        await ending(fails_when_cancelled)
    assert scope.cancelled_caught


async def test_an_error_raised_on_cancellation_is_the_end_of_the_attempt() -> None:
    async def swallows(ctx: Context, payload: Any) -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            raise LookupError("instead") from None

    with trio.CancelScope() as scope:
        scope.cancel()
        ended = await ending(swallows)
    assert ended.error is not None
    assert ended.error.type == "LookupError"


async def test_a_cancellation_kept_beyond_its_scope_is_an_error_of_the_handler() -> None:
    """It belongs to no scope any more, and would take the worker with it."""

    async def keeps(ctx: Context, payload: Any) -> None:
        kept: list[BaseException] = []
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.sleep_forever()
            except trio.Cancelled as cancelled:
                kept.append(cancelled)
        raise kept[0]

    ended = await ending(keeps)
    assert ended.error is not None
    assert ended.error.type == "Cancelled"


# verdicts


def raised(exc: BaseException) -> BaseException:
    try:
        raise exc  # noqa: TRY301 - to have a traceback
    except BaseException as caught:  # noqa: BLE001 - whatever came is looked at
        return caught


def test_any_exception_is_an_error_with_its_name_and_message() -> None:
    verdict = judge(LookupError("no such thing"))
    assert (verdict.error.type, verdict.error.message) == ("LookupError", "no such thing")
    assert (verdict.retry_in, verdict.fatal, verdict.reason) == (None, False, None)


def test_retry_in_overrides_the_delay() -> None:
    verdict = judge(RetryIn(2.5))
    assert (verdict.retry_in, verdict.fatal) == (2.5, False)
    assert verdict.error.message == "asked to be tried again in 2.5 s"


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), 1e12, "5", None, True])
def test_retry_in_takes_only_what_can_be_waited_for(seconds: Any) -> None:
    with pytest.raises(ValueError, match="RetryIn takes"):
        RetryIn(seconds)


def test_a_retry_in_that_was_bent_is_an_ordinary_error() -> None:
    bent = RetryIn(1)
    bent.seconds = float("nan")
    assert judge(bent).retry_in is None


def test_fatal_forbids_a_retry() -> None:
    verdict = judge(Fatal("hopeless"))
    assert (verdict.fatal, verdict.reason, verdict.error.message) == (True, Reason.FATAL, "hopeless")


def test_a_group_of_one_is_its_member() -> None:
    group = BaseExceptionGroup("outer", [BaseExceptionGroup("inner", [raised(LookupError("alone"))])])
    verdict = judge(raised(group))
    assert (verdict.error.type, verdict.error.message) == ("LookupError", "alone")
    assert verdict.error.traceback is not None
    assert "in raised" in verdict.error.traceback


def test_a_group_tells_of_all_its_members() -> None:
    verdict = judge(ExceptionGroup("several", [LookupError("one"), ValueError("two")]))
    assert (verdict.error.type, verdict.error.message) == ("ExceptionGroup", "LookupError: one; ValueError: two")


def test_in_a_group_fatal_wins_then_the_longest_retry_in() -> None:
    waits: list[Exception] = [LookupError(), RetryIn(3), RetryIn(9), RetryIn(5)]
    assert judge(ExceptionGroup("", waits)).retry_in == 9
    assert judge(ExceptionGroup("", [*waits, ExceptionGroup("", [Fatal("no")])])).fatal


def test_a_message_is_cut_at_1000_characters() -> None:
    message = judge(ValueError("x" * 12_345)).error.message
    assert message == "x" * 965 + "... (cut: 12,345 characters in all)"
    assert len(message) == 1_000


def test_half_a_surrogate_pair_in_a_message_is_replaced() -> None:
    assert judge(ValueError("\ud83d")).error.message == "?"


def test_a_message_that_cannot_be_had_is_said_to_be_so() -> None:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise KeyboardInterrupt

    assert judge(Unprintable()).error.message == "(its message could not be had: KeyboardInterrupt)"


async def test_a_long_traceback_keeps_its_end() -> None:
    async def long(ctx: Context, payload: Any) -> None:
        raise ValueError("ü" * 100_000 + "the end")

    ended = await ending(long)
    assert ended.error is not None
    assert ended.error.traceback is not None
    assert len(ended.error.traceback.encode()) <= MAX_TRACEBACK_BYTES
    assert ended.error.traceback.startswith("(the beginning is cut: 2")
    assert ended.error.traceback.endswith("the end\n")


async def test_a_recursion_without_end_is_an_error_like_any_other() -> None:
    async def recurse(ctx: Context, payload: Any) -> None:
        await recurse(ctx, payload)

    ended = await ending(recurse)
    assert ended.error is not None
    assert ended.error.type == "RecursionError"


async def test_every_end_can_be_written_down() -> None:
    """Whatever a handler raises, its outcome is valid UTF-8 throughout."""

    class Odd(Exception):
        __notes__: Any = ("\udc00", 3)

    async def odd(ctx: Context, payload: Any) -> None:
        raise Odd("\ud800") from ValueError("\udfff")

    ended = await ending(odd)
    assert msgspec.json.decode(msgspec.json.encode(ended), type=Outcome) == ended


# built in


def world(chance: float) -> World:
    return World(now=lambda: 0, monotonic=lambda: 0.0, chance=lambda: chance, new_id=lambda: "id", boot_id="boot")


async def simulated(chance: float) -> tuple[Outcome, float]:
    registration = builtins(world(chance)).get("simulate")
    assert registration is not None
    began = trio.current_time()
    return await attempt(registration, context(), '"text"', NoProcesses()), trio.current_time() - began


async def test_simulate_takes_two_seconds_and_succeeds(autojump_clock: trio.testing.MockClock) -> None:
    ended, slept = await simulated(0.2)
    assert (ended.ending, ended.result, slept) == (Ending.DONE, '{"simulated":true}', 2)


async def test_simulate_fails_one_time_in_five(autojump_clock: trio.testing.MockClock) -> None:
    ended, slept = await simulated(0.1999)
    assert ended.ending is Ending.ERROR
    assert ended.error is not None
    assert (ended.error.type, slept) == ("SimulatedFailure", 2)
