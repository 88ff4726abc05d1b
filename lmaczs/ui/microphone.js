// A sound classifier must hear what the room hears. Browsers clean a microphone up for telephone calls unless they are
// told not to: rain, hum and applause are "noise" to them, and the level is pumped up and down.
(() => {
  const devices = navigator.mediaDevices;
  if (!devices || !devices.getUserMedia) return;
  const ask = devices.getUserMedia.bind(devices);
  const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  devices.getUserMedia = (wanted = {}) =>
    ask(wanted.audio ? { ...wanted, audio: { ...(wanted.audio === true ? {} : wanted.audio), ...plain } } : wanted);
})();
