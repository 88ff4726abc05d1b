"""The pages of a report: what is said of one recording, and the index by class."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from lmaczs.explainers import entry_of
from lmaczs.hearing.verdict import verdict_of
from lmaczs.metrics.registry import entries_of
from lmaczs.report.classes import Profile
from lmaczs.report.markup import bars, cards, page, picture, player, table
from lmaczs.report.picture import where_the_mask_lies
from lmaczs.types import ExplainResult, Prediction

PARTS = {"original": "original", "kept": "what counted", "removed": "what was ignored"}


@dataclass(frozen=True)
class Told:
    """One explanation as it stands on a page.

    Attributes:
        method: key.
        target: the sentence that is explained.
        words: where the mask lies.
        verdict: level and words; empty where there is none.
        probability: of the target, in [0, 1], when the classifier hears each part.
        numbers: metric -> number with its unit.
        components: relevance of each component that has a sound, most relevant first.
    """

    method: str
    target: str
    words: str
    verdict: tuple[str, str]
    probability: dict[str, float]
    numbers: dict[str, str]
    components: tuple[float, ...]


@dataclass(frozen=True)
class Heard:
    """One recording of a report.

    Attributes:
        name: as its source names it.
        label: its class, "" if it has none.
        place: name of its page and of its folder of files, made by the report.
        prediction: the classifier's decision.
        duration_s: seconds.
        told: an explanation by each method.
        notes: what was cut off or left out of the recording.
    """

    name: str
    label: str
    place: str
    prediction: Prediction
    duration_s: float
    told: tuple[Told, ...]
    notes: tuple[str, ...] = ()


def tell(result: ExplainResult) -> Told:
    """What a page says of an explanation; the sounds are not kept."""
    verdict = verdict_of(result)
    numbers = {}
    for entry in entries_of("explanation"):
        value = result.metrics.get(entry.key, float("nan"))
        if value == value:
            unit = f" {entry.unit}" if entry.unit in ("%", "dB", "nats", "pp") else ""
            numbers[entry.label] = f"{value:.{entry.decimals}f}{unit}"
    return Told(
        result.explanation.method,
        result.target,
        where_the_mask_lies(result),
        ("", "") if verdict is None else (verdict.level, verdict.words),
        dict(result.probability),
        numbers,
        tuple(part.relevance for part in result.explanation.components),
    )


def recording_page(heard: Heard, backend: str, up: str = "index.html") -> str:
    """The page of one recording.

    Args:
        heard: the recording.
        backend: name of the classifier.
        up: address of the index; "" if there is none.
    """
    files = f"files/{heard.place}"
    about = f"{heard.duration_s:.1f} s, heard by {backend}" + (
        f", labelled “{heard.label}”" if heard.label else ""
    )
    scores = {
        prompt: float(share)
        for prompt, share in sorted(
            zip(heard.prediction.prompts, heard.prediction.probabilities.tolist(), strict=True),
            key=lambda pair: -pair[1],
        )[:10]
    }
    parts = [
        f"<h1>{escape(heard.name)}</h1>",
        f'<p class="quiet">{escape(about)}</p>',
        *(f"<p>{escape(note)}</p>" for note in heard.notes),
        f'<div class="players">{player(PARTS["original"], f"{files}/original.wav")}</div>',
        bars(f"Probability of {len(heard.prediction.prompts)} prompts, the ten most probable", scores),
        *(_method_section(told, files) for told in heard.told),
    ]
    return page(heard.name, "\n".join(parts), up)


def _method_section(told: Told, files: str) -> str:
    entry, folder = entry_of(told.method), f"{files}/{told.method}"
    level, words = told.verdict
    sounds = [player(_named(part, told), f"{folder}/{part}.wav") for part in ("kept", "removed")]
    if told.components:
        sounds += [
            player(f"component {rank}, relevance {relevance:.2f}", f"{folder}/component-{rank:02d}.wav")
            for rank, relevance in enumerate(told.components, start=1)
        ]
    return "\n".join(
        (
            f"<section><h2>{escape(entry.label)}: what speaks for “{escape(told.target)}”</h2>",
            f'<p class="quiet">{escape(entry.sentence)} ({escape(entry.paper)})</p>',
            f'<p class="verdict {level}">{escape(words)}</p>' if words else "",
            picture(f"{folder}/mask.webp", told.words),
            f'<div class="players">{"".join(sounds)}</div>',
            table("Numbers of this explanation", told.numbers),
            "</section>",
        )
    )


def _named(part: str, told: Told) -> str:
    share = told.probability.get(part)
    return PARTS[part] if share is None else f"{PARTS[part]}, {100 * share:.1f} %"


def index_page(title: str, backend: str, recordings: Sequence[Heard], profiles: Sequence[Profile]) -> str:
    """All recordings by class.

    Args:
        title: of the report.
        backend: name of the classifier.
        recordings: in order.
        profiles: what each method found for each prompt that was explained more than once.
    """
    classes = dict.fromkeys(heard.label for heard in recordings)
    sections = []
    for label in classes:
        members = [heard for heard in recordings if heard.label == label]
        sections += [
            f"<section><h2>{escape(label or 'Recordings')}</h2>",
            cards(_card(heard) for heard in members),
            "</section>",
        ]
    if profiles:
        sections += [
            "<section><h2>What speaks for each prompt, over all recordings</h2>",
            *map(_profile, profiles),
        ]
        sections.append("</section>")
    count = f"{len(recordings)} recording{'s' * (len(recordings) != 1)}, heard by {backend}"
    return page(
        title, f'<h1>{escape(title)}</h1>\n<p class="quiet">{escape(count)}</p>\n' + "\n".join(sections)
    )


def _profile(profile: Profile) -> str:
    label = entry_of(profile.method).label
    count = f"{profile.count} recording{'s' * (profile.count != 1)}"
    edges = {f"up to {edge} Hz": value for edge, value in profile.bands.items()}
    share = 100 // max(len(profile.moments), 1)
    moments = {
        f"{share * number} to {share * (number + 1)} %": value for number, value in enumerate(profile.moments)
    }
    parts = [
        bars("How much is kept of each band", edges),
        bars("How much is kept of each tenth of the time", moments),
    ]
    if profile.components:
        named = {f"component {index}": f"{value:.2f}" for index, value in profile.best_components.items()}
        parts.append(table("Mean relevance of the components that count most", named))
    heading = f"“{escape(profile.prompt)}” by {escape(label)}, mean of {count}"
    return f'<h3>{heading}</h3><div class="profiles">{"".join(parts)}</div>'


def _card(heard: Heard) -> str:
    files, predicted = f"files/{heard.place}", heard.prediction.prompts[heard.prediction.predicted]
    share = 100 * float(heard.prediction.probabilities[heard.prediction.predicted])
    lines = [
        f'<h3><a href="{escape(heard.place)}.html">{escape(heard.name)}</a></h3>',
        f'<p class="quiet">{escape(predicted)}, {share:.1f} %</p>',
        player(PARTS["original"], f"{files}/original.wav"),
    ]
    for told in heard.told[:1]:
        level, words = told.verdict
        lines += [
            picture(f"{files}/{told.method}/mask.webp", told.words),
            player(_named("kept", told), f"{files}/{told.method}/kept.wav"),
            f'<p class="verdict {level}">{escape(words)}</p>' if words else "",
        ]
    return "\n".join(lines)
