"""Thousands of hostile inputs to every command: each is used as it says, or refused in a line.

What is hostile is drawn from a seed: numbers that are none or far too large, every field of every
JSON file as something else, damaged files, paths that lead nowhere, arguments that nobody takes.
HOSTILE=REGEX in the environment plays only kinds that match.
"""

import collections
import os
import pathlib
import random
import re
import subprocess
import sys

import pytest
from support import command_server, hostile_inputs

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[2]
LEAST = 2000
SOON_S = 20  # processor time until a refusal
LONGEST = 2500  # characters of a refusal, however long the input
LINES = ("error: ",)


def verdict(attempt, done):
    """Returns what is wrong with what a command did, or none."""
    accepted = done["code"] in (0, command_server.ACCEPTED)
    lines = done["err"].splitlines()
    if done["code"] is None or (not accepted and done["seconds"] > SOON_S):
        return "hang"
    if "Traceback" in done["err"] + done["out"] or done["code"] < 0:
        return "traceback"
    if attempt.refused is False:
        return None if accepted else "wrong exit"
    if accepted:
        return "silent acceptance" if attempt.refused else None
    if done["code"] != 2:
        return "wrong exit"
    refusal = [line for line in lines if line.startswith(LINES[0])]
    others = [line for line in lines if not line.startswith(LINES)]
    if len(refusal) != 1 or len(done["err"]) > LONGEST or others:
        return "not one line"
    plain = refusal[0].encode(errors="backslashreplace").decode()
    names = [" ".join(name.split()) for name in attempt.names]
    if not any(name.encode(errors="backslashreplace").decode() in plain for name in names):
        return "unnamed"
    return None


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    """Every input with what became of it."""
    folder = tmp_path_factory.mktemp("hostile")
    servers = {name: command_server.Server(name) for name in (*hostile_inputs.MODULES, "files")}
    outcomes = []
    only = os.environ.get("HOSTILE")  # kinds, to look into some
    for attempt in hostile_inputs.all_inputs(folder, servers):
        if only and not re.search(only, attempt.kind):
            continue
        here = folder / f"here{len(outcomes)}"  # Nothing is there from before.
        here.mkdir()
        outcomes.append((attempt, servers[attempt.command].run(attempt.argv, here)))
    for server in servers.values():
        server.close()
    return outcomes


def test_no_input_ends_in_a_traceback_a_hang_a_wrong_exit_or_silent_acceptance(campaign):
    wrong = collections.defaultdict(list)
    table = collections.defaultdict(collections.Counter)
    for attempt, done in campaign:
        fault = verdict(attempt, done)
        state = "accepted" if done["code"] in (0, command_server.ACCEPTED) else "refused"
        table[attempt.kind][fault or state] += 1
        if fault:
            said = done["err"].strip().splitlines() or [""]
            last = said[0] if said[0].startswith(LINES) else said[-1]
            wrong[fault].append(f"{attempt.command} {str(attempt.argv)[:200]}: {last[:300]}")
    for kind, counts in table.items():
        print(f"{kind:28} {dict(counts)}")
    counts = {kind: len(cases) for kind, cases in wrong.items()}
    print(f"{len(campaign)} inputs, wrong: {counts}")
    for kind, cases in wrong.items():
        for case in cases[:: max(1, len(cases) // 40)]:
            print(f"  {kind}: {case}")
    assert not wrong, counts
    assert len(campaign) >= LEAST


def test_a_process_of_its_own_says_the_same(campaign, tmp_path):
    rng = random.Random(hostile_inputs.SEED)
    by_command = collections.defaultdict(list)
    for attempt, done in campaign:
        if (
            done["code"] not in (None, command_server.ACCEPTED)
            and attempt.command in hostile_inputs.MODULES
        ):
            by_command[attempt.command].append((attempt, done))
    for command, outcomes in by_command.items():
        for attempt, expected in rng.sample(outcomes, min(6, len(outcomes))):
            done = subprocess.run(
                [sys.executable, "-m", hostile_inputs.MODULES[command], *attempt.argv],
                cwd=tmp_path, capture_output=True, check=False,
                env={**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", str(ROOT))},
            )  # fmt: skip
            assert done.returncode == expected["code"], (attempt.argv, done.stderr)
            if attempt.kind != "help":
                assert done.stderr.decode(errors="backslashreplace") == expected["err"], (
                    attempt.argv
                )
