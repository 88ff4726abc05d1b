"""Who takes part in an evaluation: methods and controls, each in its mask domain."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.recording import Recording
from lmaczs.clap.target import Target
from lmaczs.errors import BackendUnavailableError, CheckpointError, LMACError
from lmaczs.evaluation.masks import CONTROLS, FORMS, SOFT_ONLY, Control
from lmaczs.explainers import METHODS, entry_of, load_explainer
from lmaczs.explainers.base import Method
from lmaczs.types import Explanation, MaskDomain

# Encoder passes for a window; a method that needs more is scored on fewer clips where that is asked for.
SLOW_PASSES = 60.0


@dataclass(frozen=True, eq=False)
class Contender:
    """A method or a control in one mask domain.

    Attributes:
        name: in the tables.
        method: that makes the masks.
        shared: stands in the tables of both domains, since its masks are the same sound in either.
    """

    name: str
    method: Method
    shared: bool = False

    @property
    def domain(self) -> MaskDomain:
        """Domain of its masks."""
        return self.method.domain

    @property
    def is_control(self) -> bool:
        """Whether no method made its masks."""
        return isinstance(self.method, Control)

    @property
    def slow(self) -> bool:
        """Whether it needs more than `SLOW_PASSES` encoder passes for a window."""
        return self.method.passes() > SLOW_PASSES

    @property
    def key(self) -> str:
        """Domain and name: the first two parts of its columns "domain/name/form/metric"."""
        return f"{'both' if self.shared else self.domain}/{self.name}"

    @property
    def forms(self) -> tuple[str, ...]:
        """The forms in which its masks are scored."""
        return ("soft",) if self.is_control and self.name in SOFT_ONLY else tuple(FORMS)

    def stands_in(self, domain: MaskDomain) -> bool:
        """Whether it belongs into the tables of a domain."""
        return self.shared or self.domain == domain

    def explain(
        self, recording: Recording, target: Target, clip: str, parts: tuple[Tensor, Tensor] | None = None
    ) -> Explanation:
        """Explain one recording.

        Args:
            recording: that the backend has heard.
            target: what is explained.
            clip: names the recording; decides the random mask.
            parts: the sound that is explained and the rest, (samples,) each; None where they are not known.
        """
        method = self.method.of_clip(clip, parts) if isinstance(self.method, Control) else self.method
        return method.explain(recording, target)


def contenders(
    methods: Iterable[tuple[str, Method]], domains: Sequence[MaskDomain], backend: CLAPBackend, seed: int = 0
) -> tuple[Contender, ...]:
    """Methods first, then the controls.

    Args:
        methods: (name, method), each in its own domain.
        domains: of the tables.
        backend: the classifier.
        seed: of the random control.
    """
    controls = [
        Contender(name, Control(backend, domain, name, str(seed)), shared=name in SOFT_ONLY)
        for name in CONTROLS
        for domain in (("stft",) if name in SOFT_ONLY else domains)
    ]
    return (*(Contender(name, method) for name, method in methods), *controls)


def load_methods(
    name: str, releases: Sequence[str], backend: CLAPBackend, domains: Sequence[MaskDomain]
) -> list[Method]:
    """A method in each domain that it has; one of given releases in the domains that these were trained for.

    Args:
        name: of the method; with releases also a name of one's own that begins with the method's, "lmac-zs-paper", so
            that one method with several weights can stand in a table.
        releases: of its weights; none takes the embedded ones.
        backend: the classifier.
        domains: wanted.

    Raises:
        LMACError: the method cannot be loaded, or the releases and the domains do not fit each other.
    """
    begins = [key for key in METHODS if name == key or (releases and name.startswith(f"{key}-"))]
    method_name = max(begins, key=len, default=name)
    known = [domain for domain in domains if domain in entry_of(method_name).domains]
    if not releases:
        # Where none is left, the method itself says what it can do.
        return [load_explainer(name, backend, domain) for domain in known or domains]
    found: dict[str, Method] = {}
    for release in releases:
        for method in _of_release(method_name, release, backend, known or domains):
            if method.domain in found:
                raise LMACError(
                    f"--releases gives '{name}' two releases for {method.domain} masks: give one for each domain."
                )
            found[method.domain] = method
    return [found[domain] for domain in domains if domain in found]


def _of_release(name: str, release: str, backend: CLAPBackend, domains: Sequence[MaskDomain]) -> list[Method]:
    """A method with the weights of a release, in those of the domains that they were trained for."""
    found: list[Method] = []
    for domain in domains:
        try:
            found.append(load_explainer(name, backend, domain, release=release))
        except (BackendUnavailableError, CheckpointError):
            raise
        except LMACError as error:
            refused = error
    if found:
        return found
    raise refused
