"""A recording is cut and encoded in one place, a batch of windows at a time, and gives the same however it comes in."""

import pytest
import torch

from lmaczs.clap.recording import EXPLAINED_FIRST, WINDOWS_AT_ONCE, WINDOWS_KEPT, explained_at_once
from lmaczs.hearing import classify, embed, explain, explain_clip, listen
from lmaczs.signal.audio import make_clip
from lmaczs.types import AudioClip

PROMPTS = ["a beep", "rain on a roof"]


def test_an_opened_recording_gives_what_a_fresh_one_gives(debug_backend, make_beep, loud_cells):
    """Also above WINDOWS_KEPT windows, where nothing of the encoder is kept."""
    method = loud_cells(debug_backend)
    for duration_s in (3.0, 2.0 * WINDOWS_KEPT + 1):
        clip = make_beep(duration_s)
        recording = listen(clip, debug_backend)
        assert sum(len(state.embedding) for state in recording.states) == (2 if duration_s == 3.0 else 0)
        first, again = (explain(recording, PROMPTS, debug_backend, method, measure=False) for _ in range(2))
        fresh = explain_clip(clip, PROMPTS, debug_backend, method, measure=False)
        assert torch.equal(first.explanation.mask, fresh.explanation.mask)
        assert torch.equal(first.explanation.mask, again.explanation.mask)


def test_windows_are_in_memory_a_few_at_a_time(debug_backend, make_beep, loud_cells, monkeypatch):
    sizes, encoded = [], []
    spectra, encode = type(debug_backend).spectra, type(debug_backend).encode

    def watched(self, waveform, valid_samples=None):
        sizes.append(tuple(waveform.shape))
        return spectra(self, waveform, valid_samples)

    monkeypatch.setattr(type(debug_backend), "spectra", watched)
    monkeypatch.setattr(
        type(debug_backend), "encode", lambda self, mel: encoded.append(len(mel)) or encode(self, mel)
    )
    explain_clip(make_beep(21.0), PROMPTS, debug_backend, loud_cells(debug_backend), measure=False)
    # 11 windows: heard to classify, and cut again to explain, where the first ones come soon.
    assert [count for count, _ in sizes] == [8, 3, EXPLAINED_FIRST, 8, 1] and encoded == [8, 3]
    assert {samples for _, samples in sizes} == {32000}


@pytest.mark.parametrize("count", [1, 8, 9, 10, 11, 26, 120])
def test_every_window_is_explained_once_and_of_many_the_first_come_soon(count):
    batches = explained_at_once(count)
    assert [window for some in batches for window in some] == list(range(count))
    assert max(map(len, batches)) <= WINDOWS_AT_ONCE
    assert len(batches[0]) == (count if count <= WINDOWS_AT_ONCE else EXPLAINED_FIRST)


def test_a_long_recordings_windows_are_explained_where_they_lie(planted_backend, make_beep, fixed_mask):
    """The box is at 0.96 s to 1.6 s of each 2 s window; the kept sound must be there in every window."""
    box = fixed_mask(planted_backend, box=(slice(None), planted_backend.box_frames))
    mask = explain_clip(make_beep(6.0), PROMPTS, planted_backend, box, measure=False).explanation.mask[0]
    for window in range(3):
        columns = mask[window * 100 : window * 100 + 100]
        assert columns[48:80].min() == 1.0 and not columns[:48].any() and not columns[80:].any()


def test_a_recording_is_kept_on_the_cpu_at_the_backends_rate(debug_backend, make_beep):
    recording = listen(make_beep(3.0, 22050), debug_backend)
    assert recording.clip.sample_rate == 16000 and len(recording.clip.waveform) == 48000
    assert recording.embedding.shape == (debug_backend.embed_dim,)
    assert float(recording.embedding.norm()) == pytest.approx(1.0)
    spectra = list(recording.spectra(debug_backend))
    (state,) = recording.batches(debug_backend)
    torch.testing.assert_close(torch.stack(spectra), state.stft)


def test_the_embedding_is_the_mean_of_the_windows_by_their_votes(debug_backend, make_beep):
    clip = make_beep(5.0)
    recording = listen(clip, debug_backend)
    votes = torch.tensor([window.weight for window in recording.plan.windows])
    assert votes.tolist() == pytest.approx([0.4, 0.4, 0.2])
    cut = [clip.waveform[window.start : window.start + 32000] for window in recording.plan.windows]
    alone = torch.stack([debug_backend.analyze(part[None]).embedding[0] for part in cut])
    expected = torch.nn.functional.normalize(votes @ alone, dim=0)
    torch.testing.assert_close(recording.embedding, expected, atol=1e-5, rtol=0)


def test_progress_of_listening_rises_to_one(debug_backend, make_beep):
    shares = []
    listen(make_beep(21.0), debug_backend, lambda share, text: shares.append((share, text)))
    assert [share for share, _ in shares] == pytest.approx([8 / 11, 1.0]) and shares[0][1]


def test_many_recordings_are_embedded_as_each_is_heard(debug_backend, make_beep):
    """Batches cut across recordings; silence, short ones and long ones included."""
    quiet = torch.cat([make_beep(1.0, seed=9).waveform, torch.zeros(90000), make_beep(1.5, seed=8).waveform])
    waveforms = [
        make_beep(0.3).waveform,
        make_beep(2.0, seed=1).waveform,
        quiet,
        make_beep(7.7, seed=2).waveform,
        make_beep(21.0, seed=3).waveform,
        make_beep(1.9, seed=4).waveform,
    ]
    together = embed(waveforms, debug_backend)
    assert together.shape == (6, debug_backend.embed_dim)
    for waveform, found in zip(waveforms, together, strict=True):
        alone = listen(AudioClip(waveform, 16000, "one"), debug_backend).embedding
        torch.testing.assert_close(found, alone, atol=1e-6, rtol=0)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode], ids=["no_grad", "inference_mode"])
def test_the_same_bits_in_every_mode(debug_backend, make_beep, context):
    expected = listen(make_beep(3.0), debug_backend)
    with context():
        found = listen(make_beep(3.0), debug_backend)
        prediction = classify(found, PROMPTS, debug_backend)
    assert torch.equal(found.embedding, expected.embedding)
    assert torch.equal(prediction.probabilities, classify(expected, PROMPTS, debug_backend).probabilities)


def test_a_long_recording_is_encoded_once_for_methods_that_read_no_maps(debug_backend, monkeypatch):
    clip = make_clip(
        0.1 * torch.randn(1, 20 * debug_backend.clip_samples), debug_backend.spectral.sample_rate
    )
    recording = listen(clip, debug_backend)
    encoded = []
    encode = debug_backend.encode
    monkeypatch.setattr(debug_backend, "encode", lambda mel: encoded.append(len(mel)) or encode(mel))
    with_maps = list(recording.batches(debug_backend))
    assert sum(encoded) == 20
    without = list(recording.batches(debug_backend, maps=False))
    assert sum(encoded) == 20
    for one, other in zip(with_maps, without, strict=True):
        assert torch.equal(one.mel_power, other.mel_power) and torch.equal(one.stft, other.stft)
        torch.testing.assert_close(one.embedding, other.embedding, atol=1e-5, rtol=0)
        assert len(one.hidden) == 4 and other.hidden == ()
