"""Corpora that are trees of folders are recognised, with their speakers and official splits, and nothing else is."""

import os
from pathlib import Path

import pytest
from support.trees import plant, write_lines

from vocoder.corpora import Corpus, read_corpus
from vocoder.errors import UserError


def facts(corpus: Corpus) -> dict[str, tuple[str | None, str | None]]:
    """Speaker and split by id."""
    return {recording.id: (recording.speaker, recording.split) for recording in corpus.recordings}


def test_any_folder_is_read_as_it_was_before_there_were_layouts(tmp_path: Path) -> None:
    plant(tmp_path, "b.wav", "a/1.flac", ".hidden.wav", "a/._1.flac", ".cache/2.wav")
    write_lines(tmp_path / "metadata.csv", "id|text|text")
    corpus = read_corpus(tmp_path)
    assert corpus.layout == "folder"
    assert facts(corpus) == {"a/1": (None, None), "b": (None, None)}
    assert [r.path for r in corpus.recordings] == [tmp_path / "a/1.flac", tmp_path / "b.wav"]


def test_vctk_has_the_first_microphone_of_each_speaker(tmp_path: Path) -> None:
    folder = "wav48_silence_trimmed"
    names = [f"{folder}/{s}/{s}_00{n}_mic{m}.flac" for s in ("p225", "s5") for n in (1, 2) for m in (1, 2)]
    plant(tmp_path, *names)
    write_lines(tmp_path / folder / "log.txt", "x")
    corpus = read_corpus(tmp_path)
    assert corpus.layout == "vctk"
    assert facts(corpus) == {f"{folder}/{s}/{s}_00{n}_mic1": (s, None) for s in ("p225", "s5") for n in (1, 2)}


def test_old_vctk_has_all_its_recordings(tmp_path: Path) -> None:
    corpus = read_corpus(plant(tmp_path, "wav48/p225/p225_001.wav", "wav48/p226/p226_001.wav"))
    assert corpus.layout == "vctk"
    assert facts(corpus) == {"wav48/p225/p225_001": ("p225", None), "wav48/p226/p226_001": ("p226", None)}


def test_libritts_has_its_sets_as_splits(tmp_path: Path) -> None:
    sets = {
        "train-clean-100": "train",
        "train-other-500": "train",
        "dev-clean": "dev",
        "dev-other": "dev",
        "test-clean": "test",
        "test-other": "test",
    }
    plant(tmp_path, *(f"{name}/{n}/777/{n}_777_000001_000000.wav" for n, name in enumerate(sets)))
    corpus = read_corpus(tmp_path)
    assert corpus.layout == "libritts"
    assert facts(corpus) == {f"{s}/{n}/777/{n}_777_000001_000000": (str(n), sets[s]) for n, s in enumerate(sets)}


def test_libritts_without_dev_keeps_its_test_and_takes_dev_from_train(tmp_path: Path) -> None:
    names = [f"train-clean-100/19/198/19_198_{n}.wav" for n in range(60)]
    corpus = read_corpus(plant(tmp_path, *names, "test-clean/61/1/61_1_1.wav"))
    splits = {recording.id: recording.split for recording in corpus.recordings}
    assert splits.pop("test-clean/61/1/61_1_1") == "test"
    assert {*splits.values()} == {"train", "dev"}
    assert 1 <= list(splits.values()).count("dev") <= 9  # 3 expected


def test_a_part_of_libritts_has_no_split(tmp_path: Path) -> None:
    corpus = read_corpus(plant(tmp_path, "dev-clean/19/198/19_198_1.wav", "test-clean/61/1/61_1_1.wav"))
    assert {recording.split for recording in corpus.recordings} == {None}
    assert not corpus.has_splits


def test_arctic_is_recognised_alone_and_with_others_without_the_larynx_signal(tmp_path: Path) -> None:
    for speaker in ("slt", "bdl"):
        folder = f"cmu_us_{speaker}_arctic"
        plant(tmp_path, f"{folder}/wav/arctic_a0001.wav", f"{folder}/orig/arctic_a0001.wav")
    both, one = read_corpus(tmp_path), read_corpus(tmp_path / "cmu_us_slt_arctic")
    assert (both.layout, one.layout) == ("arctic", "arctic")
    assert facts(both) == {f"cmu_us_{s}_arctic/wav/arctic_a0001": (s, None) for s in ("bdl", "slt")}
    assert facts(one) == {"wav/arctic_a0001": ("slt", None)}


def test_jsut_has_one_speaker_without_a_name(tmp_path: Path) -> None:
    plant(tmp_path, "basic5000/wav/BASIC5000_0001.wav", "loanword128/wav/LOANWORD128_001.wav")
    corpus = read_corpus(tmp_path)
    assert corpus.layout == "jsut"
    assert facts(corpus) == {
        "basic5000/wav/BASIC5000_0001": (None, None),
        "loanword128/wav/LOANWORD128_001": (None, None),
    }


def test_jvs_has_the_files_of_24_khz_of_each_speaker(tmp_path: Path) -> None:
    plant(tmp_path, *(f"{s}/parallel100/wav24kHz16bit/V_001.wav" for s in ("jvs001", "jvs100")))
    plant(tmp_path, "jvs001/parallel100/wav16kHz/V_001.wav")
    corpus = read_corpus(tmp_path)
    assert corpus.layout == "jvs"
    assert facts(corpus) == {f"{s}/parallel100/wav24kHz16bit/V_001": (s, None) for s in ("jvs001", "jvs100")}


def test_a_single_speaker_corpus_in_the_form_of_ljspeech_has_no_split(tmp_path: Path) -> None:
    plant(tmp_path, "wavs/a.wav", "wavs/b.wav")
    write_lines(tmp_path / "metadata.csv", "a|Hello|Hello", "b|World|World")
    corpus = read_corpus(tmp_path)
    assert corpus.layout == "ljspeech"
    assert facts(corpus) == {"wavs/a": (None, None), "wavs/b": (None, None)}


@pytest.mark.parametrize(
    "lists",
    [
        {"training.txt": "{0}|text|text\n{1}|text|text", "validation.txt": "{2}|text|text"},  # HiFi-GAN
        {
            "ljs_audio_text_train_filelist.txt": "DUMMY/{0}.wav|text\nDUMMY/{1}.wav|text",  # Tacotron 2, VITS
            "ljs_audio_text_val_filelist.txt": "DUMMY/{2}.wav|text",
        },
    ],
)
def test_lists_beside_the_metadata_split_ljspeech(tmp_path: Path, lists: dict[str, str]) -> None:
    ids = [f"LJ001-000{n}" for n in range(4)]
    plant(tmp_path, *(f"wavs/{id}.wav" for id in ids))
    write_lines(tmp_path / "metadata.csv", *(f"{id}|t|t" for id in ids))
    for name, text in lists.items():
        write_lines(tmp_path / name, text.format(*ids))
    splits = [recording.split for recording in read_corpus(tmp_path).recordings]
    assert splits == ["train", "train", "dev", None]


def test_the_complete_ljspeech_is_split_in_the_order_of_its_files(tmp_path: Path) -> None:
    clip = plant(tmp_path, "clip.wav") / "clip.wav"
    root = tmp_path / "LJSpeech-1.1"
    (root / "wavs").mkdir(parents=True)
    ids = [f"LJ{1 + n // 262:03d}-{1 + n % 262:04d}" for n in range(13100)]
    for id in ids:
        os.link(clip, root / f"wavs/{id}.wav")
    write_lines(root / "metadata.csv", *(f"{id}|t|t" for id in ids))
    split = {r.id.removeprefix("wavs/"): r.split for r in read_corpus(root).recordings}
    assert [split[id] for id in ids] == ["train"] * 12600 + ["dev"] * 250 + ["test"] * 250
    os.unlink(root / f"wavs/{ids[7]}.wav")
    assert not read_corpus(root).has_splits


def test_a_layout_can_be_named(tmp_path: Path) -> None:
    plant(tmp_path, "wav48/p225/p225_001.wav", "other/x.wav")
    assert len(read_corpus(tmp_path).recordings) == 1
    named = read_corpus(tmp_path, "folder")
    assert facts(named) == {"other/x": (None, None), "wav48/p225/p225_001": (None, None)}


@pytest.mark.parametrize("layout", ["vctk", "kaldi", "ljspeech", "lhotse", "hifi_tts"])
def test_a_folder_that_is_not_of_the_named_layout_is_refused(tmp_path: Path, layout: str) -> None:
    with pytest.raises(UserError, match=rf"not of the layout {layout}, which is "):
        read_corpus(plant(tmp_path, "a.wav"), layout)


def test_a_misspelt_layout_is_refused_with_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"layout=ljspech: unknown \(did you mean ljspeech\?\)"):
        read_corpus(plant(tmp_path, "a.wav"), "ljspech")


def test_a_corpus_without_audio_where_it_should_be_is_refused(tmp_path: Path) -> None:
    plant(tmp_path, "other/a.wav")
    (tmp_path / "wav48/p225").mkdir(parents=True)
    with pytest.raises(UserError, match="no audio files in the folders of the layout vctk"):
        read_corpus(tmp_path)


@pytest.mark.parametrize("name", ["nowhere", "a.wav"])
def test_what_is_neither_a_folder_nor_a_list_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"no such folder|neither a folder nor a list"):
        read_corpus(plant(tmp_path, "a.wav") / name)
