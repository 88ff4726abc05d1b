"""Every dataset in a miniature of its official layout: clips, splits, captions, originals, and rows put aside."""

import pytest
from layouts import LAYOUTS, table, tone

from lmaczs.data.registry import DATASETS, PRESETS, list_selection
from lmaczs.errors import DatasetError, LMACError


@pytest.fixture
def listing_of(tmp_path):
    """Builds a miniature and lists it."""

    def build(key):
        LAYOUTS[key](tmp_path)
        return DATASETS[key].list_clips(tmp_path)

    return build


def told(listing):
    return [(clip.path, clip.split, clip.captions, clip.labels, clip.original) for clip in listing.clips]


def test_esc50_has_folds_labels_in_words_and_freesound_ids(listing_of):
    listing = listing_of("esc50")
    assert told(listing) == [
        ("1-100032-A-0.wav", "fold 1", (), ("dog",), "freesound 100032"),
        ("1-17367-A-10.wav", "fold 1", (), ("crying baby",), "freesound 17367"),
        ("5-100032-B-0.wav", "fold 5", (), ("dog",), "freesound 100032"),
    ]
    assert listing.missing == ("2-1-A-0.wav",)
    assert listing.bad_rows == (
        "'meta/esc50.csv', line 6: 'category' is empty",
        "'meta/esc50.csv', line 7: its file lies outside the dataset",
        "'meta/esc50.csv', line 8: '1-100032-A-0.wav' is named twice",
    )


def test_urbansound8k_lies_in_folders_of_its_folds(listing_of):
    listing = listing_of("urbansound8k")
    assert told(listing) == [
        ("100032-3-0-0.wav", "fold 5", (), ("dog bark",), "freesound 100032"),
        ("203356-3-0-1.wav", "fold 10", (), ("car horn",), "freesound 203356"),
    ]
    assert listing.clips[0].file.parts[-2:] == ("fold5", "100032-3-0-0.wav")
    assert listing.bad_rows == ("'metadata/UrbanSound8K.csv', line 4: 'fold' is empty",)


def test_clotho_has_five_captions_and_ids_where_they_were_found(listing_of):
    listing = listing_of("clotho")
    dog = tuple(f"A dog barks {n} times ." for n in range(1, 5))  # the fifth repeats the first
    assert told(listing) == [
        ("Dog in Málaga.wav", "development", dog, (), "freesound 100032"),
        ("Rain.wav", "development", ("Rain falls .",), (), ""),
        ("Wind.wav", "evaluation", ("Wind blows .",), (), ""),
    ]
    assert listing.bad_rows == ("'clotho_captions_development.csv', line 4: 'caption_1' is empty",)


def test_clotho_is_found_where_its_tools_unpack_it(tmp_path):
    table(tmp_path / "clotho_captions_development.csv", [["file_name", "caption_1"], ["a.wav", "Rain ."]])
    tone(tmp_path / "clotho_audio_files/development/a.wav")
    assert len(DATASETS["clotho"].list_clips(tmp_path).clips) == 1


def test_fsd50k_is_captioned_by_its_uploaders_and_else_by_its_labels(listing_of):
    listing = listing_of("fsd50k")
    assert told(listing) == [
        (
            "64760.wav", "train", ("Guitar riff A riff , played twice:",), ("electric guitar", "guitar"),
            "freesound 64760",
        ),
        ("16399.wav", "val", ("people",), ("chatter", "human voice"), "freesound 16399"),
        ("7.wav", "train", ("bark",), ("bark",), "freesound 7"),
        ("37199.wav", "eval", ("bark and dog",), ("bark", "dog"), "freesound 37199"),
    ]  # fmt: skip
    assert listing.bad_rows[0] == "'FSD50K.ground_truth/dev.csv', line 5: 'fname' is empty"
    assert "eval_clips_info_FSD50K.json" in listing.bad_rows[1]


def test_audiocaps_joins_the_captions_of_a_clip_and_finds_it_under_other_names(listing_of):
    listing = listing_of("audiocaps")
    assert told(listing) == [
        ("r1nicOVtvkQ_130", "train", ("A woman talks as water pours",), (), "youtube r1nicOVtvkQ"),
        ("vfY_TJq7n_U_130", "val", tuple(f"Rustling {n}" for n in range(5)), (), "youtube vfY_TJq7n_U"),
    ]
    assert (listing.missing, listing.missing_captions) == (("-gone_20",), 1)
    assert listing.bad_rows == ("'dataset/val.csv', line 7: 'start_time' is empty",)


def test_macs_takes_every_annotators_sentence_and_keeps_a_place_together(listing_of):
    listing = listing_of("macs")
    first, second = listing.clips
    assert first.captions == ("people talk", "a bell rings") and first.labels == ("adults talking", "music")
    assert first.original == second.original == "tau airport-stockholm-12"
    assert listing.bad_rows == ("'MACS.yaml', entry 3: it has no file name or no annotations",)


@pytest.mark.parametrize("content", ["- a\n- b\n", "files: 3\n", "files: [\n", "\x00"])
def test_a_damaged_macs_file_is_refused_with_its_page(tmp_path, content):
    (tmp_path / "MACS.yaml").write_text(content)
    with pytest.raises(DatasetError, match=r"'MACS.yaml' of MACS cannot be read.*zenodo.org/records/5114771"):
        DATASETS["macs"].list_clips(tmp_path)


def test_lj_speech_has_no_captions_as_a_transcript_is_none(listing_of):
    listing = listing_of("ljspeech")
    assert [clip.path for clip in listing.clips] == ["LJ001-0001.wav", "LJ001-0002.wav"]
    assert all(clip.captions == () and clip.labels == ("speech",) for clip in listing.clips)
    assert listing.missing == ("LJ002-0001.wav",)


@pytest.mark.parametrize("key", DATASETS)
def test_what_is_missing_is_said_in_one_sentence_with_the_official_page(tmp_path, key):
    with pytest.raises(DatasetError) as raised:
        DATASETS[key].list_clips(tmp_path)
    message = str(raised.value)
    assert DATASETS[key].page in message and DATASETS[key].table in message and DATASETS[key].title in message
    assert message.count(". ") == 0 and str(tmp_path) not in message


def test_a_table_of_another_version_is_refused(tmp_path):
    table(tmp_path / "meta/esc50.csv", [["file", "class"], ["a.wav", "dog"]])
    with pytest.raises(DatasetError, match="has no column 'filename'"):
        DATASETS["esc50"].list_clips(tmp_path)


def test_presets_take_what_clap_was_trained_on(tmp_path):
    for key in ("clotho", "fsd50k", "audiocaps", "macs"):
        LAYOUTS[key](tmp_path)
    names = [clip.path for clip in list_selection("clotho", tmp_path).clips]
    assert names == ["Dog in Málaga.wav", "Rain.wav"]
    full = list_selection("full", tmp_path)
    assert {(clip.dataset, clip.split) for clip in full.clips} == {
        ("clotho", "development"), ("fsd50k", "train"), ("audiocaps", "train"), ("macs", ""),
    }  # fmt: skip
    assert len(full.clips) == 2 + 2 + 1 + 2
    assert all(item.partition(":")[0] in DATASETS for parts in PRESETS.values() for item in parts)


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ("clothes", "no dataset 'clothes': choose clotho"),
        ("esc50:fold 9", "no split 'fold 9': choose fold 1"),
        ("ljspeech:train", "no split 'train': choose none, it is one"),
        ("esc50", "'meta/esc50.csv' is missing"),
    ],
)
def test_a_selection_that_cannot_be_had_is_refused(tmp_path, selection, message):
    with pytest.raises(LMACError, match=message):
        list_selection(selection, tmp_path)


def test_a_dataset_without_any_recording_is_refused(tmp_path):
    head = ["youtube_id", "start_time", "caption"]
    table(tmp_path / "audiocaps/train.csv", [head, ["a", 1, "b"], ["c", 2, "d"]])
    with pytest.raises(
        DatasetError, match=r"None of the recordings of AudioCaps is here \(2 .*github.com/cdjkim"
    ):
        list_selection("audiocaps", tmp_path)
