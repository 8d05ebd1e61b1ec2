// The controls of one player: play, position, versions, loop and loudness. Keys: Space, 1 to 9, left and right.

const SEEK_SECONDS = 1;
let activeTransport = null; // the one that keys go to when the focus is on nothing
let soundingTransport = null; // the one that played last

class Transport {
  // versions: [{label, uri, loudness}]; onchange is called with the transport at every frame while it plays.
  constructor(versions, { seconds, inside, equal = false, onchange = () => {} }) {
    this.versions = versions;
    this.seconds = seconds;
    this.onchange = onchange;
    this.selected = 0;
    const uris = versions.map((version) => version.uri);
    this.playback = inside ? new BufferPlayback(uris) : new ElementPlayback(uris);
    this.root = this.build(equal);
    this.setEqual(equal);
    this.select(0);
    this.update();
  }

  build(equal) {
    this.button = element("button", { type: "button", class: "play", onclick: () => this.toggle() });
    this.slider = element("input", {
      type: "range", class: "position", min: 0, max: this.seconds, step: 0.01, value: 0, "aria-label": "Position",
      oninput: () => this.seek(Number(this.slider.value)),
    });
    this.clock = element("span", { class: "clock" });
    this.message = element("p", { class: "message", role: "status" });
    this.buttons = this.versions.map((version, index) => this.versionButton(version, index));
    const loop = checkbox("Loop", false, (on) => (this.playback.loop = on));
    const loudness = checkbox("Equal loudness", equal, (on) => this.setEqual(on));
    return element(
      "div", { class: "transport" },
      element("div", { class: "versions", role: "group", "aria-label": "Version that is heard" }, ...this.buttons),
      element("div", { class: "time" }, this.button, this.slider, this.clock, loop.label, loudness.label),
      this.message,
    );
  }

  versionButton(version, index) {
    const key = index < 9 ? element("kbd", { "aria-hidden": "true" }, String(index + 1)) : null;
    const properties = { type: "button", class: "version-button", onclick: () => this.select(index) };
    return element("button", properties, key, element("span", {}, version.label));
  }

  async toggle() {
    if (this.playback.playing) this.pause();
    else await this.play();
  }

  async play() {
    if (soundingTransport !== this) soundingTransport?.pause();
    activeTransport = soundingTransport = this;
    try {
      await this.playback.load();
    } catch (error) {
      this.message.textContent =
        `This browser cannot play ${error.message}. Is the report still in its folder, beside the wavs?`;
      return;
    }
    this.playback.play();
    this.update();
    this.follow();
  }

  pause() {
    if (this.playback.playing) this.playback.pause();
    this.update();
  }

  seek(seconds) {
    activeTransport = this;
    this.playback.seek(Math.min(Math.max(0, seconds), this.seconds));
    this.update();
  }

  select(index) {
    this.selected = index;
    this.playback.select(index);
    this.buttons.forEach((button, other) => button.setAttribute("aria-pressed", String(other === index)));
    this.onchange(this);
  }

  setEqual(on) {
    const loudness = this.versions.map((version) => version.loudness);
    this.playback.gains = on ? equalGains(loudness) : loudness.map(() => 1);
  }

  follow() {
    requestAnimationFrame(() => {
      this.finishAtEnd();
      this.playback.align?.();
      this.update();
      if (this.playback.playing) this.follow();
    });
  }

  finishAtEnd() {
    const { playback } = this;
    if (!playback.atEnd) return;
    playback.pause();
    playback.seek(0);
  }

  update() {
    const { position, playing } = this.playback;
    this.button.textContent = playing ? "Pause" : "Play";
    this.slider.value = position;
    this.slider.setAttribute("aria-valuetext", `${position.toFixed(1)} of ${this.seconds.toFixed(1)} seconds`);
    this.clock.textContent = `${position.toFixed(2)} / ${this.seconds.toFixed(2)} s`;
    this.onchange(this);
  }

  // Whether the key meant something here. Space presses a button that has the focus, as everywhere, except for that of
  // the version that is heard already.
  handleKey(event) {
    const { target, key } = event;
    if (event.ctrlKey || event.altKey || event.metaKey || target.matches("select, textarea, input[type=text]")) return false;
    if (key >= "1" && key <= "9") {
      if (Number(key) > this.versions.length) return false;
      this.select(Number(key) - 1);
    } else if (key === " ") {
      const idle = target.matches(".version-button[aria-pressed=true], .position");
      if (target.matches("button, input, summary, a") && !idle) return false;
      this.toggle();
    } else if (key === "ArrowLeft" || key === "ArrowRight") {
      this.seek(this.playback.position + (key === "ArrowLeft" ? -SEEK_SECONDS : SEEK_SECONDS));
    } else {
      return false;
    }
    event.preventDefault();
    return true;
  }
}
