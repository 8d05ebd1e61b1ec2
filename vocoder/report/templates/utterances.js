// The list of utterances: sorted, filtered, and each with a player and pictures once it is opened.

class UtteranceList {
  constructor(report, section) {
    this.report = report;
    this.list = section.querySelector(".utterances");
    this.order = section.querySelector("#order");
    this.measure = section.querySelector("#measure");
    this.system = section.querySelector("#system");
    this.filter = section.querySelector("#filter");
    this.shown = section.querySelector("#shown");
    this.items = report.utterances.map((utterance, index) => new UtteranceItem(report, utterance, index));
    this.fillChoices();
    for (const control of [this.order, this.measure, this.system]) control.addEventListener("change", () => this.sort());
    this.filter.addEventListener("input", () => this.applyFilter());
    this.sort();
    this.applyFilter();
  }

  fillChoices() {
    const { measures, systems, first, utterances } = this.report;
    for (const measure of measures) this.measure.append(element("option", { value: measure.name }, measure.title));
    for (const { name } of systems) this.system.append(element("option", { value: name }, name));
    this.system.value = first;
    const known = measures.find(({ name }) => utterances.some((u) => Number.isFinite(u.values[first]?.[name])));
    if (known) this.measure.value = known.name;
  }

  sort() {
    const measure = this.report.measures.find(({ name }) => name === this.measure.value);
    const system = this.system.value;
    const sorted = [...this.items];
    if (this.order.value === "given" || !measure) sorted.sort((a, b) => a.index - b.index);
    else {
      const sign = this.order.value === "worst" ? 1 : -1;
      const rank = (item) => badness(item.value(system, measure), measure);
      sorted.sort((a, b) => compareRanks(rank(a), rank(b), sign) || a.index - b.index);
    }
    for (const item of sorted) item.showValue(system, measure);
    this.list.append(...sorted.map((item) => item.root));
  }

  applyFilter() {
    const words = this.filter.value.trim().toLowerCase();
    for (const item of this.items) item.root.hidden = !item.utterance.id.toLowerCase().includes(words);
    const shown = this.items.filter((item) => !item.root.hidden).length;
    this.shown.textContent = `${shown} of ${count(this.items.length, "utterance")}`;
  }
}

// How bad a value is: a greater number is worse. A missing value has none.
function badness(value, measure) {
  if (!Number.isFinite(value)) return null;
  return { lower: value, higher: -value, zero: Math.abs(value) }[measure.better];
}

// The worst first for sign 1; missing values always last.
function compareRanks(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null);
  return sign * (b - a);
}

class UtteranceItem {
  constructor(report, utterance, index) {
    Object.assign(this, { report, utterance, index });
    this.shownValue = element("span", { class: "value" });
    this.body = element("div", { class: "player", tabindex: -1 });
    const facts = [utterance.speaker, `${utterance.seconds.toFixed(1)} s`].filter(Boolean).join(" · ");
    this.root = element(
      "details", { class: "utterance", ontoggle: () => this.toggled() },
      element(
        "summary", {},
        element("h3", {}, utterance.id), element("span", { class: "facts" }, facts), this.shownValue,
      ),
      this.body,
    );
    this.body.addEventListener("keydown", (event) => this.transport?.handleKey(event) && event.stopPropagation());
  }

  value(system, measure) {
    return this.utterance.values[system]?.[measure.name];
  }

  showValue(system, measure) {
    if (!measure) return;
    const faults = this.utterance.faults[system] ?? 0;
    const parts = [element("span", {}, withUnit(this.value(system, measure), measure))];
    if (faults) parts.unshift(element("span", { class: "fault-count" }, count(faults, "fault")));
    this.shownValue.replaceChildren(...parts);
  }

  toggled() {
    if (!this.root.open) return this.transport?.pause();
    if (!this.transport) this.build();
    activeTransport = this.transport;
  }

  build() {
    const media = readJson(`media-${this.index}`);
    const names = this.report.systems.map(({ name }) => name).filter((name) => name in media.versions);
    const versions = names.map((name) => {
      const { audio, loudness } = media.versions[name];
      return { label: name, uri: audio, loudness };
    });
    this.transport = new Transport(versions, { ...media, onchange: (transport) => this.pictures?.follow(transport) });
    this.pictures = new Pictures(names, media, this.transport, this.report);
    this.pictures.follow(this.transport);
    this.body.append(this.transport.root, this.pictures.root, this.values(names));
  }

  values(names) {
    const head = element("tr", {}, element("th", { scope: "col" }, "Measure"),
      ...names.map((name) => element("th", { scope: "col" }, name)));
    const rows = this.report.measures.map((measure) => element(
      "tr", {},
      element("th", { scope: "row" }, measure.title + (measure.unit ? ` (${measure.unit})` : "")),
      ...names.map((name) => element("td", {}, formatNumber(this.value(name, measure), measure.digits))),
    ));
    const table = element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows));
    const properties = { class: "scroll", tabindex: 0, role: "region", "aria-label": `Measures of ${this.utterance.id}` };
    return element("details", { class: "values" },
      element("summary", {}, "All measures of this utterance"), element("div", properties, table));
  }
}
