"""A stand-in for the package wandb, that writes down what it is told."""

import os

TEXT = '''
"""Writes every call as a line of JSON to the file that FAKE_WANDB names."""
import json, os

def _note(**what):
    with open(os.environ["FAKE_WANDB"], "a") as file:
        file.write(json.dumps(what) + "\\n")

def Settings(**settings):
    return settings

def init(id=None, config=None, **how):
    if os.environ.get("FAKE_WANDB_FAILS"):
        raise RuntimeError("nobody answers")
    _note(init=how, id=id, case=config["env"]["case"])
    return Run(id or "fresh")

class Run:
    def __init__(self, id):
        self.id = id

    def define_metric(self, name, step_metric=None):
        pass

    def log(self, values):
        _note(log=values)

    def finish(self, exit_code):
        _note(finish=exit_code)
'''


def install(monkeypatch, folder):
    """Puts it before the real one, here and in processes started from here; returns its file."""
    folder.mkdir()
    (folder / "wandb.py").write_text(TEXT)
    monkeypatch.syspath_prepend(folder)
    before = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([str(folder), *([before] if before else [])])
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setenv("FAKE_WANDB", str(folder / "calls.jsonl"))
    return folder / "calls.jsonl"
