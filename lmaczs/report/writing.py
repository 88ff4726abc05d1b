"""From recordings to the files of a report."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lmaczs.clap.base import CLAPBackend
from lmaczs.data.clips import Clip
from lmaczs.data.places import local_copy
from lmaczs.errors import LMACError
from lmaczs.explainers.base import Method
from lmaczs.hearing import explain, listen
from lmaczs.report.classes import Profile, averaged, profile_of
from lmaczs.report.pages import Heard, Told, index_page, recording_page, tell
from lmaczs.report.picture import mask_picture
from lmaczs.results import write_sounds
from lmaczs.signal.audio import load_clip, save_wav
from lmaczs.types import ExplainResult, Progress, part_of


@dataclass(frozen=True)
class Wanted:
    """What a report says.

    Attributes:
        title: of it.
        prompts: that the classifier chooses between.
        backend: the classifier.
        methods: that explain each recording, the first one also in the index.
    """

    title: str
    prompts: tuple[str, ...]
    backend: CLAPBackend
    methods: tuple[Method, ...]


def write_report(
    wanted: Wanted, clips: Sequence[Clip], folder: Path, progress: Progress, say: Callable[[str], None]
) -> int:
    """Explain recordings and write index.html, a page for each, and files/ with sounds and pictures.

    A single recording has no index: index.html is its page.

    Args:
        wanted: what is said.
        clips: recordings of this machine or elsewhere.
        folder: exists; gets the files.
        progress: called as the work goes on.
        say: is told of a recording that cannot be used, in one sentence; the others are reported.

    Returns:
        How many recordings could not be used.

    Raises:
        LMACError: none of them could.
    """
    recordings: list[Heard] = []
    by_prompt: defaultdict[tuple[str, str], list[Profile]] = defaultdict(list)
    failed = 0
    for number, clip in enumerate(clips):
        step = part_of(progress, number / len(clips), (number + 1) / len(clips))
        try:
            heard, found = _report_one(wanted, clip, f"{number + 1:04d}", folder, step)
        except LMACError as error:
            failed += 1
            say(f"{clip.path}: {error}")
            continue
        recordings.append(heard)
        for one in found:
            by_prompt[one.prompt, one.method].append(one)
    if not recordings:
        raise LMACError("No recording could be reported: see the reasons above.")
    # Of one recording its own picture says more.
    profiles = [averaged(members) for _, members in sorted(by_prompt.items()) if len(members) > 1]
    name = wanted.backend.name
    if len(clips) == 1:
        (folder / "index.html").write_text(recording_page(recordings[0], name, up=""), "utf-8")
        return failed
    for heard in recordings:
        (folder / f"{heard.place}.html").write_text(recording_page(heard, name), "utf-8")
    (folder / "index.html").write_text(index_page(wanted.title, name, recordings, profiles), "utf-8")
    return failed


def _report_one(
    wanted: Wanted, clip: Clip, place: str, folder: Path, progress: Progress
) -> tuple[Heard, list[Profile]]:
    """Explain one recording and write its files; of the explanations only their profiles are kept."""
    with local_copy(clip) as file:
        sound = load_clip(file, sample_rate=wanted.backend.spectral.sample_rate)
    recording = listen(sound, wanted.backend)
    results = []
    for number, method in enumerate(wanted.methods):
        step = part_of(progress, number / len(wanted.methods), (number + 1) / len(wanted.methods))
        results.append(explain(recording, wanted.prompts, wanted.backend, method, progress=step))
    told = _write_files(results, folder / "files" / place)
    heard = Heard(clip.path, clip.label, place, results[0].prediction, sound.duration_s, told, sound.notes)
    return heard, [one for one in map(profile_of, results) if one is not None]


def write_page(results: Sequence[ExplainResult], folder: Path, backend: str) -> None:
    """Write the report of one recording that is explained already: index.html and files/.

    Args:
        results: of one recording and one prompt, by a method each, scored; at least one.
        folder: exists; gets the files.
        backend: name of the classifier.
    """
    first, place = results[0], "0001"
    told = _write_files(results, folder / "files" / place)
    clip = first.clip
    heard = Heard(clip.name, "", place, first.prediction, clip.duration_s, told, clip.notes)
    (folder / "index.html").write_text(recording_page(heard, backend, up=""), "utf-8")


def _write_files(results: Sequence[ExplainResult], folder: Path) -> tuple[Told, ...]:
    """Sounds and pictures of a recording's explanations, and what its page says of them."""
    for result in results:
        own = folder / result.explanation.method
        own.mkdir(parents=True)
        write_sounds(result, own)
        (own / "mask.webp").write_bytes(mask_picture(result))
    save_wav(results[0].clip, folder / "original.wav")
    return tuple(map(tell, results))
