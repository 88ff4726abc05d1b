"""What the tests of the lanes say and measure."""

import re

import numpy as np
from bands import ORDER
from playwright.sync_api import Locator
from recorder import Recorder
from visit import Visit

RATE, SECONDS = 44100, 30.0
TONES_HZ = np.array([300.0, 790.0, 1830.0, 3470.0])  # one in each band
AMPLITUDES = np.array([0.2, 0.15, 0.1, 0.08])
QUIET_HZ = (4500, 7500)  # where the recording has nothing, and a click would have something
STEADY_S = 0.15
TRIES = 5  # until a recording of the browser's output has no gap


def part_of(band: str | int) -> str:
    """Name of the part that plays a band; the lanes are counted from 1."""
    return "rest" if isinstance(band, str) else f"component-{1 + ORDER.index(band)}"


def lane(visit: Visit, band: str | int) -> Locator:
    return visit.page.locator(f'.lz-lane[data-part="{part_of(band)}"]')


def solo(visit: Visit, band: str | int) -> Locator:
    return lane(visit, band).get_by_role("button", name="Solo")


def overrule(visit: Visit, band: str | int) -> Locator:
    """Mutes what is heard, adds what is not."""
    return lane(visit, band).locator(".lz-lane-hand")


def phasors(samples: np.ndarray, rate: int) -> np.ndarray:
    """Amplitude and phase of the four tones, (4,) complex, by least squares; the phase at the first sample."""
    time_s = np.arange(len(samples)) / rate
    waves = np.exp(2j * np.pi * TONES_HZ[:, None] * time_s)
    parts, *_ = np.linalg.lstsq(np.concatenate([waves.real, -waves.imag]).T, samples, rcond=None)
    return parts[:4] + 1j * parts[4:]


def levels(recorder: Recorder) -> np.ndarray:
    """Amplitudes of the four tones in what is heard now, once the gains stand."""
    recorder.take(100)
    samples = recorder.take(round(1000 * STEADY_S))
    assert len(samples) > 0.3 * STEADY_S * recorder.rate
    return np.abs(phasors(samples, recorder.rate))


def heard(bands: dict[int, float], others: float = 0.0) -> list[float]:
    """Share of each tone that should be heard."""
    return [bands.get(band, others) for band in range(4)]


def outline(visit: Visit, index: int) -> np.ndarray:
    """(points, 2) of the drawn frequencies: right and down, 0 to 100."""
    path = lane(visit, index).locator(".lz-lane-pattern path").get_attribute("d")
    return np.array(
        [[float(number) for number in pair.split(",")] for pair in path.split("L")[1].split()[:-2]]
    )


def click_of(samples: np.ndarray, rate: int) -> float:
    """Peak of what lies in QUIET_HZ, without the ends of the recording."""
    spectrum = np.fft.rfft(samples * np.hanning(len(samples)))
    hertz = np.fft.rfftfreq(len(samples), 1 / rate)
    spectrum[(hertz < QUIET_HZ[0]) | (hertz > QUIET_HZ[1])] = 0
    return float(np.abs(np.fft.irfft(spectrum, len(samples))).max())


def brightness_of(colour: str) -> float:
    return float(np.mean([int(number) for number in re.findall(r"\d+", colour)[:3]]))


def pixels(visit: Visit) -> np.ndarray:
    data = visit.page.locator(".lz-picture").evaluate(
        """canvas => {
            const copy = new OffscreenCanvas(60, 60);
            const context = copy.getContext("2d");
            context.drawImage(canvas, 0, 0, 60, 60);
            return [...context.getImageData(0, 0, 60, 60).data];
        }"""
    )
    return np.array(data).reshape(60, 60, 4)[:, :, :3].astype(float)
