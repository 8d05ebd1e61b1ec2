// Waveforms and mels of all versions on one time axis, with the playback position and the faults that were found.

const SHOWN_FAULTS = 12; // as buttons; pictures mark all
const KINDS = { wave: "Waveform", mel: "Mel spectrogram", difference: "Difference from the original" };

class Pictures {
  constructor(names, media, transport, report) {
    Object.assign(this, { media, transport });
    this.figures = names.map((name, index) => this.figure(name, index));
    this.root = element(
      "div", { class: "pictures" }, ...this.figures, this.ruler(), legendOf(report.legends, media.highest),
    );
  }

  figure(name, index) {
    const version = this.media.versions[name];
    const pictures = Object.keys(KINDS).filter((kind) => version[kind]).map((kind) => this.picture(kind, name, index));
    const caption = element("figcaption", {}, name);
    return element("figure", { class: "rendition" }, caption, ...pictures, this.faults(version.faults, index));
  }

  picture(kind, name, index) {
    const version = this.media.versions[name];
    const image = element("img", { src: version[kind], alt: `${KINDS[kind]} of ${name}`, loading: "lazy", draggable: "false" });
    const box = element("div", { class: `picture ${kind}` }, image);
    if (kind !== "difference") box.append(...version.faults.map((fault) => this.mark(fault)));
    if (kind === "wave") box.append(...this.markLabels(version.faults));
    else box.append(element("span", { class: "kind", "aria-hidden": "true" }, kind === "mel" ? "mel" : "− original"));
    box.addEventListener("click", (event) => this.seekTo(event, box, index));
    return box;
  }

  seekTo(event, box, index) {
    const { left, width } = box.getBoundingClientRect();
    this.transport.select(index);
    this.transport.seek(((event.clientX - left) / width) * this.media.seconds);
  }

  percent(seconds) {
    return `${(100 * seconds) / this.media.seconds}%`;
  }

  mark([kind, start, stop]) {
    const mark = element("span", { class: "mark", "data-kind": kind, title: faultText([kind, start, stop]) });
    mark.style.left = this.percent(start);
    mark.style.width = this.percent(stop - start);
    return mark;
  }

  // The kind's name beside a mark, unless the name of the mark before is in its way.
  markLabels(faults) {
    const labels = [];
    let free = 0;
    for (const [kind, start] of [...faults].sort((a, b) => a[1] - b[1])) {
      const place = start / this.media.seconds;
      if (place < free) continue;
      free = place + 0.09;
      const label = element("span", { class: "mark-label", "aria-hidden": "true" }, kind);
      if (place > 0.85) label.style.right = `${100 * (1 - place)}%`;
      else label.style.left = this.percent(start);
      labels.push(label);
    }
    return labels;
  }

  faults(faults, index) {
    if (!faults.length) return null;
    const buttons = faults.slice(0, SHOWN_FAULTS).map((fault) => element(
      "button",
      { type: "button", onclick: () => { this.transport.select(index); this.transport.seek(Math.max(0, fault[1] - 0.2)); } },
      faultText(fault),
    ));
    const rest = faults.length - buttons.length;
    return element("p", { class: "faults" }, ...buttons, rest > 0 ? ` and ${rest} more` : null);
  }

  ruler() {
    const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60];
    const step = steps.find((each) => this.media.seconds / each <= 8) ?? 120;
    const ticks = [];
    for (let tick = 0; tick * step < this.media.seconds * 0.96; tick++) {
      const label = element("span", {}, `${formatNumber(tick * step, step < 1 ? 1 : 0)}${tick ? "" : " s"}`);
      label.style.left = this.percent(tick * step);
      ticks.push(label);
    }
    return element("div", { class: "ruler", "aria-hidden": "true" }, ...ticks);
  }

  follow(transport) {
    this.root.style.setProperty("--position", this.percent(transport.playback.position));
    this.figures.forEach((figure, index) => figure.classList.toggle("heard", index === transport.selected));
  }
}

function faultText([kind, start, stop]) {
  const span = stop - start >= 0.01 ? ` to ${stop.toFixed(2)}` : "";
  return `${kind} at ${start.toFixed(2)}${span} s`;
}

function legendOf(legends, highest) {
  const bar = (colours, low, high) => {
    const scale = element("span", { class: "scale", "aria-hidden": "true" });
    scale.style.background = colours;
    return [`${low} `, scale, ` ${high}`];
  };
  const { mel, difference } = legends;
  return element(
    "p", { class: "legend" },
    element("span", {}, `Mel, 0 to ${formatNumber(highest / 1000, highest % 1000 ? 1 : 0)} kHz: `, ...bar(mel.gradient, `−${mel.range} dB`, "loudest")),
    element("span", {}, "Difference: ", ...bar(difference.gradient, `−${difference.range} dB`, `+${difference.range} dB`)),
  );
}
