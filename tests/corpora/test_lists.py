"""Corpora that are listed (file lists, Kaldi, lhotse, Hi-Fi TTS): every line counts, and none of them runs anything."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from support.trees import plant, write_lines

from vocoder.corpora import Recording, read_corpus
from vocoder.errors import UserError


def recordings(root: Path, layout: str) -> list[Recording]:
    """Those of a corpus whose layout is recognised."""
    corpus = read_corpus(root)
    assert corpus.layout == layout
    return corpus.recordings


# File lists


def test_a_list_of_paths_keeps_its_order(tmp_path: Path) -> None:
    plant(tmp_path, "audio/b.wav", "audio/a.flac")
    listed = write_lines(tmp_path / "list.txt", "audio/b.wav", "", str(tmp_path / "audio/a.flac"), "gone.wav")
    absolute = str(tmp_path / "audio/a").lstrip("/")
    assert recordings(listed, "file_list") == [
        Recording(tmp_path / "audio/b.wav", "audio/b"),
        Recording(tmp_path / "audio/a.flac", absolute),
        Recording(tmp_path / "gone.wav", "gone"),
    ]


def test_a_second_field_is_text_and_of_three_fields_the_second_is_the_speaker(tmp_path: Path) -> None:
    plant(tmp_path, "a.wav", "b.wav")
    text = write_lines(tmp_path / "text.txt", "a.wav|Hello", "b|World")
    assert recordings(text, "file_list") == [Recording(tmp_path / "a.wav", "a"), Recording(tmp_path / "b.wav", "b")]
    speakers = write_lines(tmp_path / "speakers.txt", "a.wav|ann|Hello, you", "b.wav|0|World")
    assert [r.speaker for r in recordings(speakers, "file_list")] == ["ann", "0"]
    normalised = write_lines(tmp_path / "normalised.txt", "a.wav|Dr. No|Doctor No", "b.wav|World|World")
    assert [r.speaker for r in recordings(normalised, "file_list")] == [None, None]


def test_texts_of_one_word_are_not_speakers(tmp_path: Path) -> None:
    words = write_lines(tmp_path / "words.txt", "a.wav|yes|yes", "b.wav|no|no")
    assert [r.speaker for r in recordings(words, "file_list")] == [None, None]


def test_what_a_second_field_is_holds_for_all_lists_of_a_corpus(tmp_path: Path) -> None:
    write_lines(tmp_path / "train.txt", "a.wav|Dr. No|Doctor No")
    write_lines(tmp_path / "val.txt", "b.wav|No.|Number")  # alone it would name a speaker
    assert [r.speaker for r in read_corpus(tmp_path, "file_list").recordings] == [None, None]


def test_lists_of_a_folder_are_its_splits(tmp_path: Path) -> None:
    plant(tmp_path, "a.wav", "b.wav", "c.wav")
    for name, file in {"train.txt": "a", "val.txt": "b", "test.txt": "c"}.items():
        write_lines(tmp_path / name, f"{file}.wav|text")
    found = read_corpus(tmp_path, "file_list").recordings
    assert {r.id: r.split for r in found} == {"a": "train", "b": "dev", "c": "test"}
    assert [r.split for r in read_corpus(tmp_path / "train.txt").recordings] == [None]


@pytest.mark.parametrize(
    ("line", "id"), [("../x.wav", "x"), ("/../../etc/x.wav", "etc/x"), ("./a/../b.wav", "b"), ("a//b.wav", "a/b")]
)
def test_an_id_never_leads_out_of_a_folder(tmp_path: Path, line: str, id: str) -> None:
    assert [r.id for r in recordings(write_lines(tmp_path / "list.txt", line), "file_list")] == [id]


@pytest.mark.parametrize("line", ["|text", "..", "/", "a\0.wav"])
def test_a_line_without_the_name_of_a_file_is_refused_by_its_number(tmp_path: Path, line: str) -> None:
    with pytest.raises(UserError, match=r"list\.txt:2: "):
        read_corpus(write_lines(tmp_path / "list.txt", "a.wav", line))


def test_a_list_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"a.wav\n\xff\xfe.wav\n")
    with pytest.raises(UserError, match=r"list\.txt: not UTF-8"):
        read_corpus(tmp_path / "list.txt")


def test_an_empty_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="lists no recordings"):
        read_corpus(write_lines(tmp_path / "list.txt", "", " "))


# Kaldi


def test_a_kaldi_directory_without_segments(tmp_path: Path) -> None:
    plant(tmp_path, "audio/1.wav")
    write_lines(tmp_path / "wav.scp", "ann-1 audio/1.wav", f"bob-1\t{tmp_path}/a file with spaces.wav")
    write_lines(tmp_path / "utt2spk", "ann-1 ann", "bob-1 bob")
    assert recordings(tmp_path, "kaldi") == [
        Recording(tmp_path / "audio/1.wav", "ann-1", "ann"),
        Recording(tmp_path / "a file with spaces.wav", "bob-1", "bob"),
    ]
    assert recordings(tmp_path / "wav.scp", "kaldi") == recordings(tmp_path, "kaldi")


def test_segments_are_the_utterances_of_a_kaldi_directory(tmp_path: Path) -> None:
    write_lines(tmp_path / "wav.scp", "call /data/call.wav")
    write_lines(tmp_path / "segments", "ann-1 call 0.5 1.75", "ann-2 call 2 -1")
    write_lines(tmp_path / "utt2spk", "ann-1 ann", "ann-2 ann")
    assert recordings(tmp_path, "kaldi") == [
        Recording(Path("/data/call.wav"), "ann-1", "ann", None, 0.5, 1.75),
        Recording(Path("/data/call.wav"), "ann-2", "ann", None, 2.0, None),
    ]


def test_kaldi_directories_below_a_folder_are_its_splits(tmp_path: Path) -> None:
    for name in ("train_clean", "dev", "test", "local"):
        write_lines(tmp_path / name / "wav.scp", f"{name}-1 /data/{name}.wav")
    assert {r.id: r.split for r in recordings(tmp_path, "kaldi")} == {
        "train_clean-1": "train",
        "dev-1": "dev",
        "test-1": "test",
    }


def test_sides_of_a_conversation_are_never_mixed(tmp_path: Path) -> None:
    write_lines(tmp_path / "wav.scp", "call-A /data/call.wav", "call-B /data/call.wav")
    write_lines(tmp_path / "reco2file_and_channel", "call-A call A", "call-B call B")
    with pytest.raises(UserError, match=r"reco2file_and_channel:2: call-B is one of several channels of call"):
        read_corpus(tmp_path)
    write_lines(
        tmp_path / "reco2file_and_channel", "call-A call-A A", "call-B call-B A"
    )  # as utils/ writes it for mono
    assert len(recordings(tmp_path, "kaldi")) == 2


@pytest.mark.parametrize(
    "command", ["touch {0} |", "sph2pipe -f wav x.sph|", "sox x.wav -t wav - | touch {0} |", "| touch {0}"]
)
def test_a_pipe_of_kaldi_is_refused_and_never_run(tmp_path: Path, command: str) -> None:
    proof = tmp_path / "proof"
    write_lines(tmp_path / "wav.scp", "ok /data/a.wav", f"bad {command.format(proof)}")
    with pytest.raises(UserError, match=r"wav\.scp:2: is a shell command, which is never run"):
        read_corpus(tmp_path)
    assert not proof.exists()


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("wav.scp", "id", "has nothing after id"),
        ("wav.scp", "ok /data/b.wav", "ok occurs twice"),
        ("wav.scp", "../x /data/b.wav", "cannot be the name of a file"),
        ("wav.scp", "x foo.ark:123", "archive"),
        ("segments", "u1 nowhere 0 1", "not a segment"),
        ("segments", "u1 ok 0", "not a segment"),
        ("segments", "u1 ok 0 1 1", "names channel 1"),
        ("segments", "u1 ok 2 1", "no span"),
        ("segments", "u1 ok nan 1", "no span"),
        ("segments", "u1 ok 0 inf", "no span"),
        ("utt2spk", "ok", "has nothing after ok"),
    ],
)
def test_a_wrong_line_of_kaldi_is_refused_by_its_number(tmp_path: Path, file: str, line: str, message: str) -> None:
    write_lines(tmp_path / "wav.scp", "ok /data/a.wav")
    lines = (tmp_path / file).read_text().splitlines() if (tmp_path / file).exists() else []
    write_lines(tmp_path / file, *lines, line)
    with pytest.raises(UserError, match=rf"{file}:{len(lines) + 1}: .*{message}"):
        read_corpus(tmp_path)


# Lhotse


def cut(id: str = "c1", **changes: Any) -> dict[str, Any]:
    """A cut as lhotse 1.x writes it."""
    source = {"type": "file", "channels": [0], "source": "audio/1.wav"}
    recording = {"id": "r1", "sources": [source], "sampling_rate": 16000, "num_samples": 48000, "duration": 3.0}
    supervision = {"id": "s1", "recording_id": "r1", "start": 0.0, "duration": 1.25, "channel": 0, "speaker": "ann"}
    whole = {"id": id, "start": 0.5, "duration": 1.25, "channel": 0, "supervisions": [supervision]}
    return whole | {"recording": recording, "type": "MonoCut"} | changes


def write_cuts(path: Path, *cuts: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(each) + "\n" for each in cuts)
    return path


def test_a_cut_is_a_segment_of_a_file(tmp_path: Path) -> None:
    path = write_cuts(tmp_path / "cuts.jsonl.gz", cut(), cut("c2", supervisions=[]))
    expected = Recording(tmp_path / "audio/1.wav", "c1", "ann", None, 0.5, 1.75)
    assert recordings(path, "lhotse")[0] == recordings(tmp_path, "lhotse")[0] == expected
    assert recordings(path, "lhotse")[1].speaker is None


def test_manifests_of_cuts_are_the_splits(tmp_path: Path) -> None:
    for name in ("train", "dev", "test"):
        write_cuts(tmp_path / f"corpus_cuts_{name}.jsonl.gz", cut(name))
    write_cuts(tmp_path / "corpus_cuts_all.jsonl.gz", cut("dev"), cut("other"))
    found = {r.id: r.split for r in recordings(tmp_path, "lhotse")}
    assert found == {"train": "train", "dev": "dev", "test": "test", "other": None}


def test_a_command_of_lhotse_is_refused_and_never_run(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    bad = cut()
    bad["recording"]["sources"][0] |= {"type": "command", "source": f"touch {proof}"}
    with pytest.raises(UserError, match=r"cuts\.jsonl\.gz:2: is a shell command, which is never run"):
        read_corpus(write_cuts(tmp_path / "cuts.jsonl.gz", cut(), bad))
    assert not proof.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"type": "MixedCut"}, "a MixedCut"),
        ({"start": -1}, "no begin and duration"),
        ({"duration": float("nan")}, "no begin and duration"),
        ({"id": "../../x"}, "cannot be the name of a file"),
        ({"recording": None}, "not a cut with a recording"),
        ({"recording": {"sources": []}}, "not a cut with a recording"),
        ({"supervisions": 3}, "not a cut with a recording"),
        ({"recording": {"sources": [{"type": "url", "channels": [0], "source": "https://x"}]}}, "is a url"),
        ({"recording": {"sources": [{"type": "file", "channels": [0, 1], "source": "x.wav"}]}}, "2 channels"),
        (
            {
                "recording": {
                    "sources": [{"type": "file", "channels": [0], "source": "x.wav"}],
                    "transforms": [{"name": "Speed", "kwargs": {"factor": 1.1}}],
                }
            },
            "is to be changed .Speed.",
        ),
    ],
)
def test_a_cut_that_is_not_a_span_of_one_file_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=rf"cuts\.jsonl\.gz:1: .*{message}"):
        read_corpus(write_cuts(tmp_path / "cuts.jsonl.gz", cut(**changes)))


@pytest.mark.parametrize(
    "content", [b"not gzip", gzip.compress(b'{"id": 1}\n' * 99, mtime=0)[:40], gzip.compress(b"\xff\xfe", mtime=0)]
)
def test_a_damaged_manifest_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "cuts.jsonl.gz").write_bytes(content)
    with pytest.raises(UserError, match=r"cuts\.jsonl\.gz"):
        read_corpus(tmp_path / "cuts.jsonl.gz")


# Hi-Fi TTS


def test_hifi_tts_has_the_speakers_and_splits_of_its_manifests(tmp_path: Path) -> None:
    plant(tmp_path, "audio/92_clean/1/a.flac", "audio/9017_other/2/b.flac")
    for name, path in {
        "92_manifest_clean_train": "audio/92_clean/1/a.flac",
        "92_manifest_clean_dev": "audio/92_clean/1/missing.flac",
        "9017_manifest_other_test": "audio/9017_other/2/b.flac",
    }.items():
        write_lines(tmp_path / f"{name}.json", json.dumps({"audio_filepath": path, "text": "x", "duration": 1.0}))
    write_lines(tmp_path / "notes_manifest_x.json", "not a manifest")
    assert {(r.path, r.id, r.speaker, r.split) for r in recordings(tmp_path, "hifi_tts")} == {
        (tmp_path / "audio/92_clean/1/a.flac", "audio/92_clean/1/a", "92", "train"),
        (tmp_path / "audio/92_clean/1/missing.flac", "audio/92_clean/1/missing", "92", "dev"),
        (tmp_path / "audio/9017_other/2/b.flac", "audio/9017_other/2/b", "9017", "test"),
    }


@pytest.mark.parametrize("line", ["not json", "[]", "{}", '{"audio_filepath": 3}', '{"audio_filepath": "../x.flac"}'])
def test_a_wrong_line_of_hifi_tts_is_refused_by_its_number(tmp_path: Path, line: str) -> None:
    write_lines(tmp_path / "92_manifest_clean_train.json", '{"audio_filepath": "a.flac"}', line)
    with pytest.raises(UserError, match=r"92_manifest_clean_train\.json:2: "):
        read_corpus(tmp_path)
