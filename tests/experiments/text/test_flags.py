"""The flags of text classification: defaults by data set and of the lectures, and what contradicts what."""

import pytest
from helpers.running import refused, run

from experiments import imdb, ntc_scv
from experiments.common.flags import flagfile_lines, parse
from experiments.text.flags import LECTURE, TextConfig
from rnn_jax.data.text import DATASETS
from rnn_jax.models.pooling import POOLS


class TestDataset:
    @pytest.mark.parametrize("name", DATASETS)
    @pytest.mark.parametrize("experiment", [imdb.EXPERIMENT, ntc_scv.EXPERIMENT])
    def test_brings_its_cleaning(self, experiment, name):
        assert parse(experiment.config, [f"--dataset={name}"]).cleaning == DATASETS[name].cleaning
        for arguments in ([f"--dataset={name}", "--cleaning=words"], ["--cleaning=words", f"--dataset={name}"]):
            assert parse(experiment.config, arguments).cleaning == "words"

    def test_ntc_scv_is_imdb_with_another_data_set(self):
        config = parse(ntc_scv.EXPERIMENT.config, [])
        assert isinstance(config, TextConfig)
        assert (config.dataset, config.cleaning, config.num_lengths) == ("ntc_scv", "words", 16)
        assert flagfile_lines(config) == flagfile_lines(parse(imdb.EXPERIMENT.config, ["--dataset=ntc_scv"]))
        assert parse(TextConfig, []).cleaning == "markup"

    def test_made_up_reviews_are_a_small_task(self):
        config = parse(TextConfig, ["--dataset=synthetic_reviews", "--epochs=2"])
        assert (config.word_dropout, config.average_decay, config.learning_rate) == (0, 0, 1e-2)
        assert (config.num_lengths, config.epochs) == (4, 2)


class TestLecture:
    def test_defaults(self):
        lecture, ours = parse(TextConfig, ["--lecture"]), parse(TextConfig, [])
        assert (lecture.max_tokens, lecture.vocab_size, lecture.min_freq, lecture.epochs) == (500, 20_000, 3, 20)
        assert (lecture.word_dropout, lecture.embedding_dropout, lecture.head_dropout) == (0, 0, 0)
        assert (lecture.embedding_size, lecture.hidden_size) == (ours.embedding_size, ours.hidden_size) == (128, 64)

    @pytest.mark.parametrize("lecture", ["--lecture", "--lecture=true", "--lecture=1", "--lecture=True", "-lecture"])
    @pytest.mark.parametrize("in_a_file", [False, True])
    def test_is_the_same_however_it_is_written(self, tmp_path, lecture, in_a_file):
        """And so is what is written down of the run, which says `lecture` and is one."""
        if in_a_file:
            (tmp_path / "flags.txt").write_text(f"{lecture}\n")
            lecture = f"--flagfile={tmp_path / 'flags.txt'}"
        for arguments in ([lecture, "--epochs=2", "--pool=max"], ["--pool=max", "--epochs=2", lecture]):
            config = parse(imdb.EXPERIMENT.config, arguments)
            assert config.lecture
            for name, value in LECTURE.items():
                assert getattr(config, name) == {"epochs": 2, "pool": "max"}.get(name, value), name
        (tmp_path / "again.txt").write_text("\n".join(flagfile_lines(config)) + "\n")
        assert parse(imdb.EXPERIMENT.config, [f"--flagfile={tmp_path / 'again.txt'}"]) == config

    @pytest.mark.parametrize("given", [["--nolecture"], ["--lecture=false"], ["--lecture", "--lecture=0"]])
    def test_not_wanted(self, given):
        assert parse(TextConfig, given) == parse(TextConfig, [])

    def test_wins_over_the_data_set(self):
        for arguments in (["--lecture", "--dataset=synthetic_reviews"], ["--dataset=synthetic_reviews", "--lecture"]):
            config = parse(TextConfig, arguments)
            assert (config.epochs, config.learning_rate, config.num_lengths) == (20, 1e-3, 4)
        assert parse(TextConfig, ["--lecture", "--dataset=ntc_scv"]).cleaning == "words"


def test_pools_are_those_that_there_are():
    """The list of the flag stands for itself, since Flax would have to be imported for the other."""
    (field,) = (field for name, field in TextConfig.__dataclass_fields__.items() if name == "pool")
    assert set(field.metadata["choices"]) == set(POOLS)


@pytest.mark.parametrize("experiment", [imdb.EXPERIMENT, ntc_scv.EXPERIMENT])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--text=x"], "--text goes with --mode=predict"),
        (["--pool=sum"], "--pool=sum: value should be one of"),
        (["--count_ratios=4"], "--count_ratios=4: must be at most 3"),
        (
            ["--mode=predict", "--cell=gru"],
            "--cell is a flag of the run, which --mode=predict takes from its folder",
        ),
    ],
)
def test_contradictions(tmp_path, experiment, arguments, message):
    assert message in refused(experiment.main, tmp_path, *arguments)


@pytest.mark.parametrize("argument", ["--epochs=3", "--cell=lstm", "--lecture", "--nobaselines", "--seed=0"])
def test_prediction_takes_the_flags_of_the_run(tmp_path, argument):
    """Also where they are at their defaults: who types one expects an effect."""
    ran = run(imdb.EXPERIMENT.main, "--mode=predict", f"--workdir={tmp_path}", "--text=x", argument)
    name = argument.removeprefix("--").removeprefix("no").split("=")[0]
    assert ran.one_error() == f"--{name} is a flag of the run, which --mode=predict takes from its folder"


def test_no_data(tmp_path):
    ran = run(ntc_scv.EXPERIMENT.main, f"--workdir={tmp_path / 'run'}", f"--data_dir={tmp_path}")
    assert "no ntc-scv in --data_dir" in ran.one_error()
    ran = run(imdb.EXPERIMENT.main, "--mode=predict", "--text=x")
    assert ran.one_error() == "--mode=predict needs --workdir=FOLDER, the folder of a run"
