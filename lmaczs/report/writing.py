"""From recordings to the files of a report."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lmaczs.clap.base import CLAPBackend
from lmaczs.data.clips import Clip
from lmaczs.data.places import local_copy
from lmaczs.errors import LMACError
from lmaczs.explainers.base import Method
from lmaczs.hearing import explain, listen
from lmaczs.report.classes import profile
from lmaczs.report.pages import Heard, index_page, recording_page, tell
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
    by_prompt: defaultdict[tuple[str, str], list[ExplainResult]] = defaultdict(list)
    failed = 0
    for number, clip in enumerate(clips):
        step = part_of(progress, number / len(clips), (number + 1) / len(clips))
        try:
            heard, results = _report_one(wanted, clip, f"{number + 1:04d}", folder, step)
        except LMACError as error:
            failed += 1
            say(f"{clip.path}: {error}")
            continue
        recordings.append(heard)
        for result in results:
            by_prompt[result.target, result.explanation.method].append(_for_profile(result))
    if not recordings:
        raise LMACError("No recording could be reported: see the reasons above.")
    # Of one recording its own picture says more.
    averaged = (profile(members) for _, members in sorted(by_prompt.items()) if len(members) > 1)
    profiles = [found for found in averaged if found is not None]
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
) -> tuple[Heard, list[ExplainResult]]:
    """Explain one recording and write its files."""
    with local_copy(clip) as file:
        sound = load_clip(file, sample_rate=wanted.backend.spectral.sample_rate)
    recording = listen(sound, wanted.backend)
    results = []
    for number, method in enumerate(wanted.methods):
        step = part_of(progress, number / len(wanted.methods), (number + 1) / len(wanted.methods))
        results.append(explain(recording, wanted.prompts, wanted.backend, method, progress=step))
    files = folder / "files" / place
    for result in results:
        own = files / result.explanation.method
        own.mkdir(parents=True)
        write_sounds(result, own)
        (own / "mask.webp").write_bytes(mask_picture(result))
    save_wav(recording.clip, files / "original.wav")
    told = tuple(map(tell, results))
    label = clip.label or _folder_of(clip)
    heard = Heard(clip.path, label, place, results[0].prediction, sound.duration_s, told, sound.notes)
    return heard, results


def _folder_of(clip: Clip) -> str:
    """The folder that a recording lies in, as its class; "" at the top."""
    return Path(clip.path).parent.name


def _for_profile(result: ExplainResult) -> ExplainResult:
    """What a class-level explanation needs; sounds of hundreds of recordings would fill the memory."""
    silent = replace(result.listening, kept=result.clip, removed=result.clip, components=(), rest=None)
    return replace(result, listening=silent)
