"""Everyday sounds made from arithmetic: the same generator gives the same float64 waveform.

Each sound follows how the real one comes about (a struck bell rings in inharmonic partials, an engine is a
train of explosions in a pipe, rain is many drops), because the embedded CLAP has only ever heard real ones.
"""

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
Waveform = NDArray[np.float64]


def seconds_axis(duration_s: float) -> Waveform:
    """Time of each sample, s."""
    return np.arange(round(duration_s * SAMPLE_RATE)) / SAMPLE_RATE


def normalised(waveform: Waveform, rms_db: float = -20.0, peak: float = 0.9) -> Waveform:
    """Scale to a root mean square of `rms_db` dB re full scale; quieter where the peak would pass `peak`."""
    scale = 10 ** (rms_db / 20) / np.sqrt(np.mean(waveform**2))
    return waveform * min(scale, peak / np.abs(waveform).max())


def shaped_noise(num_samples: int, rng: np.random.Generator, points: dict[float, float]) -> Waveform:
    """White noise through a filter drawn by hand.

    Args:
        num_samples: length.
        rng: source of the noise.
        points: Hz -> dB, joined by straight lines over the logarithm of frequency.
    """
    spectrum = np.fft.rfft(rng.standard_normal(num_samples))
    hertz = np.maximum(np.fft.rfftfreq(num_samples, 1 / SAMPLE_RATE), 1.0)
    gain_db = np.interp(np.log(hertz), np.log(list(points)), list(points.values()))
    return np.fft.irfft(spectrum * 10 ** (gain_db / 20), num_samples)


def convolved(waveform: Waveform, response: Waveform) -> Waveform:
    """Linear convolution by FFT, cut to the length of `waveform`."""
    size = len(waveform) + len(response)
    return np.fft.irfft(np.fft.rfft(waveform, size) * np.fft.rfft(response, size), size)[: len(waveform)]


def in_room(waveform: Waveform, rng: np.random.Generator, decay_s: float, share: float) -> Waveform:
    """Add the reverberation of a room or a street.

    Args:
        waveform: the dry sound.
        rng: source of the room.
        decay_s: time in which the tail falls by 60 dB, s.
        share: level of the tail relative to the dry sound, > 0.
    """
    tail = shaped_noise(round(decay_s * SAMPLE_RATE), rng, {100: -6, 400: 0, 2000: -3, 8000: -15})
    tail *= 10 ** (-3 * seconds_axis(decay_s) / decay_s)
    tail[: round(0.004 * SAMPLE_RATE)] = 0.0
    wet = convolved(waveform, tail / np.sqrt(np.sum(tail**2)))
    return waveform + share * wet


def struck(modes: list[tuple[float, float, float]], duration_s: float, rng: np.random.Generator) -> Waveform:
    """A body that was hit once.

    Args:
        modes: frequency in Hz, amplitude, time in which it falls by 60 dB in s.
        duration_s: length, s.
        rng: source of the phases.
    """
    time = seconds_axis(duration_s)
    body = np.zeros_like(time)
    for hertz, amplitude, decay_s in modes:
        phase = rng.uniform(0, 2 * np.pi)
        body += amplitude * 10 ** (-3 * time / decay_s) * np.sin(2 * np.pi * hertz * time + phase)
    return body * np.minimum(1.0, time / 0.0005)


def place(target: Waveform, event: Waveform, start_s: float, gain: float = 1.0) -> None:
    """Add `event` into `target` from `start_s`; what reaches past the end is cut."""
    start = round(start_s * SAMPLE_RATE)
    part = event[: max(0, len(target) - start)]
    target[start : start + len(part)] += gain * part


def harmonics(phase: Waveform, amplitudes: list[float]) -> Waveform:
    """Overtones of a tone that may glide; each falls silent before it would pass half the sample rate.

    Args:
        phase: of the fundamental, cycles.
        amplitudes: from the fundamental on.
    """
    hertz = np.gradient(phase) * SAMPLE_RATE
    tone = np.zeros_like(phase)
    for order, amplitude in enumerate(amplitudes, start=1):
        room = np.clip((0.48 * SAMPLE_RATE - order * hertz) / 500, 0.0, 1.0)
        tone += amplitude * room * np.sin(2 * np.pi * order * phase)
    return tone


def gate(time: Waveform, start_s: float, stop_s: float, edge_s: float = 0.01) -> Waveform:
    """1 between start and stop with straight edges, else 0."""
    return np.clip(np.minimum(time - start_s, stop_s - time) / edge_s, 0.0, 1.0)


def siren(duration_s: float, rng: np.random.Generator) -> Waveform:
    """An electronic wail that rises and falls between 650 and 1450 Hz, in a street."""
    time = seconds_axis(duration_s)
    turn = (time / 3.2 + 0.12) % 1.0
    quarter = np.where(turn < 0.4, turn / 0.4, 1 + (turn - 0.4) / 0.6)  # rises faster than it falls
    sweep = np.sin(0.5 * np.pi * quarter) ** 1.2
    phase = np.cumsum(650 * (1450 / 650) ** sweep) / SAMPLE_RATE
    tone = harmonics(phase, [1.0, 0.5, 0.55, 0.25, 0.22, 0.1, 0.08])
    tone *= 1 + 0.25 * np.sin(2 * np.pi * 0.31 * time + 1.0)  # wind and passing walls
    traffic = shaped_noise(len(time), rng, {40: 0, 200: -2, 1000: -12, 4000: -28, 8000: -40})
    return normalised(normalised(in_room(tone, rng, 1.8, 0.8)) + normalised(traffic, -40.0))


def rain(duration_s: float, rng: np.random.Generator) -> Waveform:
    """Steady rain: a hiss of far drops and the patter of near ones."""
    num_samples = len(seconds_axis(duration_s))
    hiss = shaped_noise(num_samples, rng, {60: -30, 300: -14, 1200: -3, 3000: 0, 6000: -1, 8000: -3})
    patter = np.zeros(num_samples)
    for start_s in np.sort(rng.uniform(0, duration_s, round(160 * duration_s))):
        hertz = float(np.exp(rng.uniform(np.log(900), np.log(6500))))
        drop = struck([(hertz, 1.0, 0.012), (1.9 * hertz % 7800, 0.5, 0.006)], 0.02, rng)
        place(patter, drop, float(start_s), float(rng.pareto(2.5) + 0.2))
    return normalised(normalised(hiss) + 0.6 * normalised(patter, -20.0, 10.0))


def church_bell(duration_s: float, rng: np.random.Generator) -> Waveform:
    """Two bells of a tower in turn: hum, prime, minor tierce, quint, nominal and what lies above."""
    ratios = [0.5, 1.0, 1.2, 1.5, 2.0, 2.5, 2.66, 3.01, 4.17, 5.43, 6.8, 8.2, 9.7]
    levels = [0.6, 0.8, 0.9, 0.4, 1.0, 0.3, 0.6, 0.9, 0.7, 0.45, 0.27, 0.15, 0.09]
    decays = [9.0, 6.0, 4.5, 3.0, 3.5, 2.0, 1.8, 1.6, 1.0, 0.7, 0.45, 0.3, 0.25]
    sound = np.zeros(len(seconds_axis(duration_s)))
    for number, start_s in enumerate(np.arange(0.05, duration_s, 0.85)):
        prime = (392.0, 329.6)[number % 2]
        modes = [
            (prime * ratio * split, level, decay)
            for ratio, level, decay in zip(ratios, levels, decays, strict=True)
            for split in (0.9985, 1.0015)  # no bell is round: each partial is a pair that beats
        ]
        strike = struck(modes, 2.5, rng)
        clapper = shaped_noise(800, rng, {200: -10, 1500: 0, 6000: -6}) * np.exp(-np.arange(800) / 120)
        strike[:800] += clapper
        place(sound, strike, float(start_s), float(rng.uniform(0.85, 1.0)))
    return normalised(in_room(sound, rng, 2.5, 0.35))


def crickets(duration_s: float, rng: np.random.Generator) -> Waveform:
    """Three field crickets at night: chirps of three to four wing strokes at 4 to 5 kHz."""
    time = seconds_axis(duration_s)
    sound = np.zeros_like(time)
    for hertz, per_second, level in ((4350.0, 2.6, 1.0), (4720.0, 2.1, 0.5), (4080.0, 3.1, 0.3)):
        start_s = float(rng.uniform(0.0, 0.4))
        while start_s < duration_s:
            for stroke in range(int(rng.integers(3, 5))):
                length_s = 0.018 + 0.003 * stroke
                local = seconds_axis(length_s)
                pulse = np.sin(np.pi * local / length_s) ** 0.8
                glide = hertz * (1 - 0.03 * local / length_s) * float(rng.uniform(0.997, 1.003))
                tone = np.sin(2 * np.pi * glide * local) + 0.03 * np.sin(2 * np.pi * 2 * glide * local)
                place(sound, pulse * tone, start_s + 0.033 * stroke, level * (0.7 + 0.1 * stroke))
            start_s += float(rng.normal(1.0, 0.06)) / per_second
    night = normalised(shaped_noise(len(time), rng, {50: 0, 500: -10, 3000: -20, 8000: -24}), -50.0)
    return normalised(in_room(normalised(sound, -20.0, 10.0), rng, 0.5, 0.25) + night)


def engine(duration_s: float, rng: np.random.Generator) -> Waveform:
    """A four-cylinder engine idling at about 780 revolutions per minute, heard from beside the car."""
    time = seconds_axis(duration_s)
    wander = np.interp(time, np.linspace(0, duration_s, 12), rng.normal(0, 0.012, 12))
    cycles = np.cumsum(13.0 * (1 + wander)) / SAMPLE_RATE * 2  # two firings per revolution
    firing = np.zeros_like(time)
    exhaust = [(52, 0.6, 0.15), (82, 0.9, 0.12), (105, 1.0, 0.1), (150, 0.8, 0.08), (215, 0.5, 0.06)]
    blast = struck([*exhaust, (340, 0.25, 0.04), (560, 0.12, 0.03)], 0.2, rng)
    uneven = (1.0, 0.75, 1.1, 0.9)  # no two cylinders are alike
    for number, start in enumerate(np.flatnonzero(np.diff(np.floor(cycles)) > 0)):
        place(firing, blast, start / SAMPLE_RATE, uneven[number % 4] * float(rng.uniform(0.9, 1.1)))
    breath = 0.1 + 1.8 * (0.5 + 0.5 * np.cos(2 * np.pi * (cycles - 0.1))) ** 2
    intake = shaped_noise(len(time), rng, {40: -20, 300: 0, 1000: -3, 4000: -8, 8000: -20}) * breath
    valves = shaped_noise(len(time), rng, {500: -40, 2500: -6, 4000: 0, 6000: -6, 8000: -12})
    valves *= np.maximum(0, np.cos(2 * np.pi * cycles)) ** 16
    mix = normalised(firing) + normalised(intake, -35.0) + normalised(valves, -45.0)
    return normalised(in_room(mix, rng, 0.25, 0.15))


def car_horn(duration_s: float, rng: np.random.Generator) -> Waveform:
    """Two honks of a two-tone car horn (about 415 and 520 Hz, loudest near 2 kHz), in a street."""
    time = seconds_axis(duration_s)
    diaphragm = [0.3, 0.5, 0.7, 1.0, 1.0, 0.9, 0.7, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.1]
    tone = harmonics(415.3 * time, diaphragm) + 0.9 * harmonics(522.0 * time, diaphragm)
    honks = gate(time, 0.05 * duration_s, 0.21 * duration_s) + gate(time, 0.55 * duration_s, 0.9 * duration_s)
    return normalised(in_room(tone * honks, rng, 0.6, 0.25))


def alarm_clock(duration_s: float, rng: np.random.Generator) -> Waveform:
    """A digital alarm clock: groups of four short beeps of a piezo disc on a bedside table."""
    time = seconds_axis(duration_s)
    beeps = sum(
        (gate(time, start + 0.125 * k, start + 0.125 * k + 0.065, 0.003)
         for start in np.arange(0.15, duration_s, 1.0) for k in range(4)),
        np.zeros_like(time),
    )  # fmt: skip
    tone = harmonics(2048.0 * time, [1.0, 0.12, 0.3])
    return normalised(in_room(tone * beeps, rng, 0.35, 0.25))


def door_knock(duration_s: float, rng: np.random.Generator) -> Waveform:
    """Knuckles on a wooden door, three knocks at a time, in a hallway."""
    sound = np.zeros(len(seconds_axis(duration_s)))
    for group_s in np.arange(0.2, duration_s, 1.7):
        for knock in range(3):
            modes = [
                (float(hertz * rng.uniform(0.98, 1.02)), level, decay)
                for hertz, level, decay in (
                    (105, 0.8, 0.16), (178, 1.0, 0.13), (262, 0.8, 0.1), (410, 0.6, 0.07), (690, 0.45, 0.05),
                    (1120, 0.3, 0.03), (1850, 0.2, 0.02),
                )
            ]  # fmt: skip
            hit = struck(modes, 0.25, rng)
            hit[:96] += 0.5 * rng.standard_normal(96) * np.exp(-np.arange(96) / 20)
            place(sound, hit, float(group_s) + 0.21 * knock, float(rng.uniform(0.8, 1.0)))
    return normalised(in_room(sound, rng, 0.5, 0.3))


def clock_tick(duration_s: float, rng: np.random.Generator) -> Waveform:
    """A mechanical wall clock: tick and tock, four times in a second, in a quiet room."""
    sound = np.zeros(len(seconds_axis(duration_s)))
    for count, start_s in enumerate(np.arange(0.06, duration_s, 0.25)):
        pitch = (1.0, 0.86)[count % 2]
        for delay_s, level in ((0.0, 0.6), (0.007, 1.0), (0.016, 0.35)):  # the three blows of the escapement
            modes = [
                (2350 * pitch, 0.6, 0.02), (3300 * pitch, 1.0, 0.016), (4700 * pitch, 0.8, 0.012),
                (6100 * pitch, 0.5, 0.01), (820 * pitch, 0.35, 0.03), (390 * pitch, 0.25, 0.04),
            ]  # fmt: skip
            blow = struck(modes, 0.05, rng) * float(rng.uniform(0.9, 1.1))
            place(sound, blow, float(start_s) + delay_s, level)
    return normalised(in_room(sound, rng, 0.3, 0.2), -26.0)


def sea_waves(duration_s: float, rng: np.random.Generator) -> Waveform:
    """Waves that roll onto a beach: each one swells, breaks, and runs out over pebbles."""
    time = seconds_axis(duration_s)
    deep = shaped_noise(len(time), rng, {30: -6, 120: 0, 500: -8, 2000: -22, 8000: -40})
    foam = shaped_noise(len(time), rng, {100: -30, 600: -4, 2000: 0, 5000: -3, 8000: -8})
    swell, breaking = np.full_like(time, 0.12), np.full_like(time, 0.06)
    start_s = -1.2
    while start_s < duration_s:
        rise_s, fall_s, height = rng.uniform(0.9, 1.4), rng.uniform(1.6, 2.4), rng.uniform(0.7, 1.0)
        past = time - start_s
        swell += height * np.where(
            past < rise_s, np.clip(past / rise_s, 0, 1) ** 2, np.exp(-(past - rise_s) / 0.7)
        )
        crash = np.clip((past - rise_s + 0.15) / 0.2, 0, 1) * np.exp(
            -np.clip(past - rise_s, 0, None) / (0.4 * fall_s)
        )
        breaking += height * np.where(past < 0, 0.0, crash)
        start_s += rng.uniform(2.6, 3.4)
    return normalised(normalised(deep) * swell + 0.9 * normalised(foam) * breaking)


def bird_song(duration_s: float, rng: np.random.Generator) -> Waveform:
    """Two songbirds that answer each other: short whistles that slide, and trills."""
    sound = np.zeros(len(seconds_axis(duration_s)))
    start_s = 0.1
    while start_s < duration_s - 0.2:
        bird = rng.integers(2)
        notes, low = (int(rng.integers(2, 5)), 2700.0) if bird else (int(rng.integers(3, 6)), 3600.0)
        length_s = rng.uniform(0.12, 0.2) if bird else rng.uniform(0.07, 0.1)
        for _ in range(notes):
            time = seconds_axis(length_s)
            share = time / length_s
            bend, turns, drift = rng.uniform(0.2, 0.45), rng.uniform(0.6, 1.6), 0.02 * rng.uniform()
            hertz = low * (1 + bend * np.sin(np.pi * share * turns) + drift)
            note = harmonics(np.cumsum(hertz) / SAMPLE_RATE, [1.0, 0.08]) * np.sin(np.pi * share) ** 0.7
            place(sound, note, start_s, float(rng.uniform(0.6, 1.0)) * (1.0 if bird else 0.7))
            start_s += length_s * (1.35 if bird else 1.5)
        start_s += rng.uniform(0.2, 0.5)
    return normalised(in_room(sound, rng, 0.8, 0.25), -24.0)


def helicopter(duration_s: float, rng: np.random.Generator) -> Waveform:
    """A helicopter overhead: the slap of its blades, eleven in a second, over turbine and rotor wash."""
    time = seconds_axis(duration_s)
    slap = np.zeros_like(time)
    for start_s in np.arange(0.02, duration_s, 1 / 11.3):
        blow = shaped_noise(
            round(0.07 * SAMPLE_RATE), rng, {30: 0, 90: 3, 300: 0, 900: -10, 3000: -22, 8000: -36}
        )
        place(slap, blow * np.exp(-seconds_axis(0.07) / 0.014), float(start_s), float(rng.uniform(0.9, 1.1)))
    beat = 0.55 + 0.45 * np.cos(2 * np.pi * 11.3 * time)
    wash = shaped_noise(len(time), rng, {40: -4, 150: 0, 700: -6, 2500: -14, 8000: -24}) * beat
    turbine = harmonics(np.cumsum(1180 + 4 * np.sin(2 * np.pi * 0.4 * time)) / SAMPLE_RATE, [1.0, 0.3, 0.15])
    return normalised(normalised(slap) + normalised(wash, -24.0) + normalised(turbine, -44.0))


def vacuum_cleaner(duration_s: float, rng: np.random.Generator) -> Waveform:
    """A vacuum cleaner pushed to and fro: a motor's whine and its overtones in a roar of air."""
    time = seconds_axis(duration_s)
    load = np.sin(2 * np.pi * 0.55 * time + 0.6)
    whine = harmonics(
        np.cumsum(318 * (1 + 0.012 * load)) / SAMPLE_RATE, [0.7, 1.0, 0.45, 0.5, 0.25, 0.3, 0.15, 0.1]
    )
    air = shaped_noise(len(time), rng, {60: -12, 200: -3, 700: 0, 2500: -2, 6000: -8, 8000: -12}) * (
        1 + 0.15 * load
    )
    return normalised(in_room(normalised(air) + normalised(whine, -27.0), rng, 0.4, 0.2))
