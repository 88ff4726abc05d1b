"""Records what a page really plays: the samples on their way to the loudspeaker, after every gain."""

import base64

import numpy as np
from visit import Visit

# The player makes its AudioContext at the first press of Play; whatever it connects to the loudspeaker afterwards also
# goes to a recorder that runs beside it, in the audio thread.
TAP = """() => {
    const connect = AudioNode.prototype.connect;
    AudioNode.prototype.connect = function (target, ...others) {
        if (target === this.context.destination) {
            window.heardContext = this.context;
            if (window.recorder) connect.call(this, window.recorder);
        }
        return connect.call(this, target, ...others);
    };
}"""
START = """async () => {
    const code = `registerProcessor("recorder", class extends AudioWorkletProcessor {
        process([[samples]]) {
            this.port.postMessage([currentFrame, samples ? samples.slice() : new Float32Array(128)]);
            return true;
        }
    })`;
    const context = window.heardContext;
    await context.audioWorklet.addModule(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
    const recorder = new AudioWorkletNode(context, "recorder");
    window.recorded = [];
    recorder.port.onmessage = ({ data }) => window.recorded.push(data);
    recorder.connect(context.destination);
    window.recorder = recorder;
    return context.sampleRate;
}"""
TAKE = """() => {
    const chunks = window.recorded.splice(0);
    const bytes = new Uint8Array(Float32Array.from(chunks.flatMap(([, samples]) => [...samples])).buffer);
    let text = "";
    for (const byte of bytes) text += String.fromCharCode(byte);
    return [chunks.map(([frame]) => frame), btoa(text)];
}"""


class Recorder:
    """Everything that a visitor hears from now on; nothing has been played before.

    Attributes:
        rate: Hz, of the browser's output.
        broken: something is missing in what was taken last.
    """

    broken = False

    def __init__(self, visit: Visit) -> None:
        self.visit = visit
        visit.page.evaluate(TAP)
        visit.play.click()
        visit.until("state.playing")
        visit.play.click()
        self.rate: int = visit.page.evaluate(START)
        visit.page.wait_for_function("window.recorded.length > 40")  # it has found its pace
        visit.page.evaluate(TAKE)
        visit.page.keyboard.press("Home")

    def take(self, wait_ms: int = 0) -> np.ndarray:
        """(samples,) since the last call and for so many ms more; the longest stretch where the browser left nothing out.

        A browser on a busy machine leaves some out, then `broken` is true.
        """
        more = wait_ms * self.rate / 1000 / 128
        enough = self.visit.page.evaluate("window.recorded.length") + more
        self.visit.page.wait_for_function("enough => window.recorded.length >= enough", arg=enough)
        frames, text = self.visit.page.evaluate(TAKE)
        samples = np.frombuffer(base64.b64decode(text), np.float32).astype(float)
        breaks = 128 * (1 + np.flatnonzero(np.diff(frames) != 128))
        self.broken = len(breaks) > 0
        return max(np.split(samples, breaks), key=len)
