// Several versions of one sound at the same time, of which one is heard.
//
// Both classes have: load(), seconds, playing, position, atEnd,
// play(), pause(), seek(seconds), select(index), loop, gains.

let sharedContext = null; // browsers allow only a few; made at the first play, because it needs a user's action

async function audioContext() {
  sharedContext ??= new AudioContext();
  await sharedContext.resume();
  return sharedContext;
}

function decodeBase64(uri) {
  const binary = atob(uri.slice(uri.indexOf(",") + 1));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0)).buffer;
}

// Sounds inside the page: decoded, started on the same sample, and switched by their gains.
class BufferPlayback {
  constructor(uris) {
    this.uris = uris;
    this.selected = 0;
    this.playing = false;
    this.sources = [];
    this.levels = uris.map(() => 1);
    this.offset = 0;
    this.looping = false;
  }

  async load() {
    this.context = await audioContext();
    this.buffers ??= await Promise.all(this.uris.map((uri) => this.context.decodeAudioData(decodeBase64(uri))));
    this.seconds = Math.max(...this.buffers.map((buffer) => buffer.duration));
  }

  get position() {
    if (!this.playing) return this.offset;
    const position = this.offset + Math.max(0, this.context.currentTime - this.started);
    return this.looping ? position % this.seconds : Math.min(position, this.seconds);
  }

  get atEnd() {
    return this.playing && !this.looping && this.position >= this.seconds;
  }

  play() {
    this.stopSources();
    if (this.offset >= this.seconds) this.offset = 0;
    this.started = this.context.currentTime + 0.01; // all are scheduled by then
    this.sources = this.buffers.map((buffer, index) => this.startSource(buffer, index));
    this.playing = true;
  }

  startSource(buffer, index) {
    const source = this.context.createBufferSource();
    const gain = this.context.createGain();
    source.buffer = buffer;
    source.loop = this.looping;
    gain.gain.value = this.gainOf(index);
    source.connect(gain).connect(this.context.destination);
    source.start(this.started, this.offset);
    return { source, gain };
  }

  pause() {
    this.offset = this.position;
    this.playing = false;
    this.stopSources();
  }

  seek(seconds) {
    this.offset = Math.min(Math.max(0, seconds), this.seconds ?? seconds);
    if (this.playing) this.play();
  }

  select(index) {
    this.selected = index;
    this.applyGains();
  }

  set loop(value) {
    this.offset = this.position; // of the present round
    if (this.playing) this.started = Math.max(this.started, this.context.currentTime);
    this.looping = value;
    for (const { source } of this.sources) source.loop = value;
  }

  set gains(levels) {
    this.levels = levels;
    this.applyGains();
  }

  gainOf(index) {
    return index === this.selected ? this.levels[index] : 0;
  }

  applyGains() {
    this.sources.forEach(({ gain }, index) => {
      gain.gain.setTargetAtTime(this.gainOf(index), this.context.currentTime, 0.003); // a jump would click
    });
  }

  stopSources() {
    for (const { source } of this.sources) source.stop();
    this.sources = [];
  }
}

// Sounds in files beside the page. From disk, a page may play files but not read them, so that they cannot be decoded:
// all play at once, muted except for one, and those that are muted are kept in step with it.
class ElementPlayback {
  constructor(uris) {
    this.uris = uris;
    this.selected = 0;
    this.playing = false; // also between two rounds
    this.looping = false;
    this.pending = 0;
  }

  async load() {
    this.elements ??= this.uris.map((uri) => element("audio", { src: uri, preload: "auto" }));
    await Promise.all(this.elements.map((audio) => this.ready(audio)));
    this.seconds = Math.max(...this.elements.map((audio) => audio.duration));
    this.longest = this.elements.find((audio) => audio.duration === this.seconds);
    this.longest.onended = () => this.looping && this.play();
    this.applyGains();
    this.seek(this.pending);
  }

  ready(audio) {
    if (audio.readyState >= HTMLMediaElement.HAVE_METADATA) return Promise.resolve();
    return new Promise((resolve, reject) => {
      audio.addEventListener("loadedmetadata", resolve, { once: true });
      audio.addEventListener("error", () => reject(new Error(audio.getAttribute("src"))), { once: true });
    });
  }

  get atEnd() {
    return this.playing && !this.looping && this.longest.ended;
  }

  get position() {
    if (!this.longest) return this.pending;
    const current = this.elements[this.selected];
    return current.ended ? this.longest.currentTime : current.currentTime;
  }

  play() {
    if (this.longest.ended) this.seek(0);
    this.playing = true;
    for (const audio of this.elements) if (audio.currentTime < audio.duration) audio.play().catch(ignoreInterruption);
  }

  pause() {
    const position = this.position;
    this.playing = false;
    for (const audio of this.elements) audio.pause();
    this.seek(position);
  }

  seek(seconds) {
    this.pending = Math.max(0, seconds);
    for (const audio of this.elements ?? []) audio.currentTime = Math.min(this.pending, audio.duration);
  }

  select(index) {
    if (this.elements) {
      const position = this.position;
      const next = this.elements[index];
      if (Math.abs(next.currentTime - position) > 0.015) next.currentTime = Math.min(position, next.duration);
    }
    this.selected = index;
    this.applyGains();
  }

  // Not at every frame: moving takes a while, and would otherwise never come to its end.
  align() {
    if (!this.playing || performance.now() < (this.alignedUntil ?? 0)) return;
    this.alignedUntil = performance.now() + 400;
    this.elements.forEach((audio, index) => {
      const off = Math.abs(audio.currentTime - this.position);
      if (index !== this.selected && off > 0.02 && this.position < audio.duration) audio.currentTime = this.position;
    });
  }

  set loop(value) {
    this.looping = value;
  }

  set gains(levels) {
    this.levels = levels;
    this.applyGains();
  }

  applyGains() {
    this.elements?.forEach((audio, index) => {
      audio.volume = this.levels?.[index] ?? 1;
      audio.muted = index !== this.selected;
    });
  }
}

// Gains that make all versions as loud as the quietest, so that none can clip. Silent ones have no loudness.
function equalGains(loudness) {
  const quietest = Math.min(...loudness.filter((lufs) => lufs !== null));
  return loudness.map((lufs) => (lufs === null ? 1 : 10 ** ((quietest - lufs) / 20)));
}

// A pause ends a play() that has not begun: no error.
function ignoreInterruption(error) {
  if (error.name !== "AbortError") throw error;
}
