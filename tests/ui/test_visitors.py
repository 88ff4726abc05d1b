"""Several visitors at once, each with a sound and sentences of their own: `benchmarks/visitors.py` in small."""

from crowd import RATE, belongings, crowd, strangers


def test_visitors_at_once_each_get_their_own(server: str):
    diaries = crowd(server, pages=4, programs=1, browsers=0, seconds=0)
    assert not [text for diary in diaries for text in diary.wrong]
    assert [len(diary.seconds) for diary in diaries] == [1] * 5


def test_mixed_up_answers_would_be_noticed(tmp_path):
    own, other = belongings(1, 0, tmp_path), belongings(2, 0, tmp_path)
    half = own.waveform / 2
    assert not list(strangers(own, own.path.stem, own.prompts, half, half))
    assert list(strangers(own, other.path.stem, own.prompts, half, half))
    assert list(strangers(own, own.path.stem, other.prompts, half, half))
    assert list(strangers(own, own.path.stem, own.prompts, half, other.waveform))
    again = belongings(1, 1, tmp_path)
    assert list(strangers(own, own.path.stem, own.prompts, half, again.waveform / 2))
    assert len(other.waveform) - len(own.waveform) == round(0.05 * RATE)
