"""What --vary spans: values, ranges, and what is refused."""

import pytest

from launch.sweep import space as space_lib


def _ends(text):
    (dimension,) = space_lib.parse([text])
    return dimension.ends


@pytest.mark.parametrize(
    "text, ends",
    [
        ("learner.epochs=1,2,4", (1, 2, 4)),
        ("learner.epochs=1|2", (1, 2)),
        ("learner.learning_rate=1e-4,3e-4", (1e-4, 3e-4)),
        ("run.synchronous=true,false", (True, False)),
        ("env.layout=full,redispatch", ("full", "redispatch")),
        ("env.scenarios=all:hard|peak:hard=1,normal:easy", ("all:hard", "peak:hard=1,normal:easy")),
        ("team.policy_layers=64|128,128", ((64,), (128, 128))),
        ("learner.epochs=1..8", (1, 8)),
        ("learner.learning_rate=1e-4..1e-3", (1e-4, 1e-3)),
    ],
)  # fmt: skip
def test_values_are_read_as_the_flag_of_the_field_reads_them(text, ends):
    assert _ends(text) == ends


def test_a_range_may_be_searched_in_its_logarithm():
    rate, epochs = space_lib.parse(["learner.learning_rate=1e-4..1e-3:log", "learner.epochs=1..4"])
    assert rate.log and not epochs.log and not rate.values


@pytest.mark.parametrize(
    "texts, message",
    [
        ([], "nothing varies"),
        (["learner.epoch=1,2"], "did you mean learner.epochs"),
        (["epochs=1,2"], "did you mean learner.epochs"),
        (["learner.epochs"], "has no value"),
        (["learner.epochs="], "'' is not a whole number"),
        (["learner.epochs=1,x"], "'x' is not a whole number"),
        (["learner.epochs=1,2.5"], "'2.5' is not a whole number"),
        (["learner.epochs=1..x"], "'x' is not a whole number"),
        (["learner.epochs=2"], "--config.learner.epochs=2"),
        (["learner.epochs=2,2"], "names a value twice"),
        (["team.policy_layers=128,128"], "separated by |"),
        (["learner.epochs=1,2", "learner.epochs=3,4"], "varies already"),
        (["seed=1,2"], "--seeds"),
        (["learner.learning_rate=1e-3..1e-4"], "is empty"),
        (["learner.learning_rate=1e-3..1e-3"], "is empty"),
        (["learner.learning_rate=0..1e-3:log"], "begins above 0"),
        (["learner.learning_rate=1e-4..1e-3:ln"], ":log and nothing else"),
    ],
)
def test_what_spans_no_space_is_refused_with_the_remedy(texts, message):
    with pytest.raises(ValueError, match=message.replace("|", r"\|")) as error:
        space_lib.parse(texts)
    assert "--vary" in str(error.value)


def test_combinations_are_counted_unless_there_is_a_range():
    space = space_lib.parse(["learner.epochs=1,2", "actor.batch=8,16,32"])
    every = list(space_lib.combinations(space))
    assert space_lib.size(space) == len(every) == 6
    assert every[1] == {"learner.epochs": 1, "actor.batch": 16}
    assert space_lib.size(space_lib.parse(["learner.epochs=1..2"])) is None


def _refusal(values):
    """Refuses what an experiment might: a batch that is not divided, and what nobody knows."""
    if values.get("env.case") == "nope":
        return "no case named nope"
    divided = values.get("actor.batch", 8) % values.get("learner.minibatches", 1) == 0
    return "" if divided else "minibatches do not divide the batch"


def test_a_value_that_can_be_trained_in_some_combination_is_fine():
    space_lib.check(space_lib.parse(["learner.minibatches=3,4", "actor.batch=8,9"]), _refusal)


@pytest.mark.parametrize(
    "texts, message",
    [
        (["learner.minibatches=4,5", "actor.batch=8,16"], "--vary=learner.minibatches=4,5: cannot "
         "be trained with 5: minibatches do not divide"),
        (["learner.epochs=1,2", "env.case=case14,nope"], "--vary=env.case=case14,nope: cannot be "
         "trained with nope: no case"),
        (["actor.batch=8..9", "learner.minibatches=2,4"], "cannot be trained with 9"),
    ],
)  # fmt: skip
def test_a_value_that_no_combination_can_be_trained_with_is_refused(texts, message):
    with pytest.raises(ValueError, match=message):
        space_lib.check(space_lib.parse(texts), _refusal)


def test_what_is_held_is_not_blamed_on_a_value():
    with pytest.raises(ValueError, match="^no such layout$"):
        space_lib.check(space_lib.parse(["learner.epochs=1,2"]), lambda values: "no such layout")
